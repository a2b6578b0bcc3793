"""The keys of the app by the names of what they do, and what the user's settings make of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, NamedTuple

from textual.binding import Binding
from textual.keys import KEY_NAME_REPLACEMENTS, Keys

from infertui.config import near
from infertui.text import plain

# Where bindings are declared: module, classes.
PLACES = {
    "app": ("InferTUI",),
    "page": ("Confirm",),
    "widgets": ("Reader", "Ask"),
    "screens.launch": ("LaunchScreen",),
    "screens.attach": ("Pick",),
    "screens.live": ("LiveScreen",),
    "screens.section": ("SectionedPage",),
    "screens.results": ("ResultsScreen", "Runs"),
    "screens.run": ("RunScreen",),
    "screens.run_section": ("FiguresSection", "TimelineSection"),
    "screens.call_section": ("CallsSection",),
    "screens.compare": ("CompareScreen",),
    "screens.compare_section": ("FiguresSection",),
    "screens.export": ("ExportDialog",),
}


class Key(NamedTuple):
    id: str
    keys: str
    does: str


def all_of() -> list[Key]:
    """Every key that has a name, in the order of the screens."""
    found: dict[str, Key] = {}
    for module, classes in PLACES.items():
        loaded = import_module(f"infertui.tui.{module}")
        for name in classes:
            for binding in _named(getattr(loaded, name)):
                assert binding.id is not None
                found.setdefault(binding.id, Key(binding.id, binding.key, binding.tooltip or binding.description))
    return list(found.values())


def _named(screen: Any) -> Iterator[Binding]:
    for binding in screen.BINDINGS:
        if isinstance(binding, Binding) and binding.id:
            yield binding


def checked(wanted: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """What of the user's keys can be used, and what is wrong with the rest."""
    if not wanted:
        return {}, []
    known = {key.id for key in all_of()}
    usable: dict[str, str] = {}
    errors: list[str] = []
    for name, keys in wanted.items():
        if name not in known:
            hint = near(name, sorted(known)) or "`infertui keys` lists them"
            errors.append(f"app.keys: nothing is called {plain(name, 40)!r} ({hint})")
        elif bad := [key for key in keys.split(",") if not _is_key(key.strip())]:
            errors.append(
                f"app.keys.{name}: no key is called {plain(bad[0], 30)!r} (write f5, ctrl+r, space or a letter)"
            )
        else:
            usable[name] = keys
    return usable, errors


def _is_key(text: str) -> bool:
    *modifiers, key = text.split("+") if text != "+" else ["+"]
    if any(each not in ("ctrl", "shift", "alt", "super", "meta", "hyper") for each in modifiers):
        return False
    return len(key) == 1 or key in {each.value for each in Keys} or key in KEY_NAME_REPLACEMENTS.values()
