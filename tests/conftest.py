"""What the tests share: a mock server, and the command as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from infertui.mock import Dials, Server, dial

COMMAND = [sys.executable, "-m", "infertui"]


@pytest.fixture
def served() -> Iterator[Callable[..., Server]]:
    """Starts a mock with the given dials on a free port; it is stopped when the test ends."""
    with ExitStack() as stack:
        yield lambda **dials: stack.enter_context(Server(dial(Dials(), {"ttft_ms": 20, "gap_ms": 1, **dials})))


class Command:
    """`infertui …` in a folder of its own, with a database of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.db = folder / "results.db"
        kept = {key: value for key, value in os.environ.items() if not key.startswith("INFERTUI")}
        home = str(folder / "home")
        settings = folder / "home" / "settings.toml"  # on a busy machine no test waits for it to calm down
        settings.parent.mkdir(parents=True, exist_ok=True)
        settings.write_text("[conditions]\nwait_s = 0\nidle_power_s = 0\n")
        self.environment = {**kept, "COLUMNS": "120", "NO_COLOR": "1", "INFERTUI_HOME": home}

    def start(self, *flags: str, **options: Any) -> subprocess.Popen[str]:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, **options}
        environment = {**self.environment, "INFERTUI_DB": str(self.db)}
        return subprocess.Popen([*COMMAND, *flags], cwd=self.folder, text=True, env=environment, **pipes)

    def __call__(self, *flags: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        with self.start(*flags) as child:
            try:
                out, err = child.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                child.send_signal(signal.SIGKILL)
                raise
        return subprocess.CompletedProcess(flags, child.returncode, out, err)

    def json(self, *flags: str) -> Any:
        ran = self(*flags, "--json")
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)

    def run_json(self, *flags: str, code: int = 0) -> dict[str, Any]:
        """The first run of `infertui run … --json`."""
        ran = self("run", *flags, "--json")
        assert ran.returncode == code, ran.stderr
        first: dict[str, Any] = json.loads(ran.stdout)["runs"][0]
        return first


@pytest.fixture
def infertui(tmp_path: Path) -> Command:
    return Command(tmp_path)
