"""mlx_lm.server: Apple's MLX. On Linux its CPU build works as well, as a stand-in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib import metadata, util
from pathlib import Path
from typing import Any, ClassVar

from infertui.server import http
from infertui.server.base import PROBE_S, Server, free_threads
from infertui.server.model import hub_cache
from infertui.server.state import Health, Program, State
from infertui.settings import cache_folder

STAND_IN = "MLX's CPU build on Linux is a functional stand-in: its speed says nothing about MLX on a Mac"
ASK = (
    "from importlib import metadata as m; names = {d.name for d in m.distributions()}; "
    "print(m.version('mlx-lm'), int(any(n.startswith('mlx-cuda') for n in names)))"
)


class MlxServer(Server):
    kind: ClassVar = "mlx-lm"
    title: ClassVar = "mlx_lm.server"
    install: ClassVar = "pip install 'infertui[mlx]'"
    port: ClassVar = 8080
    form: ClassVar = "folder"
    health_lies: ClassVar = True
    headers_mean_loaded: ClassVar = True

    _cuda = False

    def installed(self) -> Program | None:
        place = shutil.which("mlx_lm.server")
        if place is not None:
            version, self._cuda = _asked(Path(place).parent / "python")
            return Program(command=(place,), version=version, source=place)
        if util.find_spec("mlx_lm") is None:
            return None
        self._cuda = any(each.name.startswith("mlx-cuda") for each in metadata.distributions())
        version = f"mlx-lm {metadata.version('mlx-lm')}"
        return Program(
            command=(sys.executable, "-m", "mlx_lm", "server"), version=version, source=f"the wheel {version}"
        )

    @property
    def name(self) -> str:
        return f"{super().name} (CPU stand-in)" if self._stands_in() else super().name

    def _stands_in(self) -> bool:
        if self.program is None:
            self.program = self.installed()
        return sys.platform == "linux" and not self._cuda

    def caveats(self) -> list[str]:
        return [*super().caveats(), *([STAND_IN] if self._stands_in() else [])]

    def arguments(self, port: int) -> list[str]:
        wanted = self.profile
        command = ["--model", self.model().place, "--host", self.host(), "--port", str(port)]
        if wanted.slots is not None:
            command += ["--decode-concurrency", str(wanted.slots)]
        if wanted.trust_remote_code:
            command.append("--trust-remote-code")
        return [*command, *wanted.flags]

    def threads(self) -> int | None:
        """Of the CPU build's matrix products; on a Mac the GPU makes them. Who exported the variable has chosen."""
        if (self.attached and self.known is None) or sys.platform != "linux" or self._cuda:
            return None
        exported = os.environ.get("OMP_NUM_THREADS", "")
        return self.profile.threads or (int(exported) if exported.isdecimal() else free_threads())

    def environment(self) -> dict[str, str]:
        told = {"HF_HUB_OFFLINE": "1"}
        if (threads := self.threads()) is not None:
            told["OMP_NUM_THREADS"] = str(threads)
        if not hub_cache().is_dir():  # without one, its list of models is an empty page
            empty = cache_folder() / "hub"
            empty.mkdir(parents=True, exist_ok=True)
            told["HF_HUB_CACHE"] = str(empty)
        return told

    def asked(self) -> str:
        """The model it was started with: any other spelling makes it load the same weights again.

        Of a server that others started only a folder can be told to be that; a repository is asked for by its name.
        """
        unsure = self.attached and self.known is None and not os.path.isabs(self.model().place)
        return self.model().place if unsure else "default_model"

    def is_this(self, url: str) -> bool:
        answer = http.get(url, "/health", self.key(), PROBE_S)
        return "BaseHTTP" in answer.server and answer.text.startswith('{"status"')

    def serves(self, url: str) -> bool:
        place = self.model().place
        return any(name == place or os.path.realpath(name) == os.path.realpath(place) for name in self.models(url))

    def probe(self) -> Health:
        answer = http.get(self.url, "/health", self.key(), PROBE_S)
        if answer.status == 503:
            return Health(State.ERROR, "its generation thread has died, most likely while loading the model")
        return Health(State.READY)

    def settings(self) -> dict[str, Any]:
        return {}  # it tells nothing of what is in force


def _asked(python: Path) -> tuple[str, bool]:
    """What is installed beside a script, by the interpreter that runs it."""
    try:
        ran = subprocess.run([str(python), "-c", ASK], capture_output=True, text=True, timeout=20, errors="replace")
        version, cuda = ran.stdout.split()
    except (OSError, subprocess.TimeoutExpired, ValueError):
        return "", False
    return f"mlx-lm {version}", cuda == "1"
