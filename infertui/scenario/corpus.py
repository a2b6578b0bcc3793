"""The frozen corpus: what agents send, as prompts of three kinds, and a seeded choice among them."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from functools import cache
from importlib.resources import files
from itertools import zip_longest

import msgspec

from infertui.errors import UsageError
from infertui.scenario.plan import Prompt

KINDS = ("router", "reasoning", "coding")


def load(kinds: Collection[str] | None = None) -> tuple[Prompt, ...]:
    """The prompts of these kinds, or of all of them, in the order of the file."""
    wanted = _known(kinds)
    return tuple(prompt for prompt in _all() if prompt.kind in wanted)


def pick(count: int, seed: int = 0, kinds: Collection[str] | None = None) -> list[Prompt]:
    """`count` prompts that follow from the seed, the kinds taking turns so that any beginning of the list is balanced.

    No prompt comes twice until the corpus is used up; then the list starts over.
    """
    queues = [_shuffled(kind, seed) for kind in _known(kinds)]
    turns = [prompt for turn in zip_longest(*queues) for prompt in turn if prompt is not None]
    return [turns[number % len(turns)] for number in range(count)]


def _known(kinds: Collection[str] | None) -> list[str]:
    """The kinds without repetition and in their usual order. None and nothing at all both mean every kind."""
    for kind in kinds or ():
        if kind not in KINDS:
            from difflib import get_close_matches

            near = get_close_matches(kind, KINDS, n=1)
            meant = f"did you mean {near[0]}? " if near else ""
            raise UsageError(f"there is no kind {kind!r} of prompts", f"{meant}Known: {', '.join(KINDS)}")
    return [kind for kind in KINDS if not kinds or kind in kinds]


def _shuffled(kind: str, seed: int) -> list[Prompt]:
    """Sorted by a hash, since the methods of `random` may choose otherwise in another Python."""

    def place(prompt: Prompt) -> bytes:
        return hashlib.blake2b(f"{seed}/{prompt.id}".encode(), digest_size=8).digest()

    return sorted((prompt for prompt in _all() if prompt.kind == kind), key=place)


@cache
def _all() -> tuple[Prompt, ...]:
    data = files("infertui").joinpath("scenario", "prompts.jsonl").read_bytes()
    return tuple(msgspec.json.Decoder(Prompt).decode_lines(data))
