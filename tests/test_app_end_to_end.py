"""The app as a person has it: in a terminal, with two real engines; and every way in which it can end."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from infertui.report.figure import number
from tests.conftest import COMMAND
from tests.terminal import Terminal

PAIR = ("embedded-llama", "embedded-mlx")
GONE = (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)


class Person:
    """Somebody with a home, a folder and a database."""

    def __init__(self, home: Path, folder: Path) -> None:
        self.home = home
        self.folder = folder
        kept = {key: value for key, value in os.environ.items() if not key.startswith("INFERTUI")}
        self.environment = {**kept, "INFERTUI_HOME": str(home), "INFERTUI_DB": str(folder / "results.db")}

    def chose(self, *servers: str, **parameters: str) -> None:
        """What was chosen when the app was left the last time."""
        place = self.home / "state" / "app.json"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(
            json.dumps({"servers": servers, "scenario": "concurrent", "parameters": {"concurrent": parameters}})
        )

    def terminal(self) -> Terminal:
        return Terminal(COMMAND, self.environment, self.folder)

    def command(self, *flags: str) -> str:
        ran = subprocess.run(
            [*COMMAND, *flags], cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=60
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    def runs(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.command("list", "runs", "--json"))["runs"]
        return found

    def calls(self, run: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.command("show", str(run), "--json"))["runs"][0]["call_list"]
        return found


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all of these tests: the models are made once."""
    place = tmp_path_factory.mktemp("home")
    (place / "settings.toml").write_text("[conditions]\nwait_s = 0\nidle_power_s = 0\n")
    return place


@pytest.fixture
def person(home: Path, tmp_path: Path) -> Person:
    return Person(home, tmp_path)


def progress(shown: str) -> int:
    """How many calls have ended, as the row on top says."""
    found = re.search(r"● (\d+)/\d+", shown.splitlines()[0])
    return int(found[1]) if found else 0


def alive(family: list[psutil.Process]) -> list[psutil.Process]:
    left = []
    for each in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            if each.is_running() and each.status() not in GONE:
                left.append(each)
    return left


def wait_until_gone(family: list[psutil.Process], within_s: float = 30) -> None:
    until = time.monotonic() + within_s
    while left := alive(family):
        assert time.monotonic() < until, [each.cmdline() for each in left]
        time.sleep(0.05)


def runner_of(terminal: Terminal) -> psutil.Process:
    return next(
        each for each in psutil.Process(terminal.process.pid).children() if "run" in each.cmdline()[: len(COMMAND) + 1]
    )


@contextlib.contextmanager
def measuring(person: Person) -> Iterator[tuple[Terminal, psutil.Process, list[psutil.Process]]]:
    """The app in the middle of a long run on one real server: its terminal, its runner, and all that came of that."""
    person.chose(PAIR[0], concurrency="2", requests="4", rounds="500", max_tokens="24", warmup="0", alone="no")
    with person.terminal() as terminal:
        terminal.wait_for(PAIR[0])
        terminal.press("r")
        terminal.wait_for(lambda shown: progress(shown) >= 3, within_s=60)
        runner = runner_of(terminal)
        family = [runner, *runner.children(recursive=True)]
        assert len(family) >= 3  # a supervisor and its server at the least
        try:
            yield terminal, runner, family
        finally:
            for each in alive(family):
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.kill()


def test_the_first_start_offers_two_real_engines(person: Person) -> None:
    (person.home / "state" / "app.json").unlink(missing_ok=True)
    with person.terminal() as terminal:
        shown = terminal.wait_for("$ infertui run embedded-llama embedded-mlx")
        assert "press r to compare them" in shown
        terminal.press("q")
        assert terminal.ended() == 0


def test_from_launch_over_live_to_a_comparison_in_a_file(person: Person) -> None:
    person.chose(*PAIR, concurrency="2", requests="2", max_tokens="12")
    with person.terminal() as terminal:
        modes = termios.tcgetattr(terminal.keyboard)
        shown = terminal.wait_for(lambda shown: "infertui run" in shown and all(name in shown for name in PAIR))
        assert "infertui run embedded-llama embedded-mlx --scenario concurrent" in shown
        terminal.press("r")
        terminal.wait_for("decodes", within_s=30)
        speed = re.compile(r"embedded-llama .* 100 % +([1-9][\d.,]*) ")
        shown = terminal.wait_for(lambda shown: speed.search(shown) is not None, within_s=60)
        assert "░" in shown
        terminal.wait_for("enter compares", within_s=60)

        terminal.press("\r")
        shown = terminal.wait_for(lambda shown: all(name in shown for name in PAIR) and "▼ worse" in shown)
        terminal.press("e")
        terminal.wait_for("Export the comparison of 2 runs")
        terminal.press("\r")
        terminal.wait_for("written to")
        exported = (person.folder / "infertui-compare-1-2.md").read_text()
        runs = json.loads(person.command("compare", "1", "2", "--format", "json"))["comparison"]["runs"]
        for name, key in (("Time to first token | ms", "ttft_ms"), ("End to end | ms", "e2e_ms")):
            assert f"| {name} | {' | '.join(number(run['metrics'][key]['p50']) for run in runs)} |" in exported
        assert f"| tok/s | {' | '.join(number(run['metrics']['output_tps']) for run in runs)} |" in exported

        terminal.press("3")
        states = re.compile("done|suspicious|not valid")  # a busy machine is nobody's fault here
        terminal.wait_for(lambda shown: "2 runs" in shown and len(states.findall(shown)) >= 2)
        assert terminal.picture.alternate
        terminal.press("q")
        assert terminal.ended() == 0
        assert not terminal.picture.alternate
        assert not terminal.picture.mouse
        assert not terminal.picture.screen.cursor.hidden
        assert termios.tcgetattr(terminal.keyboard) == modes
        assert "infertui show 1 2" in terminal.text
    assert {run["server"].partition(" ")[0] for run in person.runs()} == set(PAIR)


@pytest.mark.parametrize("how", ["killed", "terminal closed"])
def test_a_run_does_not_outlive_the_app(person: Person, how: str) -> None:
    with measuring(person) as (terminal, _, family):
        if how == "killed":
            terminal.process.send_signal(signal.SIGKILL)
        else:
            terminal.close()
        assert terminal.process.wait(20) < 0
        wait_until_gone(family)
    (run,) = person.runs()
    assert run["status"] == "stopped"
    assert len([call for call in person.calls(run["id"]) if call["outcome"] == "ok"]) >= 3
    with person.terminal() as terminal:
        terminal.wait_for("Launch")
        terminal.press("3")
        terminal.wait_for(lambda shown: "1 run" in shown and str(run["status"]) in shown)


def test_a_run_that_is_killed_is_told_and_what_came_of_it_stays(person: Person) -> None:
    with measuring(person) as (terminal, runner, family):
        runner.kill()
        shown = terminal.wait_for("killed")
        assert PAIR[0] in shown
        wait_until_gone(family)
        terminal.press("3")
        terminal.wait_for(lambda shown: "1 run" in shown and "interrupted" in shown)
        terminal.press("q")
        assert terminal.ended() == 0
    (run,) = person.runs()
    assert run["status"] == "interrupted"
    assert len(person.calls(run["id"])) >= 3


def test_leaving_in_the_middle_of_a_run_asks_and_then_stops_it(person: Person) -> None:
    with measuring(person) as (terminal, _, family):
        terminal.press("q")
        terminal.wait_for("Stop the run and leave?")
        terminal.press("n", "q")
        terminal.wait_for("Stop the run and leave?")
        assert alive(family) == family
        terminal.press("y")
        assert terminal.ended(30) == 0
        wait_until_gone(family, 5)
    (run,) = person.runs()
    assert run["status"] == "stopped"


def test_an_app_that_is_told_to_end_gives_the_terminal_back(person: Person) -> None:
    with person.terminal() as terminal:
        terminal.wait_for("Quit")
        terminal.process.terminate()
        assert terminal.ended() == 0
        assert not terminal.picture.alternate
        assert not terminal.picture.screen.cursor.hidden


def test_without_a_terminal_it_says_so(person: Person) -> None:
    ran = subprocess.run(COMMAND, env=person.environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("infertui: the app needs a terminal")


def test_its_keys_are_listed_by_the_names_that_settings_use(person: Person) -> None:
    listed = person.command("keys")
    assert re.search(r"^app\.quit +q +Leave the app$", listed, re.MULTILINE)
    known = json.loads(person.command("keys", "--json"))["keys"]
    assert {"id": "app.quit", "keys": "q", "does": "Leave the app"} in known
    assert len(listed.splitlines()) == len(known) == len({key["id"] for key in known})
