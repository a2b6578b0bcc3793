"""Makes docs/screenshot.svg: the live page of a recorded run, at one moment of it. The same each time.

.venv/bin/python docs/screenshot.py
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import tempfile
from pathlib import Path

from infertui.event import Ticked, parse
from infertui.tui.app import InferTUI
from infertui.tui.screens.live import LiveScreen
from infertui.tui.story import Story

ROOT = Path(__file__).resolve().parent.parent
RECORDED = ROOT / "docs" / "screenshot.jsonl"  # the same model with one slot, then with four: `infertui run … --events`
CSS = ROOT / "infertui" / "tui" / "screens" / "live.tcss"
CORES = 2  # of the machine on which it was recorded
SIZE = (120, 40)
TICKS = 139  # of the recorded run: where it is stopped


class StillScreen(LiveScreen):
    """Its clock stands at the last event."""

    CSS_PATH = CSS

    def _now_s(self) -> float:
        return self.host.story.newest_s if self.host.story is not None else 0.0


class Still(InferTUI):
    """The app in the middle of a run, which stands still."""

    MODES = {**InferTUI.MODES, "live": StillScreen}  # noqa: RUF012
    DEFAULT_MODE = "live"

    @property
    def running(self) -> bool:
        return True


def story(ticks: int) -> Story:
    """What was recorded, up to that tick."""
    told = Story()
    for line in RECORDED.read_bytes().splitlines():
        event = parse(line)
        if event is None:
            continue
        ticks -= isinstance(event, Ticked)
        if ticks < 0:
            break
        told.add(event)
    return told


async def picture(ticks: int, size: tuple[int, int]) -> str:
    app = Still()
    app.story = story(ticks)
    async with app.run_test(size=size) as pilot:
        await pilot.pause(1.0)
        app.clear_notifications()
        app._tell_status()
        app.screen.set_focus(None)
        await pilot.pause(0.5)
        return without_fonts(app.export_screenshot(title="infertui"))


def without_fonts(svg: str) -> str:
    """Textual's pictures fetch a font from another host: the reader's own is used instead."""
    svg = re.sub(r"\s*@font-face\s*\{[^}]*\}", "", svg)
    return svg.replace("Fira Code", "ui-monospace, Menlo, DejaVu Sans Mono")


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    flags.add_argument("--ticks", type=int, default=TICKS)
    flags.add_argument("--size", default="x".join(map(str, SIZE)), help="columns x rows")
    flags.add_argument("--out", type=Path, default=ROOT / "docs" / "screenshot.svg")
    asked = flags.parse_args()
    columns, rows = map(int, asked.size.split("x"))
    os.environ.pop("NO_COLOR", None)
    os.cpu_count = lambda: CORES
    with tempfile.TemporaryDirectory() as home:
        os.environ |= {"INFERTUI_HOME": home, "INFERTUI_DB": f"{home}/results.db", "TEXTUAL_ANIMATIONS": "none"}
        svg = asyncio.run(picture(asked.ticks, (columns, rows)))
    asked.out.write_text(svg, encoding="utf-8")
    print(asked.out)


if __name__ == "__main__":
    main()
