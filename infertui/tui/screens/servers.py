"""The servers of the launch page: what is known of each, and what its row, its lines and its sheet say of it."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
from rich.text import Text

from infertui.config import shown as known_as
from infertui.errors import InferTUIError, UsageError
from infertui.profile import ENDING, Profile, available, load
from infertui.report.figure import UNKNOWN
from infertui.server import KINDS
from infertui.server.state import State
from infertui.settings import Settings
from infertui.text import lines, plain
from infertui.tui.memory import Memory
from infertui.tui.widgets import Column

if TYPE_CHECKING:
    from infertui.server.record import Record
    from infertui.server.status import Status

NONE_INSTALLED = "No engine is installed: pip install 'infertui[llama,mlx]' adds two, d shows what is here"
TONES = {
    State.NOT_INSTALLED: "dim",
    State.STOPPED: "dim",
    State.NOT_LOADED: "warning",
    State.LOADING: "warning",
    State.READY: "success",
    State.ERROR: "error",
}
SHORT_NAME, LONG_NAME, MODEL = 16, 26, 36  # cells at most
LONG_PATH = 40  # characters of a path that is not a part of an address: of a longer one the end is shown
PLACED = re.compile(rf"(?P<place>[^:]+{re.escape(ENDING)}(?::\d+)?): (?P<what>.+)", re.DOTALL)
Palette = Mapping[str, str]  # from a tone to a style


NOBODY = Profile(kind="openai")


@dataclass(slots=True)
class Row:
    """A profile, an address that is attached to, a server whose profile is gone, or a profile that cannot be used.

    `argument` stands for it on the command line. `busy` is what is done to it now, and `said` the last word about that.
    """

    key: str
    name: str
    sort: Literal["profile", "address", "orphan", "broken"]
    profile: Profile = NOBODY
    argument: str = ""
    statuses: list[Status] = field(default_factory=list)
    wrong: str = ""
    busy: str = ""
    said: str = ""

    @property
    def status(self) -> Status | None:
        """The one to show where several run of a profile: the one that a run would attach to."""
        return min(self.statuses, key=lambda each: (each.owner == "run", each.state != State.READY), default=None)

    @property
    def ours(self) -> Status | None:
        """What InferTUI has started, and can therefore stop."""
        return next((each for each in self.statuses if each.owner in ("run", "nobody")), None)

    @property
    def usable(self) -> bool:
        return self.sort in ("profile", "address")

    @property
    def startable(self) -> bool:
        there = self.status is not None and self.status.state in (State.READY, State.LOADING, State.NOT_LOADED)
        return self.sort == "profile" and self.profile.start and not self.busy and not there

    @property
    def needs_model(self) -> bool:
        """Whether it cannot be measured before somebody names one."""
        if self.profile.model or not self.usable:
            return False
        several = self.status is not None and self.status.state == State.READY and "name one" in self.status.reason
        return several if self.profile.kind == "openai" else True

    @property
    def word(self) -> tuple[str, str]:
        """Its state, and the tone of it."""
        if self.busy:
            return self.busy, "warning"
        if self.sort == "broken":
            return "broken", "error"
        status = self.status
        if status is None:
            return "…", "dim"
        if status.state == State.READY and status.owner == "not ours":
            return "attached", "success"
        return str(status.state), TONES[status.state]

    @property
    def model(self) -> str:
        known = (self.status.model if self.status is not None else "") or self.profile.model
        return plain(Path(known).name if known.startswith("/") else known, 80)

    @property
    def address(self) -> str:
        known = (self.status.address if self.status is not None else "") or self.profile.address
        return plain(known.removeprefix("http://"), 80)

    @property
    def since(self) -> str:
        """When it was started: today's by the hour."""
        if self.status is None or self.status.since is None:
            return ""
        begun = datetime.fromtimestamp(self.status.since)
        return f"{begun:%H:%M}" if begun.date() == datetime.now().date() else f"{begun:%d %b %H:%M}"


class Roster:
    """All rows in their order, and which of them are marked."""

    def __init__(self, settings: Settings, memory: Memory) -> None:
        self.settings = settings
        self.memory = memory
        self.fresh = not memory.servers and not memory.scenario  # nothing was ever chosen
        self.rows: dict[str, Row] = {}
        self._found: tuple[list[tuple[str, Profile]], list[UsageError]] = ([], [])
        if self.fresh:
            memory.servers = list(settings.servers)

    # What there is.

    def read(self) -> None:
        """The files of the profiles. It changes no row."""
        profiles, errors = available(tuple(KINDS))
        named = [(profile.name, profile) for profile in profiles]
        for name in self.settings.servers:
            if name not in (known for known, _ in named):
                try:
                    named.append((name, load(name, tuple(KINDS))))
                except UsageError as error:
                    if str(error) not in map(str, errors):
                        errors.append(error)
        self._found = named, errors

    def arrange(self) -> None:
        """Rows for what was read and attached to. What is known of those that stay is kept."""
        named, errors = self._found
        wanted: list[Row] = []
        for name, profile in named:
            changed = msgspec.structs.replace(profile, model=self._model(name) or profile.model)
            wanted.append(Row(name, plain(profile.name, 60), "profile", changed, argument=name))
        for url in self.memory.addresses:
            profile = Profile(kind="openai", name=url, address=url, start=False, model=self._model(url))
            wanted.append(Row(url, plain(url.partition("://")[2], 60), "address", profile, argument=url))
        for wrong in errors:
            place = wrong.message.partition(": ")[0].partition(":")[0]
            name = plain(Path(place).name.removesuffix(ENDING), 60) or "settings"
            wanted.append(Row(f"broken {wrong}", name, "broken", wrong=str(wrong)))
        before, self.rows = self.rows, {row.key: row for row in wanted}
        for row in (*self.rows.values(), *(old for old in before.values() if old.sort == "orphan")):
            if (old := before.get(row.key)) is not None:
                row.statuses, row.busy, row.said = old.statuses, old.busy, old.said
                self.rows[row.key] = row

    def _model(self, name: str) -> str:
        """The model that was named in the app, as the command line would take it."""
        named = self.memory.models.get(name, "")
        return os.path.abspath(named) if named and os.path.exists(named) else named

    def asked(self, every: bool, records: Sequence[Record]) -> list[Profile]:
        """Whom to ask for their state: all, or those of which it can change by itself."""
        running = {known.name for known in records}
        return [
            row.profile
            for row in self.rows.values()
            if row.usable
            and (every or not row.statuses or row.profile.address or row.profile.name in running or row.ours)
        ]

    def learn(self, asked: Sequence[Profile], found: Sequence[Status]) -> None:
        """What these said. A server that runs and has no profile gets a row of its own."""
        names = {profile.name for profile in asked}
        known = {row.profile.name for row in self.rows.values() if row.usable}
        for row in self.rows.values():
            if row.usable and row.profile.name in names:
                row.statuses = [each for each in found if each.profile == row.profile.name]
        self.rows = {key: row for key, row in self.rows.items() if row.sort != "orphan"}
        for status in found:
            if status.profile not in known:
                key = f"orphan {status.profile}"
                orphan = Row(key, plain(status.profile, 60), "orphan", argument=status.profile)
                self.rows.setdefault(key, orphan).statuses.append(status)

    @property
    def no_engine(self) -> bool:
        """Whether nothing here can be started, nor runs already."""
        engines = [row for row in self.rows.values() if row.sort == "profile" and row.profile.kind != "openai"]
        states = [row.status.state if row.status is not None else None for row in engines]
        runs = any(row.status is not None and row.status.state == State.READY for row in self.rows.values())
        return bool(states) and set(states) == {State.NOT_INSTALLED} and not runs

    # What is marked.

    @property
    def marked(self) -> list[Row]:
        return [row for row in self.rows.values() if row.usable and row.key in self.memory.servers]

    def mark(self, key: str, on: bool) -> None:
        self.memory.servers = [known for known in self.memory.servers if known != key] + [key] * on

    @property
    def usual(self) -> bool:
        """Whether what is marked is what comes with InferTUI, as far as is known ready to be run."""
        states = [row.status.state if row.status is not None else None for row in self.marked]
        usual = {row.key for row in self.marked} == set(Settings().servers)
        return usual and State.NOT_INSTALLED not in states

    def arguments(self) -> list[str]:
        """Of `infertui run`: the servers, and their models where one was named here."""
        marked = self.marked
        told = [row.argument for row in marked if row.sort == "profile"]
        for row in marked:
            if row.sort == "address":
                told += ["--attach", row.argument]
        if any(self.memory.models.get(row.key) for row in marked):
            for row in marked:
                told += ["--model", self.memory.models.get(row.key) or _own(row.profile.model)]
        return told

    def problem(self) -> str:
        """Why nothing can be run with these; empty if it can."""
        if not self.marked:
            return "No server is marked: space marks the one under the cursor"
        if lacking := [row.name for row in self.marked if row.needs_model]:
            return f"{', '.join(lacking)}: no model is named, M names one"
        return ""


def _own(model: str) -> str:
    """A profile's model, to stand beside those of others; nothing, where it would be taken for a file that is here."""
    return "" if not os.path.isabs(model) and os.path.exists(model) else model


# What is shown.


def columns(rows: Sequence[Row], width: int) -> list[Column]:
    """As wide as the place: names and models give way, states do not. The least asked for go first."""
    wide, narrow = width >= 96, width < 70
    name = min(LONG_NAME if wide else SHORT_NAME - 4 * narrow, max((len(row.name) for row in rows), default=4))
    address = max(7, max((len(row.address) for row in rows), default=7))
    found = {"mark": ("", 1), "name": ("server", max(6, name)), "state": ("state", 13), "model": ("model", 0)}
    if not narrow:
        found["slots"] = ("slots", 5)
    found["address"] = ("address", min(30 if wide else 15, address))
    if wide:
        found["since"] = ("up since", 12)
    taken = sum(size + 2 for _, size in found.values())
    found["model"] = ("model", min(MODEL, max(6, width - taken)))
    return [Column(key, head, size, right=key == "slots") for key, (head, size) in found.items()]


def cells(row: Row, marked: bool, shown: Sequence[Column], palette: Palette) -> list[str | Text]:
    word, tone = row.word
    sign = ("●" if marked else "○") if row.usable else "!" if row.sort == "broken" else " "
    slots = str(row.profile.slots) if row.profile.slots is not None else UNKNOWN
    made: dict[str, str | Text] = {
        "mark": Text.assemble((sign, palette["primary"] if marked else palette[tone] if sign == "!" else "dim")),
        "name": Text.assemble((row.name, "bold" if marked else "")),
        "state": Text.assemble((word, palette[tone])),
        "model": row.model or UNKNOWN,
        "slots": slots if row.usable else UNKNOWN,
        "address": row.address or UNKNOWN,
        "since": row.since or UNKNOWN,
    }
    return [made[column.key] for column in shown]


def detail(row: Row, palette: Palette) -> Text:
    """What is wrong with it or happens to it, and what it is: in a few lines, broken by whoever shows them."""
    told = Text()
    _, tone = row.word
    if said := _trouble(row):
        told.append(f"{_in_short(plain(said, 600))}\n", palette[tone if tone != "dim" else "warning"])
    if row.needs_model:
        wants = "M names one of its models" if row.profile.kind == "openai" else "It needs a model: M names one"
        told.append(f"{wants}\n", palette["warning"])
    if row.sort == "broken":
        told.append("The other profiles can be used meanwhile; F5 reads them again", "dim")
        return told
    about = {
        "address": "Attached to by its address: never started or stopped from here",
        "orphan": "Started by InferTUI from a profile that is gone or broken: x stops it",
    }.get(row.sort, row.profile.about)
    told.append(f"{plain(about, 200)}\n" if about else "")
    told.append(" · ".join(_facts(row)), "dim")
    told.rstrip()
    return told


def _trouble(row: Row) -> str:
    if row.busy or row.sort == "broken":
        return row.said if row.busy else row.wrong
    status = row.status
    if status is None:
        return ""
    if status.state == State.NOT_INSTALLED:
        return f"Not installed: {status.reason}"
    return status.reason or row.said


def _in_short(said: str) -> str:
    """What is wrong comes before the place where it is, and of a long path only the end: what is cut tells least."""

    def end(path: re.Match[str]) -> str:
        last = path[0][-LONG_PATH:]
        return f"…{last[last.find('/') :] if '/' in last else last}"

    placed = PLACED.fullmatch(said)
    what = re.sub(rf"(?<![\w:/.~])[~.]*/[^\s'\"]{{{LONG_PATH},}}", end, placed["what"] if placed else said)
    return f"{what} · {placed['place']}" if placed else what


def _facts(row: Row) -> list[str]:
    profile, status = row.profile, row.status
    facts = [profile.kind if row.sort == "profile" else status.kind if row.sort == "orphan" and status else ""]
    facts += [
        f"{len(row.statuses)} of them run" if len(row.statuses) > 1 else "",
        f"up since {row.since}" if row.since else "",
    ]
    if status is not None and status.owner == "run":
        facts.append(f"belongs to the run of pid {status.owner_pid}")
    named = {"context": profile.context, "threads": profile.threads, "GPU layers": profile.gpu_layers}
    facts += [f"{name} {value:,}" for name, value in named.items() if value is not None]
    facts.append(f"flags {plain(shlex.join(profile.flags), 200)}" if profile.flags else "")
    facts.append(known_as(Path(profile.file)) if row.sort == "profile" and profile.file else "")
    return [fact for fact in facts if fact]


def sheet(row: Row) -> str:
    """All that is known of a server. Looking for its program takes a moment: not for the app's loop."""
    if row.sort == "broken":
        return f"This profile cannot be used.\n\n{lines(row.wrong)}"
    parts: list[tuple[str, object]] = [("server", row.name), ("state", " ".join(filter(None, (row.word[0], row.said))))]
    for status in row.statuses:
        known = {"said": status.reason, "address": status.address, "model": status.model, "pid": status.pid}
        known |= {"up since": row.since if status is row.status else "", "log": status.log}
        known["owner"] = f"the run of pid {status.owner_pid}" if status.owner == "run" else status.owner
        parts += [("", ""), *known.items()]
    if row.sort == "profile":
        left_out = ("name", "file")
        said = msgspec.structs.asdict(row.profile)
        usual = {each.name: each.default for each in msgspec.structs.fields(Profile)}
        parts += [("", ""), ("profile", row.profile.file)]
        parts += [(key, said[key]) for key in said if key not in left_out and said[key] and said[key] != usual.get(key)]
        parts += [("", ""), ("command", _command(row))]
    return "\n".join(f"{name:12} {_told(value)}".rstrip() for name, value in parts if value or not name)


def _told(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{plain(key, 60)}={plain(str(each), 200)}" for key, each in value.items())
    return plain(shlex.join(value) if isinstance(value, tuple) else str(value), 2000)


def _command(row: Row) -> str:
    """That of the one which runs, else the one that would be started."""
    from infertui.embedded.model import cached
    from infertui.server import record, server
    from infertui.server.process import host_port

    profile = row.profile
    for known in record.all_of():
        if row.ours is not None and known.pid == row.ours.pid:
            return shlex.join(known.command)
    if not profile.start:
        return "none: it is only measured where it runs"
    try:
        found = server(profile)
        kind, _, size = profile.model.partition(":")
        program = found.find()
        if kind == "embedded" and not cached(size or "tiny"):
            return f"{shlex.join(program.command)} … (its model is made when it first starts)"
        port = host_port(found.url)[1] if profile.address else 0
        return shlex.join(found.command(program, port)) + ("" if port else " (on a free port)")
    except (InferTUIError, OSError) as error:
        return f"none so far: {error}"
