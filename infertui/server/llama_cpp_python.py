"""llama-cpp-python's server: one generation at a time, whatever is asked of it."""

from __future__ import annotations

import sys
from importlib import metadata, util
from pathlib import Path
from typing import ClassVar

from infertui.server import http
from infertui.server.base import PROBE_S, Server, free_threads
from infertui.server.state import Can, Health, Program, State


class LlamaCppPython(Server):
    kind: ClassVar = "llama-cpp-python"
    title: ClassVar = "llama-cpp-python's server"
    install: ClassVar = "pip install 'llama-cpp-python[server]' (it is compiled: a quarter of an hour)"
    port: ClassVar = 8000
    form: ClassVar = "gguf"
    cleared: ClassVar = ("LLAMA_ARG_", "API_KEY")
    can: ClassVar = Can(parallel=False, stream_usage=False)

    def installed(self) -> Program | None:
        found = util.find_spec("llama_cpp")
        if found is None or not found.submodule_search_locations:
            return None
        if any(util.find_spec(name) is None for name in ("uvicorn", "fastapi", "starlette_context")):
            return None
        if not any(Path(found.submodule_search_locations[0], "lib").glob("libllama.*")):
            return None  # the package without the library that it is about
        version = f"llama-cpp-python {metadata.version('llama-cpp-python')}"
        return Program(
            command=(sys.executable, "-m", "llama_cpp.server"), version=version, source=f"the package {version}"
        )

    def arguments(self, port: int) -> list[str]:
        wanted, model = self.profile, self.model()
        # Left alone it runs on the CPU, and a new call cuts the one under way short, with a good-looking end.
        command = ["--model", model.place, "--model_alias", model.name, "--host", self.host(), "--port", str(port)]
        command += ["--interrupt_requests", "False", "--n_threads", str(self.threads())]
        command += ["--n_gpu_layers", str(-1 if wanted.gpu_layers is None else wanted.gpu_layers)]
        if wanted.context is not None:
            command += ["--n_ctx", str(wanted.context)]
        return [*command, *wanted.flags]

    def threads(self) -> int | None:
        return None if self.attached and self.known is None else self.profile.threads or free_threads()

    def environment(self) -> dict[str, str]:
        return {"API_KEY": key} if (key := self.key()) else {}

    def is_this(self, url: str) -> bool:
        info = http.get(url, "/openapi.json", self.key(), PROBE_S).object().get("info")
        return isinstance(info, dict) and "llama.cpp Python API" in str(info.get("title"))

    def probe(self) -> Health:
        """It listens only once the model is there. `/v1/models` would wait for a generation under way."""
        answer = http.get(self.url, "/openapi.json", self.key(), PROBE_S)
        if answer.status == 200:
            return Health(State.READY)
        return Health(State.ERROR, f"/openapi.json answers {answer.status}")

    def caveats(self) -> list[str]:
        told = super().caveats()
        if (self.profile.slots or 1) > 1:
            told.append(f"it serves one call at a time: the profile's slots = {self.profile.slots} has no effect")
        return told
