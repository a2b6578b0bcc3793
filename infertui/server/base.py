"""What every server can be asked and told, and all that they share: attach or start, wait until it serves, stop.

An adapter says how its server is found, started and asked; it is one small file, named in `infertui.server.KINDS`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from infertui.errors import Interrupted, ServerError, UsageError
from infertui.profile import Profile
from infertui.server import http, process, record
from infertui.server.model import Form, Model, NotHere, find
from infertui.server.process import LOOPBACK, Ended, Process, held_by, host_port, listens
from infertui.server.proof import one_token, proves, refusal
from infertui.server.record import Record
from infertui.server.state import Begun, Can, Changed, Endpoint, Health, NotInstalled, Program, State
from infertui.server.waiting import Waiting
from infertui.text import plain

PROBE_S = 3.0
STARTED_FROM = (
    *("kind", "address", "command", "model", "slots", "context", "threads", "gpu_layers", "flags", "env"),
    *("api_key_env", "trust_remote_code"),
)
LEAST_SECRET = 6  # characters; a shorter word is none, and would be found everywhere
DEATH_S = 3.0  # until a supervisor has told of one
RETRIES = 3  # of a start whose free port somebody else took in the meantime
RANDOM_WEIGHTS = "random weights made on the spot: times and counts are real, the text means nothing"


def free_threads() -> int:
    """As many as there are cores, but for one that InferTUI keeps: one thread too many ruins llama.cpp."""
    import psutil

    usable = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return max(1, min(psutil.cpu_count(logical=False) or usable, usable - 1))


class Server(ABC):
    """A server as a profile wants it, whether it runs or not."""

    kind: ClassVar[str]
    title: ClassVar[str]
    install: ClassVar[str]  # the command that adds it
    port: ClassVar[int]  # where its users usually have it
    form: ClassVar[Form]  # of the models it reads
    can: ClassVar[Can] = Can()
    cleared: ClassVar[tuple[str, ...]] = ("LLAMA_ARG_",)  # beginnings of variables that would change it in silence
    listens_itself: ClassVar[bool] = True  # and not some other program on its behalf
    health_lies: ClassVar[bool] = False  # says that it is well while it still loads
    headers_mean_loaded: ClassVar[bool] = False  # the headers of a first streamed answer come when the model is there

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.url = profile.address.rstrip("/").removesuffix("/v1")
        self.process: Process | None = None
        self.attached = False
        self.known: Record | None = None  # of one that we, or an InferTUI before us, started
        self.program: Program | None = None
        self._model: Model | None = None
        self.cancelled = False  # a start that is under way is not wanted any more
        self.log = ""  # of the one that we started last

    # What an adapter says.

    @abstractmethod
    def installed(self) -> Program | None:
        """The program that would be started, of those that are here."""

    @abstractmethod
    def arguments(self, port: int) -> list[str]:
        """What follows the program in its command."""

    @abstractmethod
    def is_this(self, url: str) -> bool:
        """Whether it is a server of this kind that answers there."""

    def command(self, program: Program, port: int) -> list[str]:
        return [*program.command, *self.arguments(port)]

    def environment(self) -> dict[str, str]:
        """Variables that it needs beyond ours."""
        return {}

    def serves(self, url: str) -> bool:
        """Whether the model that answers there is the profile's."""
        return self.model().name in self.models(url)

    def settings(self) -> dict[str, Any]:
        """What is really in force, as the server itself says it."""
        return {}

    def version(self) -> str:
        return self.known.version if self.known is not None else ""

    def asked(self) -> str:
        """The model's name in a request."""
        return self.model().name

    def caveats(self) -> list[str]:
        """What to know before believing a figure. Shown with every result."""
        return [RANDOM_WEIGHTS] if self.model().random else []

    def load_model(self, model: str) -> None:
        raise ServerError(f"{self.title} takes its model when it starts", "stop it, and start it with --model")

    def unload_model(self, model: str) -> None:
        raise ServerError(f"{self.title} drops its model when it stops", "infertui server stop")

    def probe(self) -> Health:
        """One look at a server that listens."""
        answer = http.get(self.url, "/health", self.key(), PROBE_S)
        if answer.status == 503:
            return Health(State.LOADING)
        if answer.status == 200:
            return Health(State.READY)
        return Health(State.ERROR, f"/health answers {answer.status}: {plain(answer.text, 120)}")

    # What all share.

    @property
    def name(self) -> str:
        """As it is shown with results."""
        return self.profile.name

    def host(self) -> str:
        """Where it listens."""
        return host_port(self.url)[0]

    @property
    def keeps_connections(self) -> bool:
        """Whether a second call may go over the connection of the first."""
        return True

    def threads(self) -> int | None:
        """CPU threads that it is told to use; None where it is not told."""
        return None

    def key(self) -> str:
        key = os.environ.get(self.profile.api_key_env, "") if self.profile.api_key_env else ""
        if key and not (key.isascii() and key.isprintable() and " " not in key):  # its value is no part of the message
            said = f"the variable {self.profile.api_key_env} holds characters that no HTTP header can carry"
            raise self.wrong("api_key_env", said, "look for a line end in it")
        return key

    def mapped_bytes(self) -> int | None:
        """Weights that it maps from a file, where that is known: systems do not count them to its own memory."""
        if self.form != "gguf" or self.known is None:
            return 0 if self.form == "folder" else None  # MLX copies them
        if "--no-mmap" in self.known.command or "--use_mmap=false" in " ".join(self.known.command).replace(" ", "="):
            return 0
        try:
            return os.path.getsize(self.model().place)
        except OSError:
            return None

    def hidden(self, text: str) -> str:
        """A text of the server's without the key that we sent it."""
        key = os.environ.get(self.profile.api_key_env, "") if self.profile.api_key_env else ""
        return text.replace(key, "…") if len(key) >= LEAST_SECRET else text

    def find(self) -> Program:
        """The program that starts it. NotInstalled says what to do where there is none."""
        if self.profile.command:
            first = self.profile.command[0]
            place = shutil.which(os.path.expanduser(first))
            if place is None:
                raise self.wrong("command", f"there is no program {first!r}")
            command = (os.path.abspath(place), *self.profile.command[1:])
            self.program = Program(command=command, version="", source="profile")
        else:
            self.program = self.installed()
        if self.program is None:
            raise NotInstalled(f"{self.profile.name}: {self.title} is not installed", self.install)
        return self.program

    def wrong(self, key: str, message: str, hint: str = "") -> UsageError:
        """What cannot be used of the profile, with the line it stands in."""
        from infertui.config import wrong

        if self.profile.file:
            return wrong(Path(self.profile.file), key, message, hint)
        return UsageError(f"{self.name}: {key}: {message}", hint)

    def model(self) -> Model:
        """The profile's model on this machine. A UsageError says that it is not there."""
        if self._model is None:
            if not self.profile.model:
                raise self.wrong("model", "none is named", f"infertui run {self.profile.name} --model FILE")
            try:
                self._model = find(self.profile.model, self.form)
            except NotHere as error:
                raise self.wrong("model", error.message, error.hint) from None
        return self._model

    def endpoint(self) -> Endpoint:
        """Where to send calls, once it runs."""
        api = self.profile.api
        if api == "native":
            spoken = self.can.native
            if not spoken:
                raise self.wrong("api", f"{self.title} has no native API that we know", "use chat or completions")
            return Endpoint(url=self.url, model=self.asked(), shown=self.model().name, api=spoken)
        return Endpoint(url=self.url, model=self.asked(), shown=self.model().name, api=api)

    def models(self, url: str = "") -> list[str]:
        """The names that it offers, in its order."""
        url = url or self.url
        return http.listed(http.get(url, "/v1/models", self.key()), url)

    def facts(self) -> dict[str, Any]:
        """What it was, kept with a run."""
        settings: dict[str, Any] = {}
        with contextlib.suppress(ServerError):
            settings = self.settings()
        told = {
            "version": self.version(),
            "command": list(self.known.command) if self.known is not None else [],
            "model": self.model().place,
            "attached": self.attached,
            "threads": self.threads(),
            "settings": settings,
            "can": msgspec.structs.asdict(self.can),
            "caveats": self.caveats(),
        }
        return {key: value for key, value in told.items() if value}

    def unlike(self, settings: Mapping[str, Any]) -> list[str]:
        """What the server says that it does otherwise than the profile wants."""
        wanted = {"slots": self.profile.slots, "context": self.profile.context}
        return [
            f"{self.name} has {key} {settings[key]}, not {value} as its profile says"
            for key, value in wanted.items()
            if value is not None and settings.get(key, value) != value
        ]

    # Health.

    def health_check(self) -> Health:
        """Its state now, by what it answers."""
        if self.process is not None and (ended := self.process.poll()) is not None:
            return Health(State.ERROR, f"it ended ({ended}): {process.last_words(self.process.record.log)}")
        if not self.url or not listens(self.url):
            if self.process is not None:
                return Health(State.LOADING)
            if not self.profile.start:
                return Health(State.STOPPED, f"nothing answers at {self.url}")
            try:
                self.find()
            except NotInstalled as error:
                return Health(State.NOT_INSTALLED, error.hint)
            except UsageError as error:
                return Health(State.ERROR, str(error))
            return Health(State.STOPPED)
        try:
            health = self.probe()
            if health.state is State.READY and self.health_lies:
                answer = one_token(self, PROBE_S, lambda status: None)
                if answer.status == 503:
                    return Health(State.LOADING)
                if not proves(answer):
                    return Health(State.ERROR, refusal(answer))
            return health
        except ServerError as error:
            return Health(State.LOADING, error.message)

    # From nothing to a server that serves.

    def prepare(self) -> None:
        """All that can be known to be wrong before anything is started."""
        self.key()
        self.model()
        if self.form != "any":
            self.endpoint()
        if self.profile.start and not (self.url and listens(self.url)):
            self.find()

    def start(self, changed: Changed = lambda state, reason: None, detached: bool = False) -> Begun:
        """Attach to what runs already, else start it and wait until it answers. A ServerError says why it does not."""
        try:
            if not detached:
                return self._attached_or_started(changed, detached)
            with record.claimed(self.digest(), lambda: not self.cancelled):
                return self._attached_or_started(changed, detached)
        except ServerError as error:
            if self.cancelled:  # what a server says on its way down is no news
                raise Interrupted(f"{self.name}: stopped while it was loading") from None
            raise type(error)(self.hidden(error.message), error.hint) from None
        except OSError as error:
            raise ServerError(f"{self.name} cannot be started: {error.strerror or error}") from None

    def _attached_or_started(self, changed: Changed, detached: bool) -> Begun:
        if (running := self.running()) is not None:
            self.url, self.attached = running, True
            changed(State.READY, f"attached to {running}, which runs already")
            return Begun(url=running, attached=True)
        if not self.profile.start:
            raise ServerError(f"nothing answers at {self.url}", "start it, or check its address")
        program = self.find()
        self.model()
        for left in reversed(range(RETRIES)):
            host, port = host_port(self.url) if self.profile.address else (LOOPBACK, process.free_port())
            self.url = self.url if self.profile.address else f"http://{host}:{port}"
            try:
                return self._started(program, port, changed, detached)
            except ServerError:
                taken = not self.profile.address and listens(self.url) and not self.cancelled
                if not (left and taken):
                    raise
        raise AssertionError

    def running(self) -> str | None:
        """The address of a server that is as the profile wants it and runs already. One that is unlike is an error."""
        if not self.profile.address:
            known = self.recorded()
            while known is not None and not known.ready and known.supervised() and not self.cancelled:
                time.sleep(0.1)  # `infertui server start` is about to have it
                known = self.recorded()
            self.known = known if known is not None and known.ready else None
            return self.known.url if self.known is not None else None
        if not listens(self.url):
            return None
        for known in record.all_of():
            if known.url == self.url and known.owner not in (0, os.getpid()) and known.owned():
                said = f"{self.name}: the server at {self.url} belongs to a run of another InferTUI (pid {known.owner})"
                raise ServerError(said, "wait for its end, or set another address")
        try:
            unlike = "" if self.is_this(self.url) else f"not {self.title}"
            if not unlike and not self.serves(self.url):
                offered = ", ".join(plain(name, 40) for name in self.models(self.url)[:4]) or "no model"
                unlike = f"{self.title} with {offered}, not with {plain(self.model().name, 60)}"
        except ServerError as error:
            unlike = f"not {self.title} that can be asked ({error.message})"
        if unlike:
            held = f"{self.name}: {held_by(self.url)}, which is {unlike}"
            raise ServerError(held, f"stop it, or set another address in {self.profile.file or 'the profile'}")
        return self.url

    def recorded(self) -> Record | None:
        """One that `infertui server start` has started from this very profile, and that still lives."""
        same = [known for known in record.all_of() if known.profile == self.digest() and known.owner == 0]
        return next((known for known in same if known.serves()), None)

    def others(self) -> list[Record]:
        """Servers that `infertui server start` left running, beside this one."""
        return [known for known in record.all_of() if known.owner == 0 and known.url != self.url and known.serves()]

    def digest(self) -> str:
        """What it is started from: of a profile all that makes another server of it."""
        started_from = [getattr(self.profile, key) for key in STARTED_FROM]
        return hashlib.blake2b(msgspec.json.encode(started_from, order="sorted"), digest_size=8).hexdigest()

    def _started(self, program: Program, port: int, changed: Changed, detached: bool) -> Begun:
        command = self.command(program, port)
        kept = {key: value for key, value in os.environ.items() if not key.startswith(self.cleared)}
        self.log = str(process.new_log(self.profile.name))
        known = Record(
            id=record.new_id(),
            name=self.profile.name,
            kind=self.kind,
            model=self.model().name,
            url=self.url,
            log=self.log,
            token=record.new_id(),
            profile=self.digest(),
            version=program.version,
            command=tuple(part.encode("utf-8", "replace").decode() for part in command),
        )
        changed(State.LOADING, "starting")
        http.prepared()
        environment = {**kept, **self.environment(), **self.profile.env}
        self.process = Process.start(known, command, environment, self.profile.stop_s, detached)
        self.known = self.process.record
        try:
            begun = Waiting(self, self.process, changed).begun()
        except BaseException:
            self.stop()
            raise
        if detached:
            ready = msgspec.structs.replace(self.process.record, ready=True)
            record.write(ready)
            self.process.record = ready
        return begun

    def where(self) -> str:
        return f"its log: {self.log}" if self.log else ""

    def cancel(self) -> None:
        """Give up a start that is under way in another thread."""
        self.cancelled = True
        if self.process is not None:
            self.process.ask_to_end()

    def died(self) -> str:
        """Why it is gone, when it is: the reason in a line."""
        if self.process is None:
            if self.attached and not listens(self.url, within_s=PROBE_S):
                return f"nothing answers at {self.url} any more"
            return ""
        until = time.monotonic() + DEATH_S
        while (ended := self.process.poll()) is None:
            if self.process.record.serves() or time.monotonic() > until:
                return ""
            time.sleep(0.01)  # its supervisor is about to say how
        return self.hidden(f"{self.name} died ({ended}): {process.last_words(self.process.record.log)}")

    def stop(self) -> Ended | None:
        """End what we started; what runs otherwise is left alone. How it ended, if it was ours."""
        held, self.process = self.process, None
        if held is None:
            return None
        self.known = None
        if not self.profile.address:
            self.url = ""
        return held.stop()
