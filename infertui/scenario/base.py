"""What a scenario is: a name, its parameters, and the blocks of calls that it makes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import msgspec

from infertui.errors import UsageError
from infertui.scenario.corpus import pick
from infertui.scenario.parameter import PARAMETERS, Parameter
from infertui.scenario.plan import Block, Call, Plan, Prompt, Role

WARMUP_TOKENS = 16


class Params(msgspec.Struct, frozen=True, kw_only=True):
    """What a user may set. None: the scenario's own default."""

    requests: int | None = None
    concurrency: int | None = None
    rounds: int = 1
    max_tokens: int | None = None
    kinds: tuple[str, ...] = ()
    warmup: int | None = None
    alone: bool | None = None
    cache: Literal["cold", "warm"] = "cold"
    seed: int = 0  # of the choice of prompts, not of the model's sampling

    def checked(self) -> Params:
        for name, known in PARAMETERS.items():
            value = getattr(self, name)
            if known.kind == "number" and value is not None and not known.least <= value <= known.most:
                raise UsageError(f"{known.flag} {value}: it takes {known.least} to {known.most:,}")
        return self


class Scenario(msgspec.Struct, frozen=True):
    """`prepare` makes the blocks that come once, before the first round; `round` the measured block of a round.

    `uses` names the parameters that this scenario has beyond those that all have.
    """

    name: str
    title: str
    does: str
    prepare: Callable[[Params], Iterator[Block]]
    round: Callable[[Params, int], Block]
    uses: tuple[str, ...] = ()

    def checked(self, params: Params) -> Params:
        """A parameter that would have no effect is an error: nobody should believe that it had one."""
        for name, known in PARAMETERS.items():
            if known.own and getattr(params, name) is not None and name not in self.uses:
                raise UsageError(f"{known.flag} has no effect on {self.name}", "--scenario concurrent has it")
        return params.checked()

    @property
    def parameters(self) -> list[Parameter]:
        """What a user may set of it, its own first."""
        own = [PARAMETERS[name] for name in self.uses]
        return own + [each for each in PARAMETERS.values() if not each.own]


def prompts(params: Params, count: int) -> list[Prompt]:
    return pick(count, seed=params.seed, kinds=params.kinds or None)


def calls_of(chosen: Sequence[Prompt], params: Params, prefix: str, max_tokens: int | None = None) -> tuple[Call, ...]:
    """A call a prompt, in order, each as soon as there is a place for it."""
    width = max(3, len(str(len(chosen))))
    return tuple(
        Call(
            name=f"{prefix}-{number:0{width}}",
            prompt=prompt,
            max_tokens=max_tokens or params.max_tokens or prompt.max_tokens,
        )
        for number, prompt in enumerate(chosen, 1)
    )


def block(role: Role, round: int, calls: tuple[Call, ...], concurrency: int) -> Block:
    return Block(role, round, Plan(calls, concurrency))


def warmup(params: Params, chosen: Sequence[Prompt], concurrency: int, count: int) -> Iterator[Block]:
    """Calls that load, compile and fill what a server does at its first request. Stored, never counted.

    For measurements of warm caches every prompt has to be known before it counts.
    """
    count = params.warmup if params.warmup is not None else len(chosen) if params.cache == "warm" else count
    if count:
        most = min(WARMUP_TOKENS, params.max_tokens or WARMUP_TOKENS)
        used = [chosen[index % len(chosen)] for index in range(count)]
        yield block("warmup", 0, calls_of(used, params, "warmup", most), concurrency)
