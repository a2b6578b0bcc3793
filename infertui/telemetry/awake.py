"""Keeping the machine awake while it is measured: by a program of the system that ends with us, however we end."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
from types import TracebackType
from typing import TYPE_CHECKING

from infertui.sample import Absent
from infertui.text import plain

if TYPE_CHECKING:
    import subprocess

END_S = 2.0
ANSWER_S = 2.0  # a refusal takes milliseconds, but 25 s where the bus does not answer


class Awake:
    """`with Awake("…") as awake:` keeps the machine from falling asleep by itself. A lid that is closed wins.

    It costs nothing meanwhile, and nothing is waited for at the start, so a refusal is known a moment later: `failed`
    can be asked at any time; after the end it tells how it was until then.
    """

    def __init__(self, why: str, platform: str = sys.platform, path: str | None = None) -> None:
        self._command = _command(why, "cat", platform, path)
        self._child: subprocess.Popen[bytes] | None = None
        self._failed = ""

    def __enter__(self) -> Awake:
        if isinstance(self._command, Absent):
            self._failed = f"{self._command.name}: {self._command.reason}"
        else:
            try:
                self._child = _start(self._command)
            except OSError as error:
                self._failed = f"{_name(self._command)}: {error.strerror}"
        return self

    def failed(self) -> str:
        """Why the machine is not kept awake; empty as long as nothing says so."""
        if not self._failed and self._child is not None and self._child.poll() is not None:
            assert not isinstance(self._command, Absent)
            self._failed = f"{_name(self._command)}: {_last_words(self._child)}"
        return self._failed

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.failed()
        child, self._child = self._child, None
        if child is not None:
            _end(child)


def available(platform: str = sys.platform, path: str | None = None) -> str | Absent:
    """What keeps this machine awake, or why nothing can. Where the system may refuse, it is asked."""
    import subprocess

    command = _command("infertui doctor asks whether it may", "true", platform, path)
    if isinstance(command, Absent):
        return command
    name = _name(command)
    if platform == "darwin":  # caffeinate needs nobody's leave
        return name
    try:
        child = _start(command)
    except OSError as error:
        return Absent(name=name, reason=error.strerror or str(error))
    try:
        return name if child.wait(ANSWER_S) == 0 else Absent(name=name, reason=_last_words(child))
    except subprocess.TimeoutExpired:
        return Absent(name=name, reason=f"the system did not answer within {ANSWER_S:g} s")
    finally:
        _end(child)


def _command(why: str, program: str, platform: str, path: str | None) -> list[str] | Absent:
    """`program` runs under the lock where that lasts as long as a program."""
    if platform == "darwin":
        name, flags = "caffeinate", ["-i", "-w", str(os.getpid())]
    elif platform == "linux":
        name = "systemd-inhibit"
        flags = ["--what=idle:sleep", "--who=InferTUI", f"--why={plain(why, 100)}", "--mode=block", program]
    else:
        return Absent(name="keeping awake", reason=f"no program for it is known on {plain(platform, 40)}")
    place = shutil.which(name, path=path)
    return Absent(name=name, reason="it is not installed") if place is None else [place, *flags]


def _name(command: list[str]) -> str:
    return os.path.basename(command[0])


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    """Out of reach of Ctrl-C. The pipe to it closes with us, also by SIGKILL, and is the end of a `cat`."""
    import subprocess

    return subprocess.Popen(
        command,
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,  # read when it has ended: what it says before then fits into the pipe
        start_new_session=True,
        env={**os.environ, "LC_ALL": "C"},
        cwd="/",
    )


def _last_words(child: subprocess.Popen[bytes]) -> str:
    """Why a child has ended."""
    said = b""
    if child.stderr is not None:
        os.set_blocking(child.stderr.fileno(), False)  # somebody that it started may still hold the pipe
        with contextlib.suppress(BlockingIOError):
            said = os.read(child.stderr.fileno(), 4096)
    code = child.returncode
    how = f"exit code {code}" if code >= 0 else f"signal {-code}"
    return plain(said.decode("utf-8", "replace"), 200) or f"it ended by itself ({how})"


def _end(child: subprocess.Popen[bytes]) -> None:
    """With all that it started, and without a corpse."""
    import subprocess

    if child.stdin is not None:
        child.stdin.close()
    try:
        _signal(child, signal.SIGTERM)
        child.wait(END_S)
    except subprocess.TimeoutExpired:
        pass
    finally:
        _signal(child, signal.SIGKILL)
        child.wait()
        if child.stderr is not None:
            child.stderr.close()


def _signal(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    if child.poll() is None:
        with contextlib.suppress(OSError):
            os.killpg(child.pid, number)
