"""What runs now of the servers that profiles describe, asked of all of them at once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import msgspec

from infertui.aside import aside
from infertui.errors import InferTUIError, ServerError
from infertui.pid import measuring
from infertui.profile import Profile
from infertui.server import KINDS, server
from infertui.server.base import Server
from infertui.server.process import held_by, listens
from infertui.server.record import Record
from infertui.server.state import Health, State
from infertui.text import plain

WITHIN_S = 4.0  # an answer about one server


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """One server now. `owner`: the run with `owner_pid`, nobody (it lives until it is stopped), or not ours."""

    profile: str
    kind: str
    state: State
    reason: str = ""
    address: str = ""
    model: str = ""
    pid: int | None = None
    since: float | None = None  # seconds since the epoch
    owner: Literal["", "run", "nobody", "not ours"] = ""
    owner_pid: int | None = None
    log: str = ""


def statuses(
    profiles: Sequence[Profile], records: Sequence[Record], within_s: float = WITHIN_S, prompted: bool | None = None
) -> list[Status]:
    """One for each record of a profile, else one for the profile itself; then records that no profile belongs to.

    `prompted`: whether a server may be sent a prompt to prove that it answers. None: unless something measures here.
    """
    pairs: list[tuple[Profile, Record | None]] = []
    for profile in profiles:
        mine = [known for known in records if known.name == profile.name]
        pairs += [(profile, known) for known in mine] or [(profile, None)]
    names = {profile.name for profile in profiles}
    others = [known for known in records if known.name not in names and known.kind in KINDS]
    pairs += [(Profile(kind=known.kind, name=known.name), known) for known in others]
    if prompted is None:
        prompted = not measuring()  # a prompt would cost the calls of a run time
    looks = [aside(partial(_look, profile, known, prompted)) for profile, known in pairs]
    until = time.monotonic() + within_s
    found = []
    for (profile, known), look in zip(pairs, looks, strict=True):
        try:
            found.append(look.result(max(0.0, until - time.monotonic())))
        except TimeoutError:
            health = Health(State.LOADING, f"it did not answer within {within_s:g} s")
            found.append(_status(profile, known, health))
    return found


def _since(pid: int) -> float | None:
    import psutil

    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def _status(profile: Profile, known: Record | None, health: Health, model: str = "") -> Status:
    told = Status(profile=profile.name, kind=profile.kind, state=health.state, reason=health.reason)
    if known is None:
        there = bool(profile.address) and health.state not in (State.STOPPED, State.NOT_INSTALLED)
        owner: Literal["", "not ours"] = "not ours" if there else ""
        return msgspec.structs.replace(told, address=profile.address, model=model, owner=owner)
    return msgspec.structs.replace(
        told,
        address=known.url,
        model=known.model,
        pid=known.pid,
        since=_since(known.pid),
        owner="run" if known.owner else "nobody",
        owner_pid=known.owner or None,
        log=known.log,
    )


def _look(profile: Profile, known: Record | None, prompted: bool) -> Status:
    if known is None:
        health, model = _of_address(profile, prompted)
        return _status(profile, None, health, model)
    asked = profile
    if server(profile).form == "any" and known.model:
        asked = msgspec.structs.replace(profile, model=known.model)
    found = server(asked)
    found.url = known.url
    if not known.owner and not known.ready:  # whoever starts it asks it, and takes the times
        return _status(profile, known, Health(State.LOADING))
    if not listens(known.url):
        return _status(profile, known, Health(State.LOADING, "it does not listen"))
    health = _health(found, prompted and not known.owner)
    changed = profile.file and not known.owner and known.profile != server(profile).digest()
    if changed and not health.reason:
        health = Health(health.state, "started with a model or settings that are not the profile's now")
    return _status(profile, known, health)


def _of_address(profile: Profile, prompted: bool) -> tuple[Health, str]:
    """Of a server that we did not start, and the model that it offers."""
    found = server(profile)
    if not found.url or not listens(found.url):
        if not profile.start:
            return Health(State.STOPPED, f"nothing answers at {found.url}"), ""
        return found.health_check(), profile.model
    try:
        if profile.kind != "openai" and not found.is_this(found.url):
            return Health(State.ERROR, f"{held_by(found.url)}, which is not {found.title}"), ""
        names = found.models()
    except ServerError as error:
        return Health(State.ERROR, str(error)), ""
    model = offered(names, 1)
    if found.form == "any" and not profile.model and len(names) != 1:
        return (Health(State.READY, "name one of its models") if names else Health(State.NOT_LOADED)), model
    return _health(found, prompted), profile.model if profile.model in names else model


def _health(found: Server, prompted: bool) -> Health:
    try:
        if prompted or not found.health_lies:
            return found.health_check()
        health = found.probe()
        told = health.state is State.READY and measuring()
        said = "not asked for an answer while a run measures" if told else ""
        return Health(health.state, health.reason or said)
    except ServerError as error:
        return Health(State.LOADING, error.message)
    except InferTUIError as error:
        return Health(State.ERROR, str(error))


def offered(names: Sequence[str], most: int = 3) -> str:
    """The models that a server offers, in few words. One in a folder of this machine goes by the folder's name."""
    shown = [plain(Path(name).name if name.startswith("/") else name, 60) for name in names[:most]]
    more = len(names) - most
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
