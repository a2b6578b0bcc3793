"""The keys of the app by the names of what they do, and what the user's settings make of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, NamedTuple

from textual.binding import Binding
from textual.keys import KEY_NAME_REPLACEMENTS, Keys
from textual.screen import ModalScreen

from infertui.config import near
from infertui.text import plain
from infertui.tui.page import Page

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
# Where what lies on a page has its page, if that is not beside it.
PAGE_OF = {
    "screens.run_section": "screens.run",
    "screens.call_section": "screens.run",
    "screens.compare_section": "screens.compare",
}
EVERYWHERE = "app"


class Key(NamedTuple):
    id: str
    keys: str
    does: str


def all_of(wanted: Mapping[str, str] | None = None) -> list[Key]:
    """Every key that has a name, in the order of the screens. `wanted`: those that have other keys than ours."""
    found: dict[str, Key] = {}
    for module, name in _places():
        for binding in _named(_class(module, name)):
            assert binding.id is not None
            keys = (wanted or {}).get(binding.id, binding.key)
            found.setdefault(binding.id, Key(binding.id, keys, binding.tooltip or binding.description))
    return list(found.values())


def _places() -> Iterator[tuple[str, str]]:
    return ((module, name) for module, names in PLACES.items() for name in names)


def _class(module: str, name: str) -> Any:
    return getattr(import_module(f"infertui.tui.{module}"), name)


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
            usable[name] = ",".join(key.strip() for key in keys.split(","))
    while (twice := _twice(usable)) is not None:
        refused, key, other = twice
        del usable[refused]
        errors.append(f"app.keys.{refused}: {key} is {other}'s key as well: give that another")
    return usable, errors


def _is_key(text: str) -> bool:
    *modifiers, key = text.split("+") if text != "+" else ["+"]
    if any(each not in ("ctrl", "shift", "alt", "super", "meta", "hyper") for each in modifiers):
        return False
    return len(key) == 1 or key in {each.value for each in Keys} or key in KEY_NAME_REPLACEMENTS.values()


# One key for two things: the one that is asked second would never hear of it.


def _twice(wanted: Mapping[str, str]) -> tuple[str, str, str] | None:
    """Of the user's keys one that another thing has at the same time: its name, the key, and that of the other."""
    newest_first = list(wanted)[::-1]
    for together in _together():
        for name in (each for each in newest_first if each in together):
            mine = {_same(key): key for key in wanted[name].split(",")}
            for other in together:
                keys = wanted.get(other, together[other])
                if other != name and (
                    shared := [mine[same] for key in keys.split(",") if (same := _same(key)) in mine]
                ):
                    return name, shared[0], other
    return None


def _together() -> Iterator[dict[str, str]]:
    """Names that are heard at the same time, with the keys that they have from us: a dialog's own, or those of a page,
    of what lies on it, and of the app."""
    for module, name in _places():
        place = _class(module, name)
        found = list(_named(place))
        if not issubclass(place, ModalScreen):
            found += [*_of_pages(module), *_named(_class(EVERYWHERE, *PLACES[EVERYWHERE]))]
        yield {str(binding.id): binding.key for binding in found}


def _of_pages(module: str) -> Iterator[Binding]:
    """Those of the page beside which, or on which, something lies; and of what that page is made from."""
    around = PAGE_OF.get(module, module)
    for name in PLACES[around]:
        place = _class(around, name)
        if issubclass(place, Page):
            for each in place.__mro__:
                if issubclass(each, Page):
                    yield from _named(each)


def _same(key: str) -> str:
    """A key under one of its names: S is shift+s, and ? is question_mark."""
    key = key.strip()
    *modifiers, last = key.split("+") if key != "+" else ["+"]
    if modifiers == ["shift"] and len(last) == 1:
        return last.upper()
    (named,) = Binding.make_bindings([Binding(last, "", "")])
    return "+".join((*sorted(modifiers), named.key))
