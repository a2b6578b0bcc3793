"""What tells of the keys: help beside a page about what is focused there, and the palette of commands over it."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Group
from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.command import CommandList, CommandPalette
from textual.dom import DOMNode
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import HelpPanel, Markdown, Static

from infertui.text import plain

Told = tuple[list[str], str, bool]  # keys, what they do, and whether they can be used now


class Help(HelpPanel):
    """What the focused thing is, then the keys that have a name, of it, of its page and of the app; keys that only move
    something come last."""

    DEFAULT_CSS = """
    Help {
        width: 44; min-width: 40; max-width: 60; padding: 0 0 0 1;
        overflow-y: auto; scrollbar-size-vertical: 1;
        border-left: vkey $panel;
    }
    Help > #help-hint { dock: bottom; width: 1fr; height: 1; color: $text-muted; background: $background; }
    Help > #help-text { display: none; height: auto; width: 1fr; padding: 0; margin: 0; }
    Help.-show-help > #help-text { display: block; }
    Help > #help-text MarkdownBlock { margin: 0 0 1 0; padding: 0; }
    Help > #help-text MarkdownHeader { margin: 0; }
    Help > #help-keys { height: auto; width: 1fr; }
    """

    def compose(self) -> ComposeResult:
        yield Markdown(id="help-text")
        yield Static(id="help-keys", markup=False)
        yield Static("esc closes · pgup and pgdn turn the page", id="help-hint", markup=False)

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._bindings_changed)
        self._draw()

    def on_unmount(self) -> None:
        self.screen.bindings_updated_signal.unsubscribe(self)

    def update_help(self, focused_widget: Widget | None) -> None:
        super().update_help(focused_widget)
        self.scroll_home(animate=False)

    def _bindings_changed(self, screen: Screen[object]) -> None:
        self.call_after_refresh(self._draw)

    def _draw(self) -> None:
        if not self.is_attached:
            return
        named: dict[tuple[DOMNode, str], Told] = {}
        others: dict[tuple[DOMNode, str], Told] = {}
        for node, binding, enabled, tooltip in self.screen.active_bindings.values():
            told = tooltip or binding.description
            if binding.system or not told:
                continue
            group = named if binding.id else others
            keys, _, _ = group.setdefault((node, binding.action), ([], told, enabled))
            if (shown := self.app.get_key_display(binding)) not in keys:
                keys.append(shown)
        self.query_one("#help-keys", Static).update(Group(_table(named.values()), "", _table(others.values())))


def _table(keys: Iterable[Told]) -> Table:
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for names, told, enabled in keys:
        table.add_row(
            Text(" ".join(names), "bold" if enabled else "dim"), Text(plain(told, 200), "" if enabled else "dim")
        )
    return table


class Palette(CommandPalette):
    """The commands that can be looked for by their names."""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """There is no page to turn in a list that is not laid out yet."""
        return action != "command_list" or self.query_one(CommandList).size.height > 0
