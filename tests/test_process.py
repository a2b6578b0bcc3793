"""Servers that we start: whatever is killed, nothing of them is left, at once where the system allows it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from infertui.errors import ServerError
from infertui.server import process, record
from infertui.server.process import Process
from infertui.server.record import Record

ODD = str(Path(__file__).with_name("odd_server.py"))
LINUX = sys.platform == "linux"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INFERTUI_HOME", str(tmp_path))
    return tmp_path


def known(folder: Path, name: str = "odd") -> Record:
    log = str(folder / f"{name}.log")
    made = {"kind": "openai", "model": "m", "url": "", "profile": "p"}
    return Record(id=record.new_id(), name=name, log=log, token=record.new_id(), **made)


def command(mode: str, folder: Path) -> list[str]:
    return [sys.executable, ODD, mode, str(folder / "pids"), "--port", str(process.free_port())]


def pids(folder: Path, count: int) -> list[int]:
    """The process ids that a server has written down."""
    until(lambda: (folder / "pids").is_file() and (folder / "pids").read_text().count("\n") >= count)
    return [int(line) for line in (folder / "pids").read_text().split()]


def until(done: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.Error:
        return True


@pytest.fixture
def started(home: Path) -> Iterator[Callable[..., Process]]:
    made: list[Process] = []

    def start(mode: str, grace_s: float = 5.0, detached: bool = False) -> Process:
        made.append(Process.start(known(home), command(mode, home), os.environ, grace_s, detached))
        return made[-1]

    yield start
    for each in made:
        each.stop()


# The usual.


def test_a_server_is_started_recorded_and_ended(started: Callable[..., Process], home: Path) -> None:
    server = started("ok")
    (pid,) = pids(home, 1)
    assert server.record.pid == pid
    assert server.poll() is None
    (kept,) = record.all_of()
    assert (kept.pid, kept.owner, kept.owned(), kept.serves()) == (pid, os.getpid(), True, True)
    assert os.getpgid(pid) == pid  # a group of its own: Ctrl-C in our terminal is not for it
    assert os.getsid(pid) != os.getsid(0)
    ended = server.stop()
    assert (ended.exit, ended.killed) == (-signal.SIGTERM, False)
    assert gone(pid)
    assert record.all_of() == []
    assert server.stop() == ended


def test_one_that_does_not_hear_is_killed_after_its_grace(started: Callable[..., Process], home: Path) -> None:
    server = started("deaf", grace_s=0.3)
    (pid,) = pids(home, 1)
    until(lambda: process.listens(f"http://127.0.0.1:{psutil.Process(pid).cmdline()[-1]}"))
    ended = server.stop()
    assert (ended.exit, ended.killed) == (-signal.SIGKILL, True)
    assert gone(pid)


def test_what_a_server_started_elsewhere_ends_with_it(started: Callable[..., Process], home: Path) -> None:
    server = started("breeding")
    both = pids(home, 2)
    server.stop()
    assert all(gone(pid) for pid in both)


def test_how_a_server_ended_by_itself_is_known(started: Callable[..., Process]) -> None:
    server = started("dying")
    until(lambda: server.poll() is not None)
    assert str(server.poll()) == "exit code 3"
    assert process.last_words(server.record.log).endswith("error: tensor 'output.weight' is ␛[31mmissing␛[0m")
    assert record.all_of() == []


def test_a_program_that_is_none_is_said_in_a_line(home: Path) -> None:
    with pytest.raises(ServerError, match="odd cannot be started: /no/such/program: No such file or directory"):
        Process.start(known(home), ["/no/such/program"], os.environ, 1.0)
    assert record.all_of() == []


def test_a_state_folder_that_cannot_be_written_is_said_in_a_line(home: Path) -> None:
    (home / "state").write_text("a file")
    with pytest.raises(ServerError, match=r"cannot write .*servers"):
        Process.start(known(home), command("ok", home), os.environ, 1.0)


def test_the_environment_of_a_server_is_what_was_given(home: Path) -> None:
    told = home / "told"
    code = f"import os; open({str(told)!r}, 'w').write(os.environ['GIVEN'] + str('UNSET' in os.environ))"
    server = Process.start(known(home), [sys.executable, "-c", code], {"GIVEN": "x", "PATH": os.environ["PATH"]}, 1.0)
    until(lambda: server.poll() is not None)
    assert told.read_text() == "xFalse"


# Kills. The owner is a process of its own here, so that it can be killed.

OWNER = """
import os, sys, time
from infertui.server import record
from infertui.server.process import Process
from tests.test_process import command, known
from pathlib import Path
home = Path(sys.argv[1])
server = Process.start(known(home), command(sys.argv[2], home), os.environ, 1.0, detached=sys.argv[3:] == ["detached"])
print(server.record.supervisor, flush=True)
if sys.argv[3:]:
    server.leave()
else:
    time.sleep(3600)
"""


class Owner:
    def __init__(self, home: Path, mode: str) -> None:
        root = Path(__file__).resolve().parent.parent
        environment = {**os.environ, "PYTHONPATH": str(root)}
        code = [sys.executable, "-c", OWNER, str(home), mode]
        self.process = subprocess.Popen(code, stdout=subprocess.PIPE, text=True, env=environment, cwd=root)
        assert self.process.stdout is not None
        self.supervisor = int(self.process.stdout.readline())
        self.servers = pids(home, 2 if mode == "breeding" else 1)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def owner(home: Path) -> Iterator[Callable[[str], Owner]]:
    made: list[Owner] = []

    def start(mode: str = "ok") -> Owner:
        made.append(Owner(home, mode))
        return made[-1]

    yield start
    for each in made:
        each.kill()
        assert each.process.stdout is not None
        each.process.stdout.close()
    for left in record.all_of():
        record.end_all(left)


@pytest.mark.parametrize("mode", ["ok", "deaf", "breeding"])
def test_killing_the_owner_ends_the_server_at_once(owner: Callable[[str], Owner], mode: str) -> None:
    held = owner(mode)
    held.kill()
    until(lambda: gone(held.supervisor))
    assert gone(held.servers[0])
    until(lambda: all(gone(pid) for pid in held.servers))
    assert record.all_of() == []


@pytest.mark.skipif(not LINUX, reason="only Linux ends a child with its parent")
def test_killing_the_supervisor_ends_the_server_at_once(owner: Callable[[str], Owner]) -> None:
    held = owner("deaf")
    os.kill(held.supervisor, signal.SIGKILL)
    until(lambda: gone(held.servers[0]))


def test_killing_the_supervisor_is_noticed_and_the_server_ended(started: Callable[..., Process], home: Path) -> None:
    server = started("breeding")
    both = pids(home, 2)
    os.kill(server.record.supervisor, signal.SIGKILL)
    until(lambda: server.poll() is not None)
    assert "supervisor was killed" in str(server.poll())
    assert all(gone(pid) for pid in both)
    assert record.all_of() == []


@pytest.mark.parametrize("mode", ["ok", "breeding"])
def test_killing_owner_and_supervisor_leaves_nothing_after_the_next_start(
    owner: Callable[[str], Owner], mode: str
) -> None:
    held = owner(mode)
    os.kill(held.process.pid, signal.SIGSTOP)  # so that neither can act on the other's end
    os.kill(held.supervisor, signal.SIGSTOP)
    os.kill(held.supervisor, signal.SIGKILL)
    held.kill()
    if LINUX:
        until(lambda: gone(held.servers[0]))
    said: list[str] = []
    process.sweep(said.append)
    assert all(gone(pid) for pid in held.servers)
    assert record.all_of() == []
    if mode == "breeding":
        assert said == [f"ended odd (pid {held.servers[0]}), left behind by an InferTUI that was killed"]


def test_a_server_of_another_infertui_that_lives_is_left_alone(owner: Callable[[str], Owner]) -> None:
    held = owner("ok")
    said: list[str] = []
    process.sweep(said.append)
    assert said == []
    assert not gone(held.servers[0])


def test_a_pid_that_was_given_to_somebody_else_is_not_touched(home: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"]) as innocent:
        # as recorded of a server that ended long ago, whose pid the system has used again
        old = msgspec.structs.replace(known(home), pid=innocent.pid, pid_started=1.0, owner=1, owner_started=1.0)
        record.write(old)
        process.sweep(lambda said: None)
        assert innocent.poll() is None
        assert record.all_of() == []
        innocent.kill()


# Detached: a server that outlives who started it, until it is stopped.


def test_a_detached_server_lives_on_and_can_be_stopped(started: Callable[..., Process], home: Path) -> None:
    server = started("ok", detached=True)
    (pid,) = pids(home, 1)
    server.leave()
    process.sweep(lambda said: None)
    assert not gone(pid)
    (kept,) = record.all_of()
    assert kept.owner == 0
    process.stop(kept)
    assert gone(pid)
    until(lambda: gone(kept.supervisor))
    assert record.all_of() == []


def test_a_detached_server_whose_supervisor_was_killed_can_be_stopped(
    started: Callable[..., Process], home: Path
) -> None:
    server = started("breeding", detached=True)
    both = pids(home, 2)
    server.leave()
    os.kill(server.record.supervisor, signal.SIGKILL)
    process.stop(server.record)
    assert all(gone(pid) for pid in both)


# Ports and logs.


def test_who_holds_a_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        assert process.listens(f"http://127.0.0.1:{port}")
        assert process.holder(port).endswith(f"(pid {os.getpid()})")
    assert not process.listens(f"http://127.0.0.1:{port}")


def test_old_logs_make_room(home: Path) -> None:
    for number in range(process.LOGS_KEPT + 5):
        process.new_log("x").write_text(str(number))
    kept = sorted(process.log_folder().glob("*.log"))
    assert len(kept) == process.LOGS_KEPT
    assert kept[-1].read_text() == str(process.LOGS_KEPT + 4)
