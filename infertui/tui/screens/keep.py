"""What a user says of runs, asked for and written: tags, a note, a label; and runs deleted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from infertui.errors import InferTUIError, UsageError
from infertui.store import tag_of
from infertui.text import plain
from infertui.tui.page import Confirm
from infertui.tui.widgets import Ask

if TYPE_CHECKING:
    from infertui.store import Store
    from infertui.tui.app import InferTUI

SHOWN = 5  # runs that are named one by one
UNSEEN = ("is marked and not shown: it stays", "are marked and not shown: they stay")


def tag(host: InferTUI, runs: Sequence[int], now: Sequence[str], then: Callable[[], object]) -> None:
    """Tags for all of these runs; `now`: those that are there already."""

    def answered(text: str | None) -> None:
        if text and (wanted := _tags(text)):
            host.run_worker(_written(host, lambda store: _set_tags(store, runs, wanted), then))

    there = ", ".join(plain(each, 60) for each in now)
    hint = f"there now: {there} · -{plain(now[0], 30)} removes" if now else "nightly, before-update · -name removes"
    host.push_screen(Ask(f"Tags of {_named(runs)}", hint=hint, check=_wrong_tags), answered)


def _tags(text: str) -> list[tuple[str, bool]]:
    """Each with whether it is to stay."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    return [(tag_of(part.removeprefix("-")), not part.startswith("-")) for part in parts]


def _wrong_tags(text: str) -> str:
    try:
        _tags(text)
    except UsageError as error:
        return str(error)
    return ""


def _set_tags(store: Store, runs: Sequence[int], wanted: Sequence[tuple[str, bool]]) -> None:
    for run in runs:
        for name, stays in wanted:
            if stays:
                store.add_tag(run, name)
            else:
                store.remove_tag(run, name)


def note(host: InferTUI, run: int, now: str, then: Callable[[], object]) -> None:
    def answered(text: str | None) -> None:
        if text is not None:
            host.run_worker(_written(host, lambda store: store.set_note(run, text), then))

    host.push_screen(Ask(f"Note on run {run}", now, hint="an empty one clears it"), answered)


def label(host: InferTUI, run: int, now: str, then: Callable[[], object]) -> None:
    def answered(text: str | None) -> None:
        if text is not None:
            host.run_worker(_written(host, lambda store: store.set_label(run, text), then))

    host.push_screen(Ask(f"Label of run {run}", now, hint="a name to find it by; an empty one clears it"), answered)


def delete(host: InferTUI, runs: Sequence[tuple[int, str]], then: Callable[[], object], staying: int = 0) -> None:
    """`runs`: the number of each, and what it was. `staying`: how many more are marked where nobody sees them."""

    async def ask() -> None:
        numbers = [number for number, _ in runs]
        try:
            calls = await host.read(lambda store: store.call_count(numbers))
        except InferTUIError as error:
            host.fail("Not deleted", error)
            return
        if calls is not None:
            named = [f"run {number}: {plain(what, 120)}" for number, what in runs[:SHOWN]]
            named += [f"… and {len(runs) - SHOWN} more"] if len(runs) > SHOWN else []
            if staying:
                named += ["", f"{staying:,} more {UNSEEN[staying > 1]}"]
            all_calls = f"{calls:,} call{'s' if calls != 1 else ''}"
            detail = "\n".join((*named, "", f"With {all_calls} and all that was sampled.\nThis cannot be undone."))
            host.push_screen(Confirm(f"Delete {_named(numbers)}?", detail, "Delete", "Keep"), answered)

    def answered(yes: bool | None) -> None:
        if yes:
            host.run_worker(_written(host, lambda store: store.delete_runs([number for number, _ in runs]), then))

    host.run_worker(ask())


def _named(runs: Sequence[int]) -> str:
    return f"run {runs[0]}" if len(runs) == 1 else f"{len(runs)} runs"


async def _written(host: InferTUI, write: Callable[[Store], None], then: Callable[[], object]) -> None:
    try:
        await host.read(write, write=True)
    except InferTUIError as error:
        host.fail("Not written", error)
        return
    then()
