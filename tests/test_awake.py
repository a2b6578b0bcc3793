"""Keeping the machine awake: by fakes of the systems' programs, and by the real one's refusal where there is no bus."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from infertui.sample import Absent
from infertui.telemetry import awake as module
from infertui.telemetry.awake import Awake, available

# As the real one: it holds what it took until that process ends.
CAFFEINATE = 'while kill -0 "$3" 2>/dev/null; do sleep 0.02; done'
# As the real one: it holds what it took until its command ends, which has its stdin.
INHIBIT = 'while [ "${1#--}" != "$1" ]; do shift; done; exec 3<&0; "$@" <&3 & wait $!'
REFUSED = "printf 'Failed to inhibit: Access denied\\033[0m\\n' >&2; exit 1"

HOLDING = """
import sys, time
from infertui.telemetry.awake import Awake
with Awake("a test", sys.argv[1], sys.argv[2]):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def fake(tmp_path: Path) -> Callable[[str, str], str]:
    """Makes a program of that name which writes down how it was called and acts so. Returns the path to search."""

    def make(name: str, acts: str) -> str:
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        told = f'printf "%s\\n" "$@" >{tmp_path}/arguments; echo $$ >{tmp_path}/new; mv {tmp_path}/new {tmp_path}/pid'
        program.write_text(f"#!/bin/sh\n{told}\n{acts}\n")
        program.chmod(0o755)
        return str(program.parent)

    return make


def until(done: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


def called(folder: Path) -> psutil.Process:
    """The fake, as soon as it has written down how it was called."""
    until((folder / "pid").is_file)
    return psutil.Process(int((folder / "pid").read_text()))


def family(process: psutil.Process, platform: str) -> list[psutil.Process]:
    """With the command that a fake systemd-inhibit has started."""
    until(lambda: platform != "linux" or process.children())
    return [process, *process.children()] if platform == "linux" else [process]


def gone(process: psutil.Process) -> bool:
    """Also no corpse of ours is left; that of an orphan is its adopter's."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE and process.ppid() != os.getpid()
    except psutil.NoSuchProcess:
        return True


BOTH = pytest.mark.parametrize(
    ("platform", "name", "acts"),
    [("darwin", "caffeinate", CAFFEINATE), ("linux", "systemd-inhibit", INHIBIT)],
    ids=["caffeinate", "systemd-inhibit"],
)


def test_a_fake_caffeinate_is_called_for_our_own_process(fake: Callable[[str, str], str], tmp_path: Path) -> None:
    with Awake("a benchmark is under way", "darwin", fake("caffeinate", CAFFEINATE)):
        called(tmp_path)
    assert (tmp_path / "arguments").read_text() == f"-i\n-w\n{os.getpid()}\n"


def test_a_fake_systemd_inhibit_is_called_with_what_and_why(fake: Callable[[str, str], str], tmp_path: Path) -> None:
    with Awake("a benchmark\nis under \x1bway\x00", "linux", fake("systemd-inhibit", INHIBIT)):
        called(tmp_path)
    assert (tmp_path / "arguments").read_text().splitlines() == [
        "--what=idle:sleep",
        "--who=InferTUI",
        "--why=a benchmark is under ␛way␀",
        "--mode=block",
        "cat",
    ]


@BOTH
def test_the_fake_holds_while_the_block_runs_and_leaves_nothing(
    platform: str, name: str, acts: str, fake: Callable[[str, str], str], tmp_path: Path
) -> None:
    threads = threading.active_count()
    with Awake("a test", platform, fake(name, acts)) as awake:
        process = called(tmp_path)
        held = family(process, platform)
        assert awake.failed() == ""
        assert process.is_running()
        assert threading.active_count() == threads
    assert not psutil.pid_exists(process.pid), "not even a corpse"
    until(lambda: all(map(gone, held)))
    assert awake.failed() == "", "that it was ended is no failure"


@BOTH
def test_the_fake_is_ended_when_the_block_fails(
    platform: str, name: str, acts: str, fake: Callable[[str, str], str], tmp_path: Path
) -> None:
    path = fake(name, acts)
    with pytest.raises(ZeroDivisionError), Awake("a test", platform, path):  # noqa: PT012
        process = called(tmp_path)
        raise ZeroDivisionError
    assert not psutil.pid_exists(process.pid)


@BOTH
def test_the_fake_has_a_session_of_its_own_and_nothing_of_ours(
    platform: str, name: str, acts: str, fake: Callable[[str, str], str], tmp_path: Path
) -> None:
    ours = tmp_path / "ours"
    with open(ours, "wb") as file:
        os.set_inheritable(file.fileno(), True)
        with Awake("a test", platform, fake(name, acts)):
            process = called(tmp_path)
            members = family(process, platform)
            assert os.getsid(process.pid) == process.pid != os.getsid(0)
            assert not [each for each in members for opened in each.open_files() if opened.path == str(ours)]
            assert process.cwd() == "/"


@BOTH
def test_the_fake_ends_when_we_are_killed(
    platform: str, name: str, acts: str, fake: Callable[[str, str], str], tmp_path: Path
) -> None:
    command = [sys.executable, "-c", HOLDING, platform, fake(name, acts)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        try:
            assert owner.stdout is not None
            assert owner.stdout.readline() == "held\n"
            held = family(called(tmp_path), platform)
        finally:
            owner.send_signal(signal.SIGKILL)
    assert owner.returncode == -signal.SIGKILL
    until(lambda: all(map(gone, held)))


@BOTH
def test_a_fake_that_does_not_end_when_asked_is_killed(
    platform: str,
    name: str,
    acts: str,
    fake: Callable[[str, str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "END_S", 0.05)
    stubborn = f"trap '' TERM; sleep 600 & echo >{tmp_path}/deaf; while :; do sleep 0.02; done"
    with Awake("a test", platform, fake(name, stubborn)) as awake:
        held = family(called(tmp_path), platform)
        until((tmp_path / "deaf").is_file)
    assert not psutil.pid_exists(held[0].pid)
    until(lambda: all(map(gone, held)))
    assert awake.failed() == ""


@BOTH
def test_a_refusal_is_told_in_the_fakes_own_words(
    platform: str, name: str, acts: str, fake: Callable[[str, str], str], tmp_path: Path
) -> None:
    with Awake("a test", platform, fake(name, REFUSED)) as awake:
        until(awake.failed)
        assert awake.failed() == f"{name}: Failed to inhibit: Access denied␛[0m"
    assert awake.failed() == f"{name}: Failed to inhibit: Access denied␛[0m"


def test_a_refusal_is_known_at_the_end_when_nobody_asked(fake: Callable[[str, str], str], tmp_path: Path) -> None:
    with Awake("a test", "linux", fake("systemd-inhibit", REFUSED)) as awake:
        process = called(tmp_path)
        until(lambda: process.status() == psutil.STATUS_ZOMBIE)
    assert awake.failed() == "systemd-inhibit: Failed to inhibit: Access denied␛[0m"
    assert not psutil.pid_exists(process.pid)


@pytest.mark.parametrize(
    ("acts", "how"), [("exit 0", "exit code 0"), ("exit 3", "exit code 3"), ("kill -9 $$", "signal 9")]
)
def test_a_fake_that_ends_without_a_word_is_told_of(acts: str, how: str, fake: Callable[[str, str], str]) -> None:
    with Awake("a test", "darwin", fake("caffeinate", acts)) as awake:
        until(awake.failed)
    assert awake.failed() == f"caffeinate: it ended by itself ({how})"


def test_a_fake_whose_child_still_holds_its_stderr_delays_nobody(
    fake: Callable[[str, str], str], tmp_path: Path
) -> None:
    path = fake("systemd-inhibit", f"sleep 600 & echo $! >{tmp_path}/child; exit 4")
    with Awake("a test", "linux", path) as awake:
        until(awake.failed)
        os.kill(int((tmp_path / "child").read_text()), signal.SIGKILL)  # it was alive
        assert awake.failed() == "systemd-inhibit: it ended by itself (exit code 4)"


def test_where_there_is_no_program_the_block_runs_all_the_same(tmp_path: Path) -> None:
    ran = []
    for platform in ("darwin", "linux", "freebsd14"):
        with Awake("a test", platform, str(tmp_path)) as awake:
            ran.append(awake.failed())
    assert ran == [
        "caffeinate: it is not installed",
        "systemd-inhibit: it is not installed",
        "keeping awake: no program for it is known on freebsd14",
    ]


def test_a_program_that_cannot_be_run_is_told_of(tmp_path: Path) -> None:
    program = tmp_path / "caffeinate"
    program.write_text("#!/nowhere/to/be/found\n")
    program.chmod(0o755)
    with Awake("a test", "darwin", str(tmp_path)) as awake:
        assert awake.failed() == "caffeinate: No such file or directory"
    program.rename(tmp_path / "systemd-inhibit")
    absent = available("linux", str(tmp_path))
    assert absent == Absent(name="systemd-inhibit", reason="No such file or directory")


# What the doctor is told.


def test_what_would_be_used_is_told_by_its_name(fake: Callable[[str, str], str], tmp_path: Path) -> None:
    path = fake("caffeinate", "exit 1")
    assert available("darwin", path) == "caffeinate"
    assert not (tmp_path / "pid").exists(), "nothing was started"
    assert available("linux", fake("systemd-inhibit", INHIBIT)) == "systemd-inhibit"
    assert (tmp_path / "arguments").read_text().splitlines()[-2:] == ["--mode=block", "true"]


def test_why_nothing_can_be_used_is_told(
    fake: Callable[[str, str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ANSWER_S", 0.2)
    assert available("linux", str(tmp_path)) == Absent(name="systemd-inhibit", reason="it is not installed")
    assert available("darwin", str(tmp_path)) == Absent(name="caffeinate", reason="it is not installed")
    refused = available("linux", fake("systemd-inhibit", REFUSED))
    assert refused == Absent(name="systemd-inhibit", reason="Failed to inhibit: Access denied␛[0m")
    silent = available("linux", fake("systemd-inhibit", "exec sleep 600"))
    assert silent == Absent(name="systemd-inhibit", reason="the system did not answer within 0.2 s")
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


# The real ones.


@pytest.mark.skipif(shutil.which("systemd-inhibit") is None, reason="no systemd-inhibit here")
def test_the_real_systemd_inhibit_says_that_there_is_no_bus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere/to/be/found")
    with Awake("a test", "linux") as awake:
        until(awake.failed)
    assert awake.failed().startswith("systemd-inhibit: Failed to connect to bus")
    absent = available("linux")
    assert isinstance(absent, Absent)
    assert absent.reason == awake.failed().removeprefix("systemd-inhibit: ")


@pytest.mark.skipif(sys.platform != "darwin", reason="caffeinate is a Mac's")
def test_the_real_caffeinate_holds_while_the_block_runs() -> None:
    with Awake("a test") as awake:
        children = psutil.Process().children()
        assert [each.name() for each in children] == ["caffeinate"]
        assert awake.failed() == ""
    assert not any(each.is_running() for each in children)
