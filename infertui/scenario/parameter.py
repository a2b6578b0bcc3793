"""What a user may set of a scenario, told once: flags of the command, fields of the app and bounds follow from it.

No more than tuples, since each start of the command line reads them.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

MOST = 1 << 53


class Parameter(NamedTuple):
    """`default` is in words: it may depend on the scenario. `own`: only scenarios that name it have it."""

    name: str
    label: str
    help: str
    kind: Literal["number", "choice", "choices", "switch"] = "number"
    short: str = ""
    metavar: str = "N"
    least: int = 1
    most: int = MOST
    choices: tuple[str, ...] = ()
    default: str = ""
    own: bool = False

    @property
    def flag(self) -> str:
        return f"--{self.name.removesuffix('s') if self.kind == 'choices' else self.name}".replace("_", "-")


PARAMETERS: dict[str, Parameter] = {
    each.name: each
    for each in (
        Parameter("concurrency", "At once", "Calls at once.", short="-c", most=10_000, default="4", own=True),
        Parameter(
            "requests",
            "Calls a round",
            "Calls a round.",
            short="-n",
            most=1_000_000,
            default="12 in single, one a place in concurrent",
        ),
        Parameter("rounds", "Rounds", "How often the same calls are sent.", most=10_000, default="1"),
        Parameter(
            "max_tokens",
            "Tokens at most",
            "Length of each answer.",
            most=10_000_000,
            default="the profile's, else each prompt's own",
        ),
        Parameter(
            "kinds",
            "Prompts",
            "Prompts of this kind.",
            "choices",
            choices=("router", "reasoning", "coding"),
            metavar="K",
            default="all",
        ),
        Parameter(
            "warmup",
            "Warm-up calls",
            "Warm-up calls, kept and never counted.",
            least=0,
            most=10_000,
            default="one a place",
        ),
        Parameter(
            "alone",
            "Alone first",
            "Send each prompt alone first, for the speed-up.",
            "switch",
            default="yes",
            own=True,
        ),
        Parameter(
            "cache",
            "Prefix cache",
            "Whether prompts may be found in prefix caches.",
            "choice",
            choices=("cold", "warm"),
            default="cold",
        ),
        Parameter("seed", "Seed", "Chooses the prompts.", least=-MOST, default="0"),
    )
}
