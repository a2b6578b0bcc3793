"""One call after the other: what a user alone with the server gets."""

from __future__ import annotations

from collections.abc import Iterator

from infertui.scenario.base import Params, Scenario, block, calls_of, prompts, warmup
from infertui.scenario.plan import Block

REQUESTS = 12


def prepare(params: Params) -> Iterator[Block]:
    return warmup(params, prompts(params, params.requests or REQUESTS), 1, 1)


def round(params: Params, number: int) -> Block:
    chosen = prompts(params, params.requests or REQUESTS)
    return block("measured", number, calls_of(chosen, params, f"r{number}"), 1)


SCENARIO = Scenario(
    "single",
    "One at a time",
    f"sends {REQUESTS} router, reasoning and coding prompts one after the other",
    prepare,
    round,
)
