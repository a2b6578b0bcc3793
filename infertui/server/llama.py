"""llama.cpp's own server: a `llama-server` on this machine, else the same server out of the xllamacpp wheel."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib import metadata, util
from pathlib import Path
from typing import Any, ClassVar

from infertui.server import http
from infertui.server.base import PROBE_S, Server, free_threads
from infertui.server.state import Can, Program

BREW = ("/opt/homebrew/bin", "/usr/local/bin", "/home/linuxbrew/.linuxbrew/bin")

NO_BUILD = "b0-unknown"  # what the server out of the wheel says of itself


class LlamaServer(Server):
    kind: ClassVar = "llama-server"
    title: ClassVar = "llama.cpp's server"
    install: ClassVar = "pip install 'infertui[llama]', or brew install llama.cpp"
    port: ClassVar = 8080
    form: ClassVar = "gguf"
    cleared: ClassVar = ("LLAMA_ARG_", "LLAMA_API_KEY")
    can: ClassVar = Can(exact_length=True, metrics=True, native="llama.cpp")

    def installed(self) -> Program | None:
        place = shutil.which("llama-server") or shutil.which("llama-server", path=":".join(BREW))
        if place is not None:
            return Program(command=(place,), version=_version(place), source=place)
        if util.find_spec("xllamacpp") is None:
            return None
        version = metadata.version("xllamacpp")
        command = (sys.executable, "-m", "infertui.embedded.llama")
        return Program(command=command, version=f"xllamacpp {version}", source=f"the wheel xllamacpp {version}")

    def arguments(self, port: int) -> list[str]:
        wanted, model = self.profile, self.model()
        command = ["-m", model.place, "--alias", model.name, "--host", self.host(), "--port", str(port), "--metrics"]
        command += ["-t", str(self.threads())]
        if wanted.slots is not None:
            command += ["-np", str(wanted.slots)]
        if wanted.context is not None:  # an explicit number of slots divides the context among them
            command += ["-c", str(wanted.context * (wanted.slots or 1))]
        if wanted.gpu_layers is not None:
            command += ["-ngl", "all" if wanted.gpu_layers < 0 else str(wanted.gpu_layers)]
        return [*command, *wanted.flags]

    def threads(self) -> int | None:
        return None if self.attached and self.known is None else self.profile.threads or free_threads()

    @property
    def keeps_connections(self) -> bool:
        """The wheel's server promises to, and closes each after a stream."""
        ours = self.version().startswith("xllamacpp")
        return not ours and not (self.attached and self.settings().get("build") == NO_BUILD)

    def environment(self) -> dict[str, str]:
        return {"LLAMA_API_KEY": key} if (key := self.key()) else {}

    def is_this(self, url: str) -> bool:
        answer = http.get(url, "/props", self.key(), PROBE_S)
        return "build_info" in answer.object() or answer.server == "llama.cpp"

    def serves(self, url: str) -> bool:
        path = http.get(url, "/props", self.key()).object().get("model_path")
        if isinstance(path, str) and path:
            if os.path.isabs(path):
                return os.path.realpath(path) == os.path.realpath(self.model().place)
            return Path(path).name == Path(self.model().place).name
        return super().serves(url)

    def settings(self) -> dict[str, Any]:
        props = http.get(self.url, "/props", self.key()).object()
        inner = props.get("default_generation_settings")
        told = {
            "build": props.get("build_info"),
            "slots": props.get("total_slots"),
            "context": inner.get("n_ctx") if isinstance(inner, dict) else None,
            "quant": props.get("model_ftype"),
        }
        known = {key: value for key, value in told.items() if isinstance(value, str | int) and value != ""}
        return {key: v.encode("utf-8", "replace").decode() if isinstance(v, str) else v for key, v in known.items()}


def _version(place: str) -> str:
    """It says its version on stderr, in one of three shapes."""
    try:
        ran = subprocess.run([place, "--version"], capture_output=True, text=True, timeout=10, errors="replace")
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(r"version: *(\S+(?: \([^)]*\))?)", ran.stderr + ran.stdout)
    return f"llama.cpp {found[1]}" if found else ""
