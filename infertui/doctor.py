"""What is installed here, what is missing, and the command that mends it. Facts alone: nothing is said or changed."""

from __future__ import annotations

import os
import re
import resource
import shlex
import shutil
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from infertui import __version__, profile, settings
from infertui.aside import aside
from infertui.embedded.model import cached
from infertui.errors import InferTUIError, ServerError, UsageError
from infertui.profile import Profile
from infertui.server import KINDS, adapter, process, record, server
from infertui.server.base import free_threads
from infertui.server.process import LOOPBACK, held_by, listens
from infertui.server.state import NotInstalled
from infertui.telemetry import machine
from infertui.telemetry.survey import Survey, survey
from infertui.text import plain

T = TypeVar("T")
PORT_S = 2.0  # for what listens on a port to say what it is
PROGRAM_S = 8.0  # for a program to say its version
SURVEY_S = 12.0  # for every source of telemetry to say what it tells
SILENT = f"its program did not say its version within {PROGRAM_S:g} s"
FEW_FILES = 512  # open at once: every call under way has one
ENGINES = tuple(kind for kind in KINDS if kind != "openai")  # which have programs of their own


class Problem(msgspec.Struct, frozen=True):
    """What stands in the way, and what to do about it."""

    message: str
    hint: str = ""


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """`open_files`: how many now, and how many it can be raised to. None: no limit."""

    facts: dict[str, Any]
    server_threads: int
    open_files: tuple[int | None, int | None]
    python: str
    checkout: str


class Engine(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of server, and the program that would be started. Each of `commands` adds one that is missing."""

    kind: str
    title: str
    state: Literal["found", "missing", "broken"]
    version: str = ""
    source: str = ""
    commands: tuple[str, ...] = ()
    note: str = ""


class Port(msgspec.Struct, frozen=True, kw_only=True):
    """Where servers of `kinds` usually are, and who answers there now."""

    port: int
    url: str
    kinds: tuple[str, ...]
    state: Literal["free", "serving", "foreign"]
    kind: str = ""
    title: str = ""
    models: tuple[str, ...] = ()
    holder: str = ""


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """A server that InferTUI has started. Whether it is ready is known of those that outlive who started them."""

    name: str
    kind: str
    model: str
    url: str
    pid: int
    log: str
    owner: Literal["run", "nobody", "gone"]
    owner_pid: int | None
    ready: bool | None


class Embedded(msgspec.Struct, frozen=True, kw_only=True):
    """The small random model: made already, or made at first use, for which numpy is needed."""

    made: bool
    numpy: bool


class Profiles(msgspec.Struct, frozen=True, kw_only=True):
    names: tuple[str, ...]
    yours: tuple[str, ...]
    broken: tuple[Problem, ...]


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """The settings: what they name, what is wrong with them, and with what they name."""

    path: str
    there: bool
    servers: tuple[str, ...]
    baseline: str
    fallback: str
    wrong: Problem | None
    unusable: dict[str, Problem]


class Folder(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    path: str
    there: bool
    writable: bool


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """`database` is empty where its place cannot be told."""

    version: str
    machine: Machine
    engines: tuple[Engine, ...]
    ports: tuple[Port, ...]
    servers: tuple[Running, ...]
    embedded: Embedded
    profiles: Profiles
    settings: Chosen
    database: str
    folders: tuple[Folder, ...]
    telemetry: Survey | None  # None: the sampler did not answer
    problems: tuple[Problem, ...] = ()


def examine() -> Findings:
    """Everything, what takes time at the same time."""
    began = time.monotonic()
    engines = {kind: aside(partial(_engine, kind)) for kind in ENGINES}
    usual: dict[int, tuple[str, ...]] = {}
    for kind in ENGINES:
        usual[adapter(kind).port] = (*usual.get(adapter(kind).port, ()), kind)
    telemetry = aside(survey)
    ports = {port: aside(partial(_port, port, kinds)) for port, kinds in usual.items()}
    findings = Findings(
        version=__version__,
        machine=_machine(),
        settings=_chosen(began + PROGRAM_S),
        profiles=_profiles(),
        servers=tuple(_running()),
        embedded=Embedded(made=_made(), numpy=find_spec("numpy") is not None),
        database=_database(),
        folders=_folders(),
        ports=tuple(_by(look, began + PORT_S) or _foreign(port, usual[port]) for port, look in sorted(ports.items())),
        engines=tuple(_by(look, began + PROGRAM_S) or _broken(kind, SILENT) for kind, look in engines.items()),
        telemetry=_by(telemetry, began + SURVEY_S),
    )
    return msgspec.structs.replace(findings, problems=tuple(dict.fromkeys(_problems(findings))))


def _by(look: Future[T], until: float) -> T | None:
    try:
        return look.result(max(0.0, until - time.monotonic()))
    except TimeoutError:
        return None


def _problem(error: InferTUIError) -> Problem:
    return Problem(error.message, error.hint)


def _problems(found: Findings) -> Iterator[Problem]:
    if found.settings.wrong is not None:
        yield found.settings.wrong
    yield from found.settings.unusable.values()
    yield from found.profiles.broken
    for each in found.servers:
        if each.owner == "gone":
            told = f"{each.name} (pid {each.pid}) was left behind by an InferTUI that was killed"
            yield Problem(told, "`infertui server status` ends it")
    for folder in found.folders:
        if not folder.writable:
            told = f"the {folder.name} folder cannot be written: {folder.path}"
            yield Problem(told, "mend its permissions, or name another place in INFERTUI_HOME")
    if found.telemetry is None or found.telemetry.trouble:
        why = found.telemetry.trouble if found.telemetry is not None else "it did not answer"
        yield Problem(f"nothing can be sampled of CPU, GPU, memory and power: {why}", "infertui run --no-samples")
    if not found.database:
        yield Problem("the current folder is gone", "cd into one that is there")
    most = found.machine.open_files[1]
    if most is not None and most < FEW_FILES:
        yield Problem(f"{most} open files at most: too few for many calls at once", f"ulimit -n {FEW_FILES}")


# The machine.


def _machine() -> Machine:
    soft, hard = (None if n == resource.RLIM_INFINITY else n for n in resource.getrlimit(resource.RLIMIT_NOFILE))
    return Machine(
        facts=machine.facts(),
        server_threads=free_threads(),
        open_files=(soft, hard),
        python=sys.executable,
        checkout=str(settings.checkout() or ""),
    )


def _folders() -> tuple[Folder, ...]:
    named = {
        "config": settings.config_folder(),
        "cache": settings.cache_folder(),
        "state": settings.state_folder(),
        "data": settings.data_folder(),
    }
    return tuple(
        Folder(name=name, path=str(path), there=path.is_dir(), writable=_writable(path)) for name, path in named.items()
    )


def _writable(path: Path) -> bool:
    """Whether it can be written, or made where it is not there."""
    first = next((each for each in (path, *path.parents) if os.path.lexists(each)), path)
    return first.is_dir() and os.access(first, os.W_OK | os.X_OK)


def _database() -> str:
    try:
        return str(settings.database())
    except OSError:
        return ""


# Programs.


def _engine(kind: str) -> Engine:
    known = adapter(kind)
    try:
        program = server(Profile(kind=kind, name=kind)).find()
    except NotInstalled:
        commands, note = _mending(known.install)
        return Engine(kind=kind, title=known.title, state="missing", commands=commands, note=note)
    except (ImportError, OSError, ValueError) as error:  # half of a package
        return _broken(kind, f"what is here cannot be used: {plain(str(error), 200)}")
    return Engine(kind=kind, title=known.title, state="found", version=program.version, source=program.source)


def _broken(kind: str, note: str) -> Engine:
    return Engine(kind=kind, title=adapter(kind).title, state="broken", note=note)


def _mending(install: str) -> tuple[tuple[str, ...], str]:
    """The commands out of an adapter's sentence, and what it says about them."""
    match = re.fullmatch(r"(.*?)(?: \(([^()]*)\))?", install)
    assert match
    commands = [each for each in match[1].split(", or ") if not each.startswith("brew ") or shutil.which("brew")]
    root = settings.checkout()
    # what `make` installs is the same everywhere: an environment that it has made would have it if it could
    if root is not None and "infertui[" in install and Path(sys.prefix) != root / ".venv":
        commands.insert(0, f"make -C {shlex.quote(str(root))} run ARGS=doctor")
    return tuple(commands), match[2] or ""


# Ports.


def _port(port: int, kinds: tuple[str, ...]) -> Port:
    url = f"http://{LOOPBACK}:{port}"
    if not listens(f"http://{LOOPBACK}:{port}"):
        return Port(port=port, url=url, kinds=kinds, state="free")
    for kind in (*kinds, *(other for other in KINDS if other not in kinds)):
        asked = server(Profile(kind=kind, name=kind, address=url, start=False))
        try:
            if not asked.is_this(url):
                continue
            models = tuple(asked.models(url))
        except ServerError:
            if kind == "openai":
                continue
            models = ()
        return Port(port=port, url=url, kinds=kinds, state="serving", kind=kind, title=asked.title, models=models)
    return _foreign(port, kinds)


def _foreign(port: int, kinds: tuple[str, ...]) -> Port:
    url = f"http://{LOOPBACK}:{port}"
    return Port(port=port, url=url, kinds=kinds, state="foreign", holder=process.holder(port))


# What InferTUI keeps.


def _running() -> Iterator[Running]:
    for known in record.all_of():
        if not (known.serves() or known.supervised()):
            continue
        yield Running(
            name=known.name,
            kind=known.kind,
            model=known.model,
            url=known.url,
            pid=known.pid,
            log=known.log,
            owner="nobody" if not known.owner else "run" if known.owned() else "gone",
            owner_pid=known.owner or None,
            ready=None if known.owner else known.ready,
        )


def _made() -> bool:
    try:
        return cached()
    except OSError:
        return False


def _profiles() -> Profiles:
    usable, broken = profile.available(tuple(KINDS))
    mine = profile.folders()[0]
    return Profiles(
        names=tuple(each.name for each in usable),
        yours=tuple(each.name for each in usable if Path(each.file).parent == mine),
        broken=tuple(_problem(error) for error in broken),
    )


def _chosen(until: float) -> Chosen:
    wrong = None
    try:
        wanted = settings.user()
    except UsageError as error:
        wanted, wrong = settings.Settings(), _problem(error)
    names = dict.fromkeys((*wanted.servers, wanted.baseline, wanted.fallback))
    looks = {name: aside(partial(_unusable, name)) for name in names if name}
    found = {name: _by(look, until) for name, look in looks.items()}
    path = settings.config_folder() / "settings.toml"
    return Chosen(
        path=str(path),
        there=os.path.lexists(path),
        servers=wanted.servers,
        baseline=wanted.baseline,
        fallback=wanted.fallback,
        wrong=wrong,
        unusable={name: problem for name, problem in found.items() if problem is not None},
    )


def _unusable(name: str) -> Problem | None:
    """Why the profile of that name cannot be used now, if so. Nothing is started or made."""
    try:
        wanted = profile.load(name, tuple(KINDS))
        key = wanted.api_key_env
        if key and not os.environ.get(key):
            return Problem(f"{name}: the variable {key} is not set", f"export {key}=…")
        if not wanted.start:
            return None
        found = server(wanted)
        try:
            found.find()
        except NotInstalled as error:
            commands, _ = _mending(error.hint)
            return Problem(f"{name}: {found.title} is not installed", commands[0] if commands else error.hint)
        if found.url and listens(found.url) and not found.is_this(found.url):
            told = f"{name}: {held_by(found.url)}, which is not {found.title}"
            return Problem(told, f"stop it, or set another address in {wanted.file}")
        if wanted.model.partition(":")[0] != "embedded":
            found.model()
        elif not cached(wanted.model.partition(":")[2] or "tiny") and find_spec("numpy") is None:
            return Problem(f"{name}: its random model cannot be made without numpy", "pip install numpy")
    except InferTUIError as error:
        return _problem(error)
    return None
