"""The page of one run: everything that is known of it, in sections."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import msgspec
from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Static

from infertui import reply
from infertui.errors import InferTUIError, UsageError
from infertui.text import plain
from infertui.tui.screens import keep
from infertui.tui.screens.entry import STATES
from infertui.tui.screens.section import SectionedPage, Sections
from infertui.tui.widgets import Notice

if TYPE_CHECKING:
    from infertui.reply import Flag
    from infertui.store import Store
    from infertui.tui.screens.run_section import Opened


class RunScreen(SectionedPage):
    PAGE = "results"
    CSS_PATH = "run.tcss"
    AUTO_FOCUS = ""
    HELP = """\
### A run

`[` and `]`, or left and right, go through its sections. `c` compares it with the other runs that were made together
with it, `e` exports it, `t` tags it, `n` writes a note. `y` copies what is shown: the figures as Markdown, else the
text of the section.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "sideways(-1)", "Section before", show=False, id="run.before", tooltip="Section before"),
        Binding(
            "right,l", "sideways(1)", "Next section", key_display="←→", id="run.section", tooltip="The next section"
        ),
        Binding("c", "compare", "Compare", id="run.compare", tooltip="Beside the other runs of its experiment"),
        Binding("e", "export", "Export", id="run.export", tooltip="As a file or on the clipboard"),
        Binding("y", "copy", "Copy", show=False, id="run.copy", tooltip="Copy what is shown"),
        Binding("t", "tag", "Tag", show=False, id="run.tag", tooltip="Tag this run"),
        Binding("n", "note", "Note", show=False, id="run.note", tooltip="A note on this run"),
        Binding("f5", "load", "Read again", show=False, id="run.load", tooltip="Read the run again"),
        Binding("escape", "leave", "Back", show=False, id="run.leave", tooltip="Back to where you were"),
    ]

    def __init__(self, run: int) -> None:
        super().__init__()
        self.run_number = run
        self.opened: Opened | None = None

    def body(self) -> ComposeResult:
        yield Static(id="run-title", markup=False)
        yield Notice(f"reading run {self.run_number} …", id="run-notice")

    def on_mount(self) -> None:
        self.action_load()

    @work(exclusive=True, group="run")
    async def action_load(self) -> None:
        try:
            found = await self.host.read(self._look)
            if found is None:
                raise UsageError("there is no database any more")
        except InferTUIError as error:
            if self.opened is not None:
                self.host.fail("The run cannot be read", error)
            elif self.is_attached:
                said = f"{plain(error.message, 300)}\n{plain(error.hint, 300)}".strip()
                self.query_one("#run-notice", Notice).say(said, "failed")
            return
        if not self.is_attached:
            return
        if (opened := self.opened) is None:
            opened = self.opened = found
            await self._show(found)
        else:
            opened.whole, opened.row = msgspec.structs.replace(found.whole, flags=opened.whole.flags), found.row
            self._again()
        self._draw_title()
        self.refresh_bindings()
        try:
            flags = await self.host.read(self._flags)
        except InferTUIError as error:
            self.host.fail("The replies cannot be read", error)
            return
        if flags is not None and self.is_attached:
            opened.whole = msgspec.structs.replace(opened.whole, flags=flags)
            opened.flagged = True
            self._again("Figures", "Calls", "Warnings")  # they tell of replies

    def _look(self, store: Store) -> Opened:
        from infertui.report.data import Whole
        from infertui.result import stored
        from infertui.tui.screens.run_section import Opened

        row = store.run(str(self.run_number))
        whole = Whole(
            report=stored(store, str(row.id)),
            calls=store.calls(row.id),
            tags=store.tags(row.id),
            note=row.note,
            machine=store.machine(row.machine_id),
        )
        return Opened(whole, row)

    def _flags(self, store: Store) -> dict[str, tuple[Flag, ...]]:
        assert self.opened is not None
        replies = store.replies(self.run_number)
        return reply.run_flags((call, *replies.get(call.name, ("", ""))) for call in self.opened.whole.calls)

    async def _show(self, opened: Opened) -> None:
        from functools import partial

        from infertui.tui.screens.call_section import CallsSection
        from infertui.tui.screens.distribution import DistributionSection
        from infertui.tui.screens.run_section import (
            FiguresSection,
            LogSection,
            SamplesSection,
            SetupSection,
            TimelineSection,
            WarningsSection,
        )

        made = (
            FiguresSection,
            TimelineSection,
            SamplesSection,
            CallsSection,
            WarningsSection,
            SetupSection,
            LogSection,
        )
        sections = {each.TITLE: partial(each, opened) for each in made}
        named = [(opened.whole.report.server, opened.number)]
        distribution = {DistributionSection.TITLE: partial(DistributionSection, lambda: named)}
        first, *rest = sections.items()
        await self.query_one("#run-notice").remove()
        await self.mount(Sections(dict([first, *distribution.items(), *rest])), after="#run-title")

    def _load_said(self) -> None:
        """What the user says of it has changed: also after the page was left, when it took long to write."""
        if self.is_attached:
            self._read_said()

    @work(exclusive=True, group="said")
    async def _read_said(self) -> None:
        try:
            found = await self.host.read(
                lambda store: (store.tags(self.run_number), store.run(str(self.run_number)).note)
            )
        except InferTUIError as error:
            self.host.fail("The run cannot be read", error)
            return
        if found is not None and self.opened is not None and self.is_attached:
            tags, note = found
            self.opened.whole = msgspec.structs.replace(self.opened.whole, tags=tags, note=note)
            self._draw_title()
            self._again("Set-up")

    def _again(self, *titles: str) -> None:
        if self.sections is not None:
            self.sections.again(titles)

    def _draw_title(self) -> None:
        from infertui.report.table import state_of

        if (opened := self.opened) is None:
            return
        report = opened.whole.report
        state = state_of(report.status, report.summary)
        drawn = Text.assemble((f"run {report.id}", "bold"), "  ", (state, STATES.get(state, "")), "  ")
        drawn.append(plain(f"{report.scenario} · {report.server} · {report.model}", 160))
        drawn.append(f"  {plain(report.label, 60)}" if report.label else "", "cyan")
        for tag in opened.whole.tags:
            drawn.append(f"  #{plain(tag, 60)}", "cyan")
        drawn.append(f"  {plain(opened.whole.note, 300)}", "italic")
        drawn.no_wrap, drawn.overflow = True, "ellipsis"
        self.query_one("#run-title", Static).update(drawn)

    # What is done with it.

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return None if self.opened is None and action in ("compare", "export", "copy", "tag", "note") else True

    async def action_sideways(self, by: int) -> None:
        await self.action_step(by)

    async def action_leave(self) -> None:
        await self.host.action_back()

    @work(exclusive=True, group="compare")
    async def action_compare(self) -> None:
        opened = self.opened
        if opened is None:
            return
        try:
            rows = await self.host.read(lambda store: store.runs())
        except InferTUIError as error:
            self.host.fail("Not compared", error)
            return
        mates = [row.id for row in rows or () if row.experiment_id == opened.row.experiment_id]
        self.host.compare(sorted(mates))

    def action_export(self) -> None:
        from infertui.tui.screens.export import export_runs

        export_runs(self.host, [self.run_number])

    @work(exclusive=True, group="copy")
    async def action_copy(self) -> None:
        if (sections := self.sections) is None or sections.section is None:
            return
        if text := sections.section.told():
            self.host.copy(text, f"{sections.opened} of run {self.run_number}")
            return
        from infertui.report.data import whole
        from infertui.report.export import exported

        try:
            page = await self.host.read(lambda store: exported([whole(store, str(self.run_number))], "md"))
        except InferTUIError as error:
            self.host.fail("Not copied", error)
            return
        if page:
            self.host.copy(page, f"run {self.run_number} as Markdown")

    def action_tag(self) -> None:
        if (opened := self.opened) is not None:
            keep.tag(self.host, [opened.number], opened.whole.tags, self._load_said)

    def action_note(self) -> None:
        if (opened := self.opened) is not None:
            keep.note(self.host, opened.number, opened.whole.note, self._load_said)
