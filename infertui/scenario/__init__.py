"""What is sent. A new scenario is one file with a SCENARIO in it, and its name in this list."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from infertui.errors import UsageError

if TYPE_CHECKING:
    from infertui.scenario.base import Scenario

NAMES = ("single", "concurrent")


def scenario(name: str) -> Scenario:
    """The scenario of that name, loaded when it is asked for."""
    if name not in NAMES:
        from difflib import get_close_matches

        near = get_close_matches(name, NAMES, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(NAMES)}"
        raise UsageError(f"no scenario {name!r}", hint)
    found: Scenario = import_module(f"infertui.scenario.{name}").SCENARIO
    return found
