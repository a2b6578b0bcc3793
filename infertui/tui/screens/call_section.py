"""The calls of a run: a list of them, each in full with its prompt and its reply, and as a shell command."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import DataTable, Input, Static

from infertui import reply
from infertui.metric import CallRecord
from infertui.report.data import Whole
from infertui.report.figure import UNKNOWN, number
from infertui.text import plain
from infertui.tui.screens.account import call_text
from infertui.tui.screens.run_section import RunSection
from infertui.tui.screens.section import SIDEWAYS, Filter, LongTable
from infertui.tui.widgets import Column, Notice, Reader

FLAG_STYLES = {"empty": "bold red", "looping": "bold red", "garbled": "bold red"}
WIDE = 108


class Calls(LongTable):
    HELP = """\
### Calls

Every call of the run, in the order in which they ended; those that are not measured (warm-up, alone) are dim.
**Enter** shows what was asked and answered with all figures, `u` copies the call as a `curl` command.
`/` finds calls: `failed` and `flagged` are words too.

A reply is **flagged** when it is no answer: empty, looping or garbled. Its speed then says little.
"""
    BINDINGS: ClassVar[list[BindingType]] = SIDEWAYS


class CallsSection(RunSection):
    TITLE = "Calls"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter", key_display="/", id="calls.filter", tooltip="Find calls by words"),
        Binding("u", "curl", "As curl", id="calls.curl", tooltip="Copy the call as a curl command"),
        Binding("escape", "clear", show=False),
    ]

    def content(self) -> ComposeResult:
        with Horizontal(classes="calls-head"):
            yield Static(classes="calls-count", markup=False)
            yield Filter(id="calls-filter")
        yield Calls()
        yield Notice(id="calls-none")

    def show(self, found: Any) -> str:
        if not self.opened.whole.calls:
            return "No call has ended yet" if self.opened.row.status == "running" else "No call was made"
        self._fill()
        return ""

    @on(Calls.Widened)
    @on(Input.Changed, "#calls-filter")
    def _fill(self) -> None:
        run = self.opened.whole
        words = self.query_one(Filter).words
        shown = {
            str(place): call
            for place, call in enumerate(run.calls)
            if not words or all(word in _words(call, run) for word in words)
        }
        table = self.query_one(Calls)
        shape = _columns(list(shown.values()), table.room)
        table.list_rows(shape, list(shown), lambda key: _cells(shown[key], run, shape))
        table.display = bool(shown)
        self.query_one("#calls-none", Notice).say("" if shown else "No call has all of these words: esc clears them")
        failed = sum(not call.good for call in run.calls)
        flagged = sum(reply.worst(found) is not None for found in run.flags.values())
        said = f"{len(shown):,} of {len(run.calls):,} calls" if words else f"{len(run.calls):,} calls"
        drawn = Text(said, "dim").append(f" · {failed} failed" if failed else "", "red")
        self.query_one(".calls-count", Static).update(drawn.append(f" · {flagged} flagged" if flagged else "", "red"))

    @property
    def _here(self) -> CallRecord | None:
        key = self.query_one(Calls).chosen
        return None if key is None else self.opened.whole.calls[int(key)]

    def action_filter(self) -> None:
        self.query_one(Filter).open()

    @on(Filter.Left)
    def _back(self) -> None:
        self.query_one(Calls).focus()

    async def action_clear(self) -> None:
        if not self.query_one(Filter).clear_words():
            await self.host.action_back()

    @on(DataTable.RowSelected)
    def _read(self, event: DataTable.RowSelected) -> None:
        event.stop()
        if (call := self._here) is not None:
            title = f"{call.name} of run {self.opened.number}"
            self.host.push_screen(Reader(title, partial(self._call, call)))

    def _call(self, call: CallRecord) -> Text:
        """In a thread of the reader's."""
        from infertui.store import Store

        with Store(self.host.database, write=False) as store:
            messages, said = store.prompt(call.prompt_hash), store.reply(call.reply_hash)
        found = reply.flags(*said, call.finish, call.n_output) if call.good else ()
        return call_text(self.opened.number, call, messages, said, found)

    async def action_curl(self) -> None:
        from infertui.errors import InferTUIError
        from infertui.report.curl import of_call

        if (call := self._here) is None:
            return
        try:
            found = await self.host.read(lambda store: of_call(store, str(self.opened.number), call.name))
        except InferTUIError as error:
            self.host.fail("Not copied", error)
            return
        if found is not None:
            self.host.copy(found.command, f"{call.name} as curl")
            if found.note:
                self.host.tell("Note", found.note, timeout=8)


def _words(call: CallRecord, run: Whole) -> str:
    flags = " ".join(flag.kind for flag in run.flags.get(call.name, ()))
    told = "ok" if call.good else f"failed {call.outcome} {call.message}"
    flagged = "flagged" if reply.worst(run.flags.get(call.name, ())) else ""
    return f"{call.name} {call.role} {call.kind} {call.prompt_id} {call.finish} {told} {flags} {flagged}".casefold()


def _outcome(call: CallRecord) -> str:
    return plain(call.finish or "ok", 60) if call.good else plain(f"{call.outcome}: {call.message}", 200)


def _columns(calls: Sequence[CallRecord], width: int) -> list[Column]:
    """Where it is narrow, what tells least is left out; figures stay."""
    wide = width >= WIDE
    sizes = {"call": min(16, max([6, *(len(call.name) for call in calls)]))}
    sizes |= {**({"role": 8, "round": 5} if wide else {}), "prompt": 0, "ttft ms": 7, "e2e ms": 7, "tok": 5, "tok/s": 6}
    sizes |= {**({"queue ms": 8} if wide else {}), "outcome": 0, "flag": 7}
    room = width - sum(size + 2 for size in sizes.values())
    outcome = max([len("outcome"), *(len(_outcome(call)) for call in calls)])
    prompt = max([len("prompt"), *(len(plain(call.prompt_id, 60)) for call in calls)])
    sizes["prompt"] = min(prompt, max(6, room // 2, room - outcome))
    sizes["outcome"] = max(6, room - sizes["prompt"])
    words = ("call", "role", "prompt", "outcome", "flag")
    return [Column(name, name, size, right=name not in words) for name, size in sizes.items()]


def _cells(call: CallRecord, run: Whole, shape: Sequence[Column]) -> list[Text]:
    dim = "" if call.role == "measured" else "dim"
    flags = run.flags.get(call.name, ())
    worst = reply.worst(flags)
    told = {
        "call": Text(plain(call.name, 40), dim),
        "role": Text(call.role, dim),
        "round": Text(str(call.round), dim),
        "prompt": Text(plain(call.prompt_id, 60), dim),
        "ttft ms": Text(number(call.ttft_ms), dim),
        "e2e ms": Text(number(call.e2e_ms), dim),
        "tok": Text(UNKNOWN if call.n_output is None else f"{call.n_output:,}", dim),
        "tok/s": Text(number(call.effective_tps), dim),
        "queue ms": Text(number(call.queue_ms), dim),
        "outcome": Text(_outcome(call), dim if call.good else "red"),
        "flag": Text(worst or "", FLAG_STYLES.get(worst or "", "")),
    }
    return [told[column.key] for column in shape]
