"""What is sent, as data: prompts, calls, and a plan, which is a DAG of calls with earliest times."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

import msgspec

from infertui.errors import UsageError

Role = Literal["warmup", "alone", "measured"]


class Message(msgspec.Struct, frozen=True):
    role: str
    content: str


class Prompt(msgspec.Struct, frozen=True):
    """One thing to ask. `kind` is its class in the corpus: router, reasoning or coding."""

    id: str
    kind: str
    max_tokens: int
    messages: tuple[Message, ...]

    @property
    def hash(self) -> str:
        return digest(msgspec.json.encode(self.messages))


class Call(msgspec.Struct, frozen=True):
    """One request of a plan.

    `at_ms` is when the plan wants it, counted from the start of the block; None means as soon as its predecessors have
    ended and a place is free. `think_ms` is the pause after the last predecessor. `lane` is the agent or user that it
    belongs to; None: whichever place it gets. `salt` names what the nonce at the start of the prompt is derived from
    (empty: the call itself), so that calls which may share their prefix share a salt.
    """

    name: str
    prompt: Prompt
    max_tokens: int
    lane: int | None = None
    after: tuple[int, ...] = ()
    at_ms: float | None = None
    think_ms: float = 0.0
    salt: str = ""


class Plan(msgspec.Struct, frozen=True):
    """Calls and how many of them may be under way at once (None: as many as are due)."""

    calls: tuple[Call, ...]
    concurrency: int | None = None

    def checked(self) -> Plan:
        """The plan itself, or a UsageError that names the call with the impossible dependency."""
        order_of(self.calls)
        return self

    @property
    def hash(self) -> str:
        """The same for the same work. Names and nonces are no part of it: these are new in each experiment."""
        calls = [(c.prompt.hash, c.max_tokens, c.lane, c.after, c.at_ms, c.think_ms, bool(c.salt)) for c in self.calls]
        return digest(msgspec.json.encode((self.concurrency, calls)))


class Block(msgspec.Struct, frozen=True):
    """A plan with its part in the run: only `measured` blocks count, `alone` ones are what they are compared with."""

    role: Role
    round: int
    plan: Plan


def nonce(experiment: str, salt: str) -> str:
    """Ten single digits: as many tokens every time in whatever way a tokenizer treats a digit."""
    number = int.from_bytes(hashlib.blake2b(f"{experiment}/{salt}".encode(), digest_size=8).digest())
    return " ".join(f"{number % 10**10:010}")


def begun(messages: tuple[Message, ...], words: str) -> tuple[Message, ...]:
    """Messages whose first begins with these words, if there are any, so that no cache knows its beginning."""
    if not words:
        return messages
    first = messages[0]
    return (Message(first.role, f"{words}\n{first.content}"), *messages[1:])


def followers_of(calls: Sequence[Call]) -> list[list[int]]:
    """For each call those that wait for it."""
    followers: list[list[int]] = [[] for _ in calls]
    for index, call in enumerate(calls):
        for before in call.after:
            if not 0 <= before < len(calls):
                raise UsageError(f"call {call.name!r} comes after number {before}, which the plan does not have")
            followers[before].append(index)
    return followers


def order_of(calls: Sequence[Call]) -> list[int]:
    """The calls in an order in which each comes after its predecessors."""
    followers = followers_of(calls)
    missing = [len(call.after) for call in calls]
    ready = [index for index, count in enumerate(missing) if count == 0]
    order: list[int] = []
    while ready:
        index = ready.pop(0)
        order.append(index)
        for follower in followers[index]:
            missing[follower] -= 1
            if missing[follower] == 0:
                ready.append(follower)
    if len(order) < len(calls):
        stuck = ", ".join(repr(calls[index].name) for index, count in enumerate(missing) if count > 0)
        raise UsageError(f"these calls wait for each other in a circle: {stuck}")
    return order


def digest(data: bytes) -> str:
    """A short content hash: what repeats (plans, prompts, replies, machines) is known and stored by it."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()
