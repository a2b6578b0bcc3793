"""What can be said of a server: its state, the program that starts it, what it can do, and where it serves."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Literal

import msgspec

from infertui.errors import ServerError
from infertui.metric import Start


class State(StrEnum):
    NOT_INSTALLED = "not installed"
    STOPPED = "stopped"
    NOT_LOADED = "not loaded"  # up, without a model
    LOADING = "loading"
    READY = "ready"
    ERROR = "error"


class Health(msgspec.Struct, frozen=True):
    state: State
    reason: str = ""


class NotInstalled(ServerError):
    """There is no program that could be started. The hint is the command that changes that."""


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """What starts a server: the beginning of its command, and where that comes from."""

    command: tuple[str, ...]
    version: str
    source: str


class Can(msgspec.Struct, frozen=True, kw_only=True):
    """What a server can do that others cannot."""

    parallel: bool = True  # serves several calls together
    load: bool = False  # takes and drops models while it runs
    stream_usage: bool = True  # counts tokens in streams
    exact_length: bool = False  # can be kept from stopping early
    metrics: bool = False
    native: Literal["", "llama.cpp", "ollama"] = ""


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where calls go and how they are addressed. `shown` is the model's name for people."""

    url: str
    model: str
    shown: str
    api: Literal["chat", "completions", "llama.cpp", "ollama"]


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """A server that serves: attached to, or started, and what that took."""

    url: str
    attached: bool = False
    pid: int = 0
    log: str = ""
    start: Start = Start()


Changed = Callable[[State, str], None]
