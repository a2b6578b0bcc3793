"""What a running benchmark says: frozen structs, one JSON line each.

A reader skips events and fields that it does not know; `v` changes when a field changes its meaning.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from infertui.condition import Conditions
from infertui.metric import CallRecord, Summary
from infertui.sample import Values

VERSION = 1


class _Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    v: int = VERSION


class RunStarted(_Event, frozen=True, kw_only=True, tag="run_started"):
    run: int
    experiment: int
    server: str
    model: str
    scenario: str
    rounds: int
    calls: int  # in all measured blocks together
    clock_ns: int  # perf_counter_ns and …
    unix_ns: int  # … the time of day at the same instant
    caveats: list[str] = []  # what has to be said wherever the run's figures are shown


class ServerChanged(_Event, frozen=True, kw_only=True, tag="server_changed"):
    """The server of a run is starting, loading, ready, or has ended; `message` is why, in a line."""

    run: int
    state: str
    message: str
    elapsed_s: float  # since its start


class BlockStarted(_Event, frozen=True, kw_only=True, tag="block_started"):
    run: int
    role: str
    round: int
    calls: int
    concurrency: int | None


class UnderWay(msgspec.Struct, frozen=True, kw_only=True):
    """A call that has been sent and has not ended, as far as it has come."""

    name: str
    lane: int
    sched_ns: int
    send_ns: int
    first_ns: int | None = None
    pieces: int = 0  # of text, so far


class Ticked(_Event, frozen=True, kw_only=True, tag="ticked"):
    """The block at hand, at most five times a second. A slow reader misses some, never the ends of calls."""

    run: int
    role: str
    round: int
    total: int
    sent: int
    ended: int
    active: int
    failed: int
    tokens: int
    tokens_per_s: float
    elapsed_s: float
    left_s: float | None  # of all servers and rounds
    ttft_ms: float | None  # median so far
    e2e_ms: float | None
    left_least: bool = False  # `left_s` at least: some servers have shown nothing yet of how long they take
    at_ns: int = 0
    lag_ms: float | None = None  # of our own client, the worst in this block so far: loop and sending
    under_way: list[UnderWay] = []  # the longest first, and no more than a screen can show


class Sampled(_Event, frozen=True, kw_only=True, tag="sampled"):
    """What came of the sampler since the last one, at most five times a second. A slow reader misses some."""

    run: int
    at_ns: int
    values: Values


class Waited(_Event, frozen=True, kw_only=True, tag="waited"):
    """The next block waits, `left_s` at most: for the machine to calm down, or to know its idle power."""

    run: int
    until: Literal["calm", "idle_power"]
    cause: str  # the key of the doubt that is waited for
    reason: str
    left_s: float


class Observed(_Event, frozen=True, kw_only=True, tag="observed"):
    """The conditions before or after a block."""

    run: int
    role: str
    round: int
    when: Literal["before", "after"]
    conditions: Conditions


class CallEnded(_Event, frozen=True, kw_only=True, tag="call_ended"):
    """Said when the call is in the database (`stored`), or when it could not be put there."""

    run: int
    call: CallRecord
    stored: bool = True


class BlockEnded(_Event, frozen=True, kw_only=True, tag="block_ended"):
    run: int
    role: str
    round: int
    elapsed_s: float


class Warned(_Event, frozen=True, kw_only=True, tag="warned"):
    run: int | None
    message: str


class RunEnded(_Event, frozen=True, kw_only=True, tag="run_ended"):
    run: int
    status: str
    summary: Summary


Event = (
    RunStarted
    | ServerChanged
    | BlockStarted
    | Ticked
    | Sampled
    | Waited
    | Observed
    | CallEnded
    | BlockEnded
    | Warned
    | RunEnded
)

_decoder = msgspec.json.Decoder(Event)


def line(event: Event) -> bytes:
    return msgspec.json.encode(event) + b"\n"


def parse(data: bytes) -> Event | None:
    """The event of a line, or None for one that this version does not know."""
    try:
        event: Event = _decoder.decode(data)
    except msgspec.ValidationError:
        return None
    return event
