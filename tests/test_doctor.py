"""What is here and what is missing, and servers that stay: the commands as a user runs them, with a real engine."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

from infertui import doctor, pid, settings
from infertui.mock import Server
from infertui.pid import alive
from infertui.server import process, record
from infertui.server.mlx import MlxServer
from infertui.server.record import Record
from tests.conftest import Command

DEAF = """
import socket, sys, time
listening = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("listening", flush=True)
time.sleep(3600)
"""


@pytest.fixture
def home(infertui: Command, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The command's own folder, which this process sees as well. What is left running there is ended."""
    place = Path(infertui.environment["INFERTUI_HOME"])
    (place / "profiles").mkdir(parents=True)
    monkeypatch.setenv("INFERTUI_HOME", str(place))
    yield place
    infertui("server", "stop", "--all", "--force")
    assert record.all_of() == []


@pytest.fixture
def write(home: Path) -> Callable[..., None]:
    def profile(name: str, **keys: Any) -> None:
        lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
        (home / "profiles" / f"{name}.toml").write_text("\n".join(lines) + "\n")

    return profile


@pytest.fixture
def deaf(home: Path, write: Callable[..., None]) -> str:
    """A profile of a server that listens and never answers: it loads until it is stopped."""
    (home / "deaf.py").write_text(DEAF)
    write("deaf", kind="openai", model="m", command=[sys.executable, str(home / "deaf.py"), "{port}"])
    return "deaf"


def started(infertui: Command, name: str) -> tuple[subprocess.Popen[str], Record]:
    """`server start` of one that loads, once it listens."""
    child = infertui.start("server", "start", name)
    assert child.stderr is not None
    for line in child.stderr:
        if "listening" in line:
            break
    (known,) = record.all_of()
    return child, known


def until(what: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def gone(known: Record) -> bool:
    return not (alive(known.pid, known.pid_started) or alive(known.supervisor, known.supervisor_started))


# Servers that stay.


def test_a_server_stays_is_attached_to_and_is_stopped(infertui: Command, home: Path) -> None:
    pytest.importorskip("xllamacpp")
    begun = infertui("server", "start", "embedded-llama")
    assert begun.returncode == 0, begun.stderr
    assert "embedded-llama: listening" in begun.stderr
    (known,) = record.all_of()
    for told in (f"embedded-llama is ready at {known.url}", str(known.pid), known.log, "infertui run embedded-llama"):
        assert told in begun.stdout

    (shown,) = infertui.json("server", "status", "embedded-llama")["servers"]
    assert (shown["state"], shown["address"], shown["pid"], shown["owner"]) == ("ready", known.url, known.pid, "nobody")
    assert shown["since"].endswith("+00:00")
    assert "random" in shown["model"]

    ran = infertui("run", "embedded-llama", "-n", "1", "--max-tokens", "8")
    assert ran.returncode == 0, ran.stderr
    assert f"attached to {known.url}" in ran.stderr
    assert known.serves()

    again = infertui("server", "start", "embedded-llama")
    assert again.returncode == 0, again.stderr
    assert f"embedded-llama runs already at {known.url}" in again.stdout
    assert record.all_of() == [known]

    examined = infertui.json("doctor")
    assert [(each["pid"], each["owner"], each["ready"]) for each in examined["servers"]] == [
        (known.pid, "nobody", True)
    ]
    assert examined["embedded"]["made"]

    log = infertui("server", "logs", "embedded-llama", "-n", "1000")
    assert log.returncode == 0, log.stderr
    assert "prompt eval time" in log.stdout
    with infertui.start("server", "logs", "embedded-llama", "-n", "3", "-f") as following:
        assert following.stdout is not None
        following.stdout.readline()
        ended = infertui("server", "stop", "embedded-llama")
        assert following.wait(timeout=60) == 0  # it ends with the server
        assert following.stderr is not None
        assert f"embedded-llama (pid {known.pid}) has ended" in following.stderr.read()
    assert (ended.returncode, ended.stdout) == (0, f"ended embedded-llama (pid {known.pid}, {known.url})\n")
    assert gone(known)
    (shown,) = infertui.json("server", "status", "embedded-llama")["servers"]
    assert (shown["state"], shown["pid"], shown["owner"]) == ("stopped", None, None)
    assert "(it does not run any more)" in infertui("server", "logs", "embedded-llama").stderr


def test_start_as_json_holds_what_it_took(infertui: Command, home: Path) -> None:
    pytest.importorskip("xllamacpp")
    told = infertui.json("server", "start", "embedded-llama")["server"]
    assert set(told) == {"profile", "kind", "address", "model", "pid", "log", "attached", "start"}
    assert told["attached"] is False
    assert 0 < told["start"]["accept_ms"] <= told["start"]["load_ms"] <= told["start"]["first_answer_ms"]
    again = infertui.json("server", "start", "embedded-llama")["server"]
    assert (again["attached"], again["pid"], again["start"]["accept_ms"]) == (True, told["pid"], None)
    every = infertui("server", "stop", "--all")
    assert every.stdout == f"ended embedded-llama (pid {told['pid']}, {told['address']})\n"


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_while_a_server_loads_leaves_nothing(infertui: Command, deaf: str, kind: signal.Signals) -> None:
    child, known = started(infertui, deaf)
    with child:
        child.send_signal(kind)
        assert child.wait(timeout=60) == 130
        assert child.stderr is not None
        assert child.stderr.read() == "stopping\ninfertui: deaf: stopped while it was loading (nothing of it is left)\n"
    assert gone(known)
    assert record.all_of() == []


def test_kill_9_while_a_server_loads_leaves_nothing(infertui: Command, deaf: str) -> None:
    child, known = started(infertui, deaf)
    with child:
        child.kill()
    until(lambda: gone(known))
    assert record.all_of() == []


def test_a_server_that_is_being_started_is_not_started_twice(infertui: Command, deaf: str) -> None:
    child, known = started(infertui, deaf)
    with child:
        second = infertui("server", "start", deaf)
        assert second.returncode == 3
        assert f"deaf is being started already (pid {known.pid})" in second.stderr
        (shown,) = infertui.json("server", "status", deaf)["servers"]
        assert (shown["state"], shown["pid"]) == ("loading", known.pid)
        assert infertui("server", "stop", deaf).returncode == 0
        assert child.wait(timeout=60) == 3
        assert child.stderr is not None
        assert "died while loading" in child.stderr.read()
    assert gone(known)


def test_a_server_of_a_run_is_left_to_it(infertui: Command, home: Path) -> None:
    made = {"kind": "mlx-lm", "model": "m", "url": "http://127.0.0.1:1", "profile": "p", "token": record.new_id()}
    known = Record(id=record.new_id(), name="mlx-lm", log=str(home / "a.log"), **made)
    sleep = [sys.executable, "-c", "import time; time.sleep(3600)"]
    server = process.Process.start(known, sleep, os.environ, 5.0)
    pid = server.record.pid
    refused = infertui("server", "stop", "mlx-lm")
    assert (refused.returncode, refused.stdout) == (3, "")
    assert f"mlx-lm (pid {pid}) belongs to a run of pid {os.getpid()}: stop that run" in refused.stderr
    every = infertui("server", "stop", "--all")
    assert (every.returncode, every.stdout) == (0, "")
    assert "left running" in every.stderr
    assert f"run of pid {os.getpid()}" in infertui("server", "status").stdout
    assert server.poll() is None
    forced = infertui("server", "stop", "mlx-lm", "--force")
    assert forced.stdout == f"ended mlx-lm (pid {pid}, http://127.0.0.1:1)\n"
    until(lambda: server.poll() is not None)


def test_what_somebody_else_started_is_left_alone(
    infertui: Command, served: Callable[..., Server], write: Callable[..., None]
) -> None:
    url = served(tokens=2).address
    write("theirs", kind="openai", model="mock", command=["true"], address=url)
    (shown,) = infertui.json("server", "status", "theirs")["servers"]
    assert (shown["state"], shown["model"], shown["owner"], shown["pid"]) == ("ready", "mock", "not ours", None)
    ran = infertui("server", "stop", "theirs")
    assert ran.returncode == 3
    assert "was not started by InferTUI, and is left alone" in ran.stderr
    assert f"(pid {os.getpid()})" in ran.stderr
    already = infertui("server", "start", "theirs")
    assert already.returncode == 0, already.stderr
    assert f"theirs runs already at {url}" in already.stdout


def test_a_server_is_not_sent_a_prompt_while_a_run_measures(
    infertui: Command, served: Callable[..., Server], write: Callable[..., None], home: Path
) -> None:
    write("theirs", kind="openai", model="mock", start=False, address=served().address)
    (home / "state" / "measuring").mkdir(parents=True)
    (home / "state" / "measuring" / str(os.getpid())).write_text(str(pid.started(os.getpid())))
    (shown,) = infertui.json("server", "status", "theirs")["servers"]
    assert (shown["state"], shown["reason"]) == ("ready", "not asked for an answer while a run measures")


REFUSED = {
    "nothing named": (["stop"], 2, "say which: names of profiles, or --all"),
    "names and all": (["stop", "mlx-lm", "--all"], 2, "say which"),
    "not running": (["stop", "mlx-lm"], 3, "mlx-lm is not running"),
    "no such profile to stop": (["stop", "embedded-lama"], 2, "did you mean embedded-llama?"),
    "no such profile to start": (["start", "embedded-lama"], 2, "did you mean embedded-llama?"),
    "no such profile to show": (["status", "nobody"], 2, "no profile `nobody`"),
    "no such profile with a log": (["logs", "nobody"], 2, "no profile `nobody`"),
    "no log": (["logs", "mlx-lm"], 3, "mlx-lm has written no log so far"),
    "never started": (["start", "there"], 2, "there.toml:2: start: false means that it is only measured where it runs"),
    "a broken one": (["start", "broken"], 2, "broken.toml:2: unknown key `slot` (did you mean slots?)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_done_is_said_in_a_line(infertui: Command, write: Callable[..., None], case: str) -> None:
    write("there", kind="openai", start=False, address="http://127.0.0.1:9")
    write("broken", kind="mlx-lm", slot=4)
    flags, code, message = REFUSED[case]
    ran = infertui("server", *flags)
    assert (ran.returncode, ran.stdout) == (code, "")
    assert ran.stderr.startswith("infertui: ")
    assert ran.stderr.count("\n") == 1
    assert message in ran.stderr


def test_nothing_to_stop_is_no_error(infertui: Command, home: Path) -> None:
    ran = infertui("server", "stop", "--all")
    assert (ran.returncode, ran.stdout) == (0, "")
    assert ran.stderr == "nothing to stop: no server that InferTUI has started runs\n"


def test_status_shows_every_profile_and_names_the_broken(infertui: Command, write: Callable[..., None]) -> None:
    write("there", kind="openai", start=False, address="http://127.0.0.1:9")
    write("broken", kind="mlx-lm", slot=4)
    for columns in ("80", "120"):
        infertui.environment["COLUMNS"] = columns
        ran = infertui("server", "status")
        assert ran.returncode == 0
        assert "nothing answers at http://127.0.0.1:9" in ran.stdout
        assert "embedded-llama" in ran.stdout
        assert max(map(len, ran.stdout.splitlines())) <= int(columns)
        assert "broken.toml:2: unknown key `slot`" in ran.stderr


def test_logs_cannot_act_on_the_terminal(infertui: Command, home: Path) -> None:
    folder = home / "state" / "logs"
    folder.mkdir(parents=True)
    old, new = folder / "20260101-000000-000000-mlx-lm.log", folder / "20260102-000000-000000-mlx-lm.log"
    old.write_text("of another time\n")
    new.write_bytes(b"first\n  \x1b[31mred\x1b]0;title\x07 \xe2\x80\xae \xff\x9b2J\nlast without an end")
    (folder / "20260103-000000-000000-other-mlx-lm.log").write_text("of another profile\n")
    ran = infertui("server", "logs", "mlx-lm")
    assert ran.returncode == 0
    assert ran.stdout.splitlines() == ["first", "  ␛[31mred␛]0;title␇ <202E> ��2J", "last without an end"]
    assert str(new) in ran.stderr
    assert infertui("server", "logs", "mlx-lm", "-n", "1").stdout == "last without an end\n"
    assert infertui("server", "logs", "mlx-lm", "-n", "0").stdout == ""
    new.write_text("".join(f"{number:06}{'x' * 100}\n" for number in range(5000)))
    assert [line[:6] for line in infertui("server", "logs", "mlx-lm", "-n", "4000").stdout.splitlines()] == [
        f"{number:06}" for number in range(1000, 5000)
    ]


@pytest.mark.parametrize("command", ["doctor", "server", "server start", "server stop", "server status", "server logs"])
def test_help_comes_with_an_example(infertui: Command, command: str) -> None:
    ran = infertui(*command.split(), "--help")
    assert ran.returncode == 0
    assert f"infertui {command}" in ran.stdout.partition("Options:")[0].partition("\n\n")[2]


# Profiles.


def test_profiles_are_listed_with_what_they_are_for(infertui: Command, write: Callable[..., None], home: Path) -> None:
    write("mlx-lm", kind="mlx-lm", about="mine \u001b[31m", model="embedded", slots=2)
    write("broken", kind="mlx-lm", slot=4)
    (home / "settings.toml").write_text('servers = ["mlx-lm"]\nbaseline = "embedded-llama"\nfallback = "mlx-lm"\n')
    found = {each["name"]: each for each in infertui.json("list", "profiles")["profiles"]}
    assert (found["mlx-lm"]["origin"], found["mlx-lm"]["marks"]) == ("yours", ["default", "fallback"])
    assert (found["mlx-lm"]["slots"], found["mlx-lm"]["file"]) == (2, str(home / "profiles" / "mlx-lm.toml"))
    assert (found["embedded-llama"]["origin"], found["embedded-llama"]["marks"]) == ("shipped", ["baseline"])
    assert "broken" not in found
    for columns in ("80", "120"):
        infertui.environment["COLUMNS"] = columns
        ran = infertui("list", "profiles")
        assert ran.returncode == 0
        assert "default, fallback, yours" in ran.stdout
        assert "mine ␛[31m" in ran.stdout
        assert max(map(len, ran.stdout.splitlines())) <= int(columns)
        assert ran.stderr.count("\n") == 1
        assert "broken.toml:2: unknown key `slot` (did you mean slots?)" in ran.stderr


def test_profiles_are_listed_with_settings_that_cannot_be_read(infertui: Command, home: Path) -> None:
    (home / "settings.toml").write_text("servers = 4\n")
    ran = infertui("list", "profiles")
    assert ran.returncode == 0
    assert "embedded-llama" in ran.stdout
    assert "settings.toml:1: servers: a list is expected" in ran.stderr


# What is here.


def test_doctor_tells_everything_as_json(infertui: Command, home: Path) -> None:
    (home / "settings.toml").unlink()
    found = infertui.json("doctor")
    keys = "version machine engines ports servers embedded profiles settings database folders telemetry problems"
    assert list(found) == keys.split()
    assert [each["kind"] for each in found["engines"]] == ["llama-server", "mlx-lm", "llama-cpp-python"]
    for each in found["engines"]:
        assert (each["state"] == "missing") == bool(each["commands"])
    assert [each["port"] for each in found["ports"]] == [8000, 8080]
    assert found["settings"]["path"] == str(home / "settings.toml")
    assert not found["settings"]["there"]
    assert found["database"] == str(infertui.db)
    assert {each["name"]: each["path"] for each in found["folders"]} == {
        "config": str(home),
        "cache": str(home / "cache"),
        "state": str(home / "state"),
        "data": str(home),
    }
    assert found["machine"]["server_threads"] >= 1
    assert "embedded-llama" in found["profiles"]["names"]
    assert list(home.rglob("*")) == [home / "profiles"]  # looking has made nothing


def test_doctor_is_readable_and_always_fine(infertui: Command, write: Callable[..., None], home: Path) -> None:
    write("broken", kind="mlx-lm", slot=4)
    write("keyed", kind="openai", start=False, address="http://127.0.0.1:9", api_key_env="SET_NOWHERE")
    (home / "settings.toml").write_text('servers = ["keyed", "embedded-lama"]\nbaseline = "broken"\n')
    for columns in ("80", "120"):
        infertui.environment["COLUMNS"] = columns
        ran = infertui("doctor")
        assert (ran.returncode, ran.stderr) == (0, "")
        lines = ran.stdout.splitlines()
        assert "keyed (cannot be used), embedded-lama (cannot be used)" in " ".join(ran.stdout.split())
        problems = " ".join(" ".join(lines[lines.index("problems") :]).split())
        assert "keyed: the variable SET_NOWHERE is not set export SET_NOWHERE=…" in problems
        assert "no profile `embedded-lama` did you mean embedded-llama?" in problems
        assert problems.count("unknown key `slot`") == 1
        assert [line for line in lines if line != line.rstrip()] == []


def test_doctor_says_what_is_wrong_with_the_settings(infertui: Command, home: Path) -> None:
    (home / "settings.toml").write_text('servers = ["a"\nbaseline = 4')
    found = infertui.json("doctor")
    assert "settings.toml:2: not valid TOML" in found["settings"]["wrong"]["message"]
    assert found["problems"][0] == found["settings"]["wrong"]
    ran = infertui("doctor")
    assert ran.returncode == 0
    assert "! settings" in ran.stdout


def test_doctor_names_who_holds_a_port(infertui: Command, write: Callable[..., None], home: Path) -> None:
    class Page(BaseHTTPRequestHandler):
        def log_message(self, *said: object) -> None:
            pass

    try:
        page = ThreadingHTTPServer(("127.0.0.1", 8080), Page)
    except OSError:
        pytest.skip("port 8080 is in use here")
    write("mine", kind="llama-server", model="embedded", address="http://127.0.0.1:8080")
    (home / "settings.toml").write_text('servers = ["mine"]\n')
    threading.Thread(target=page.serve_forever, daemon=True).start()
    try:
        found = infertui.json("doctor")
        (shown,) = infertui.json("server", "status", "mine")["servers"]
    finally:
        page.shutdown()
        page.server_close()
    held = next(each for each in found["ports"] if each["port"] == 8080)
    assert (held["state"], held["models"]) == ("foreign", [])
    assert held["holder"] == f"{psutil.Process().name()} (pid {os.getpid()})"
    told = f"port 8080 is in use by {held['holder']}, which is not llama.cpp's server"
    assert (shown["state"], shown["reason"]) == ("error", told)
    if found["engines"][0]["state"] == "found":
        assert [each["message"] for each in found["problems"]] == [f"mine: {told}"]


def test_doctor_finds_a_server_at_its_usual_port(infertui: Command, home: Path) -> None:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 8000)) == 0:
            pytest.skip("port 8000 is in use here")
    with infertui.start("mock", "--port", "8000") as child:
        assert child.stdout is not None
        child.stdout.readline()
        found = infertui("doctor")
        child.send_signal(signal.SIGINT)
    assert (
        "runs at http://127.0.0.1:8000, model mock\n        infertui run --attach http://127.0.0.1:8000\n"
        in found.stdout
    )


def test_an_engine_that_is_missing_comes_with_its_command(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MlxServer, "installed", lambda self: None)
    monkeypatch.setattr(settings, "checkout", lambda: None)
    monkeypatch.setenv("INFERTUI_DB", str(home / "results.db"))
    (home / "settings.toml").write_text('servers = ["mlx-lm"]\n')
    (home / "profiles" / "mlx-lm.toml").write_text('kind = "mlx-lm"\n')
    found = doctor.examine()
    mlx = next(each for each in found.engines if each.kind == "mlx-lm")
    assert (mlx.state, mlx.commands) == ("missing", ("pip install 'infertui[mlx]'",))
    assert found.problems == (doctor.Problem("mlx-lm: mlx_lm.server is not installed", "pip install 'infertui[mlx]'"),)


def test_commands_are_told_apart_from_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    both = "pip install 'infertui[llama]', or brew install llama.cpp"
    monkeypatch.setattr(settings, "checkout", lambda: None)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    assert doctor._mending(both) == (("pip install 'infertui[llama]'",), "")
    monkeypatch.setattr(doctor.shutil, "which", lambda name: f"/bin/{name}")
    assert doctor._mending(both) == (("pip install 'infertui[llama]'", "brew install llama.cpp"), "")
    assert doctor._mending("pip install 'x[y]' (it is slow: an hour)") == (
        ("pip install 'x[y]'",),
        "it is slow: an hour",
    )
    monkeypatch.setattr(settings, "checkout", lambda: tmp_path)
    assert doctor._mending(both)[0][0] == f"make -C {tmp_path} run ARGS=doctor"
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))  # which `make` has filled already
    assert doctor._mending(both)[0][0] == "pip install 'infertui[llama]'"


def test_a_folder_that_cannot_be_written_is_a_problem(infertui: Command, home: Path) -> None:
    (home / "state").write_text("a file, where a folder is expected")
    found = infertui.json("doctor")
    told = f"the state folder cannot be written: {home / 'state'}"
    assert told in [each["message"] for each in found["problems"]]
    (home / "state").unlink()
