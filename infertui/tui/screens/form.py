"""What a user sets of a scenario: a field for each of its parameters, checked as it is typed."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.events import DescendantFocus, Key
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Input, Static

from infertui.scenario.parameter import PARAMETERS, Parameter
from infertui.text import plain

LABEL, MORE = "label", "more"  # fields that every run has beside its scenario's parameters
NAMED = {LABEL: "Label", MORE: "More flags"}
HELP = {
    LABEL: "A name to find the run by.",
    MORE: "Whatever else `infertui run` takes, as it is typed there: --wait 0 --api completions",
}
EMPTY = "What is left empty takes its default."
LAST = "`last` means the newest run: use another name"
SWITCH = ("yes", "no")


# What is typed, and what it means.


def wrong(name: str, text: str) -> str:
    """What is wrong with the text of a field, and what it takes; empty if nothing is."""
    text = text.strip()
    if not text:
        return ""
    if name == LABEL:
        return LAST if text == "last" else "a label has a letter in it: runs are numbered" if text.isdecimal() else ""
    if name == MORE:
        try:
            shlex.split(text)
        except ValueError:
            return "a quotation has no end"
        return ""
    known = PARAMETERS[name]
    if known.kind != "number":
        return ""
    allowed = f"it takes {_bounds(known)}"
    if not text.removeprefix("-").isdecimal() or not text.isascii():
        return f"a whole number is expected: {allowed}"
    return "" if known.least <= int(text[:20]) <= known.most and len(text) <= 20 else allowed


def _bounds(known: Parameter) -> str:
    return f"{known.least:,} to {known.most:,}" if known.least >= 0 else "any whole number"


def arguments(values: Mapping[str, str]) -> list[str]:
    """The flags of `infertui run` that say the same. What is left empty, or is wrong, is left out."""
    told: list[str] = []
    for name, known in PARAMETERS.items():
        if not (text := values.get(name, "").strip()):
            continue
        if known.kind == "switch":
            told.append(known.flag if text == SWITCH[0] else f"--no-{known.flag[2:]}")
        else:
            for each in text.split() if known.kind == "choices" else [text]:
                told += [known.flag, each]
    if label := values.get(LABEL, "").strip():
        told += ["--label", label]
    more = values.get(MORE, "")
    return told if wrong(MORE, more) else told + shlex.split(more)


# The fields.


class Number(Input):
    """A whole number. What is no part of one is left to the keys of the page."""

    def __init__(self, known: Parameter) -> None:
        super().__init__(
            placeholder=known.default,
            restrict=r"-?[0-9]*" if known.least < 0 else "[0-9]*",
            compact=True,
            select_on_focus=False,
        )
        self._taken = "-0123456789" if known.least < 0 else "0123456789"

    def check_consume_key(self, key: str, character: str | None) -> bool:
        return bool(character) and str(character) in self._taken

    def on_key(self, event: Key) -> None:
        if event.is_printable and not self.check_consume_key(event.key, event.character):
            event.prevent_default()  # it goes on to the page


class Options(Widget, can_focus=True):
    """A few words to choose from: one of them, or several. None of them is the default."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "step(-1)", "Left", show=False),
        Binding("right,l", "step(1)", "Right", show=False),
        Binding("space,enter", "take", "Choose", show=False),
    ]

    at: reactive[int] = reactive(0)
    chosen: reactive[frozenset[str]] = reactive(frozenset())

    class Changed(Message):
        """Something was chosen, or no longer."""

    def __init__(self, words: Sequence[str], several: bool, default: str) -> None:
        super().__init__()
        self._words = tuple(words)
        self._several = several
        self._default = default

    @property
    def value(self) -> str:
        return " ".join(word for word in self._words if word in self.chosen)

    @value.setter
    def value(self, text: str) -> None:
        words = [word for word in text.split() if word in self._words]
        self.chosen = frozenset(words if self._several else words[:1])

    def render(self) -> Content:
        parts: list[tuple[str, str]] = []
        dense = sum(len(word) + 4 for word in self._words) - 2 > self.size.width
        for number, word in enumerate(self._words):
            taken = word in self.chosen
            meant = not self.chosen and self._default in (word, "all")
            style = "bold $primary" if taken else "" if meant else "$text-muted"
            if self.has_focus and number == self.at:
                style = f"{style} reverse".strip()
            sign = "●" if taken else "◌" if meant else "○"
            named = f"{sign}{word}" if dense else f"{sign} {word}"
            parts += [(named, f"{style} @click=pick({number})".strip()), (" " if dense else "  ", "")]
        return Content.assemble(*parts)

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    def action_step(self, by: int) -> None:
        self.at = (self.at + by) % len(self._words)

    def action_take(self) -> None:
        self.action_pick(self.at)

    def action_pick(self, number: int) -> None:
        self.at = number
        word = self._words[number]
        rest = self.chosen if self._several else frozenset[str]()
        self.chosen = self.chosen - {word} if word in self.chosen else rest | {word}
        self.post_message(self.Changed())


class Field(Horizontal):
    """A label and where its value goes."""

    def __init__(self, name: str, label: str) -> None:
        super().__init__(id=f"field-{name.replace('_', '-')}", classes="field")
        self.key = name
        self._label = label
        self.holder = self._made(PARAMETERS.get(name))

    @staticmethod
    def _made(known: Parameter | None) -> Input | Options:
        if known is None:
            return Input(compact=True, select_on_focus=False)
        if known.kind == "number":
            return Number(known)
        words = SWITCH if known.kind == "switch" else known.choices
        return Options(words, known.kind == "choices", known.default)

    def compose(self) -> ComposeResult:
        yield Static(Content(self._label), classes="field-label", markup=False)
        yield self.holder

    @property
    def text(self) -> str:
        return self.holder.value

    @text.setter
    def text(self, text: str) -> None:
        if self.holder.value != text:
            self.holder.value = text
            if isinstance(self.holder, Input):
                self.holder.cursor_position = len(text)

    @property
    def help(self) -> Content:
        if self.key in HELP:
            return Content(HELP[self.key])
        known = PARAMETERS[self.key]
        bounds = f"{_bounds(known)}; " if known.kind == "number" else ""
        return Content(f"{known.help} ").append(Content.styled(f"{bounds}default: {known.default}", "$text-muted"))

    @property
    def wrong(self) -> str:
        return wrong(self.key, self.text)


class Form(VerticalScroll, can_focus=False):
    """All fields; those that the scenario at hand does not have are hidden."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "app.focus_previous", "Field before", show=False),
        Binding("down", "app.focus_next", "Next field", show=False),
    ]

    @dataclass
    class Changed(Message):
        """The values of the fields that are shown and filled in."""

        values: dict[str, str]

    class Entered(Message):
        """A field has the focus."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._at: Field | None = None  # which had the focus last

    def compose(self) -> ComposeResult:
        for name, known in PARAMETERS.items():
            yield Field(name, known.label)
        for name, label in NAMED.items():
            yield Field(name, label)

    @property
    def fields(self) -> Iterator[Field]:
        return (field for field in self.query(Field) if field.display)

    @property
    def values(self) -> dict[str, str]:
        return {field.key: text for field in self.fields if (text := field.text.strip())}

    @property
    def problem(self) -> str:
        """What is wrong with the first field that is; empty if all can be used."""
        for field in self.fields:
            if said := field.wrong:
                return f"{NAMED.get(field.key) or PARAMETERS[field.key].label}: {said}"
        return ""

    @property
    def note(self) -> Content:
        """What is wrong, else what the field at hand means."""
        if problem := self.problem:
            return Content.styled(problem, "$text-error")
        return self._at.help if self._at is not None and self._at.display else Content(EMPTY)

    def show(self, parameters: Sequence[Parameter], values: Mapping[str, str]) -> None:
        """The fields of a scenario, with what was typed there last."""
        names = [known.name for known in parameters]
        for field in self.query(Field):
            field.display = field.key in names or field.key in NAMED
            with self.prevent(Input.Changed):
                field.text = plain(values.get(field.key, ""), 1000)
        self._tell()

    def _tell(self) -> None:
        for field in self.fields:
            field.holder.set_class(bool(field.wrong), "-wrong")
        self.post_message(self.Changed(self.values))

    @on(Input.Changed)
    @on(Options.Changed)
    def _typed(self, event: Message) -> None:
        event.stop()
        self._tell()

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        event.stop()
        self.screen.focus_next()

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        self._at = next((node for node in event.widget.ancestors_with_self if isinstance(node, Field)), None)
        self.post_message(self.Entered())
