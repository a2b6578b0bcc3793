"""N calls at once, and N kept busy while there are more: whether a server serves them together or in turn.

There is a prompt for each of the N places, and each of them is first sent alone, so that the speed-up compares the same
calls alone and together.
"""

from __future__ import annotations

from collections.abc import Iterator

from infertui.scenario.base import Params, Scenario, block, calls_of, prompts, warmup
from infertui.scenario.plan import Block, Prompt

CONCURRENCY = 4


def _prompts(params: Params) -> list[Prompt]:
    return prompts(params, min(_places(params), params.requests or _places(params)))


def _places(params: Params) -> int:
    return params.concurrency or CONCURRENCY


def prepare(params: Params) -> Iterator[Block]:
    chosen, places = _prompts(params), _places(params)
    yield from warmup(params, chosen, places, places)
    if params.alone is not False:
        yield block("alone", 0, calls_of(chosen, params, "alone"), 1)


def round(params: Params, number: int) -> Block:
    chosen, places = _prompts(params), _places(params)
    asked = [chosen[index % len(chosen)] for index in range(params.requests or places)]
    return block("measured", number, calls_of(asked, params, f"r{number}"), places)


SCENARIO = Scenario(
    "concurrent",
    "Several at once",
    f"sends {CONCURRENCY} prompts alone, then at once, and keeps that many busy while there are more",
    prepare,
    round,
    ("concurrency", "alone"),
)
