"""What is installed here, what is missing and what mends it, over any page."""

from __future__ import annotations

from rich.text import Text
from textual.content import Content
from textual.widgets import Static

from infertui.tui.widgets import Reader

LEAST = 40  # columns that it is drawn for, however narrow the terminal is
FRAME = 8  # columns at its sides
BUSY = "Looking at engines, ports, telemetry, profiles and folders: this may take ten seconds …"


class Doctor(Reader):
    """Reads the findings once; `infertui doctor` prints the same."""

    def __init__(self) -> None:
        super().__init__("Doctor", self._examined)

    def on_mount(self) -> None:
        self.query_one("#reader-text", Static).update(Content.styled(BUSY, "$text-muted"))

    def _examined(self) -> Text:
        from infertui.doctor import examine
        from infertui.report.doctor import findings_view

        found = examine()
        return findings_view(found, max(LEAST, self.size.width * 96 // 100 - FRAME))


def doctor() -> Reader:
    return Doctor()
