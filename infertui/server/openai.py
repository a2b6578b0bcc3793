"""Any server that speaks OpenAI's API, known by its address, or by the command that the profile gives."""

from __future__ import annotations

from typing import ClassVar, Literal

from infertui.errors import ServerError, UsageError
from infertui.profile import Profile
from infertui.server import http
from infertui.server.base import PROBE_S, Server
from infertui.server.model import Model
from infertui.server.process import listens
from infertui.server.state import Endpoint, Health, Program, State
from infertui.text import plain


class OpenAIServer(Server):
    kind: ClassVar = "openai"
    title: ClassVar = "an OpenAI-compatible server"
    install: ClassVar = "its profile says how it starts"
    port: ClassVar = 8000
    form: ClassVar = "any"
    health_lies: ClassVar = True
    listens_itself: ClassVar = False  # a command may be that of a container

    def __init__(self, profile: Profile) -> None:
        super().__init__(profile)
        self._offered = ""  # the model that is there, where the profile names none

    def installed(self) -> Program | None:
        return None

    def find(self) -> Program:
        command = self.profile.command
        if not command:
            raise self.wrong(
                "kind", "nothing says how it is started", 'add command = ["…", "{port}"], or start = false'
            )
        if not self.profile.address and not any("{port}" in part for part in (*command, *self.profile.flags)):
            raise self.wrong("command", "it is not told its port", "put {port} where its port belongs, or set address")
        return super().find()

    def arguments(self, port: int) -> list[str]:
        return list(self.profile.flags)

    def command(self, program: Program, port: int) -> list[str]:
        told = {"{host}": self.host(), "{port}": str(port), "{model}": self.profile.model}
        parts = super().command(program, port)
        for name, value in told.items():
            parts = [part.replace(name, value) for part in parts]
        return parts

    def prepare(self) -> None:
        if self.profile.start:
            super().prepare()

    def running(self) -> str | None:
        if self.profile.start:
            return super().running()
        return self.url if listens(self.url, within_s=PROBE_S) else None

    def is_this(self, url: str) -> bool:
        return http.get(url, "/v1/models", self.key(), PROBE_S).status == 200

    def serves(self, url: str) -> bool:
        return not self.profile.model or super().serves(url)

    def probe(self) -> Health:
        """Nothing is known of it but that it should answer: the proof is an answer."""
        return Health(State.READY)

    def model(self) -> Model:
        return super().model() if self.profile.model else Model(name=self._offered, place="")

    def asked(self) -> str:
        if not self.profile.model and not self._offered:
            self._offered = only_model(self.models(), self.url)
        return super().asked()

    def endpoint(self) -> Endpoint:
        name = self.asked()
        if self.profile.api != "native":
            return super().endpoint()
        spoken = native(self.url, self.key())
        if spoken is None:
            raise UsageError(f"{self.url} speaks no native API that we know", "use --api chat or completions")
        return Endpoint(url=self.url, model=name, shown=name, api=spoken)


def only_model(names: list[str], url: str) -> str:
    """The model to use where none was named: the one that there is."""
    if len(names) == 1:
        return names[0]
    if not names:
        raise ServerError(f"{url} offers no model", "load one there, or name one with --model")
    shown = ", ".join(plain(name, 60) for name in names[:8]) + (" …" if len(names) > 8 else "")
    raise ServerError(f"{url} offers {len(names)} models", f"name one with --model: {shown}")


def native(url: str, api_key: str = "") -> Literal["llama.cpp", "ollama"] | None:
    """Whose own API this server speaks: llama.cpp's, Ollama's, or none that we know."""
    if "version" in http.get(url, "/api/version", api_key).object():
        return "ollama"
    if "build_info" in http.get(url, "/props", api_key).object():
        return "llama.cpp"
    return None
