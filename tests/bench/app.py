"""What the app costs beside a run, how soon it is there, and that our stamps do not change with it, in one run.

    make bench                                  after the tables of the clock and the sampler
    .venv/bin/python tests/bench/app.py --quick

The app is in a pty of 120x30, with the live page open. A busy machine's figures are worth little; ratios hold better.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from infertui.selftest import TTFT_MS, errors_of, mock
from infertui.stats import percentile
from infertui.store import Store

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.terminal import Terminal

STREAMS, RATE = 32, 100.0
START_S = 60.0
BARE = """
from textual.app import App
from textual.widgets import Footer, Static
class Bare(App):
    BINDINGS = [("q", "quit", "Quit")]
    def compose(self):
        yield Static("Launch")
        yield Footer()
Bare().run()
"""


# The app as it is, that starts a run by itself and leaves when that is over.


def driven(arguments: list[str], told: str) -> None:
    """Writes down what CPU it took from the first measured call to the last."""
    from infertui.tui.app import InferTUI

    class Driven(InferTUI):
        began: tuple[float, float] | None = None

        def on_ready(self) -> None:
            self.start(arguments)
            self.set_interval(0.2, self.look)

        def look(self) -> None:
            course = next(iter(self.story.runs.values()), None) if self.story is not None else None
            if self.began is None and course is not None and course.block is not None:
                if course.block.role == "measured" and course.tick is not None:
                    self.began = time.process_time(), time.perf_counter()
            elif self.began is not None and self.story is not None and self.story.over:
                cpu_s, wall_s = time.process_time() - self.began[0], time.perf_counter() - self.began[1]
                Path(told).write_text(json.dumps([cpu_s, wall_s]))
                self.exit()

    Driven().run()


# Measurements.


class Bench:
    def __init__(self, folder: Path, seconds: float) -> None:
        self.folder = folder
        self.seconds = seconds
        self.environment = {**os.environ, "INFERTUI_HOME": str(folder / "home")}
        (folder / "home").mkdir()
        (folder / "home" / "settings.toml").write_text("[conditions]\nwait_s = 0\nidle_power_s = 0\n")

    def first_paint(self, command: list[str]) -> float:
        """Seconds from exec to the first picture that shows a page."""
        with Terminal(command, self.environment, self.folder) as terminal:
            terminal.wait_for("Launch", START_S)
            shown_ns = terminal.shown_ns("Launch")
            assert shown_ns is not None
            return (shown_ns - terminal.started_ns) / 1e9

    def flags(self, url: str) -> list[str]:
        tokens = int(RATE * self.seconds)
        model = f"mock?ttft_ms={TTFT_MS:g}&gap_ms={1000 / RATE:g}&tokens={tokens}"
        load = ["--scenario", "concurrent", "-c", str(STREAMS), "-n", str(STREAMS), "--no-alone", "--warmup", "1"]
        return ["--attach", url, "--model", model, *load, "--max-tokens", str(tokens), "--wait", "0"]

    def headless(self) -> str:
        db = self.new_db()
        with mock() as url:
            command = [sys.executable, "-m", "infertui", "run", *self.flags(url), "--events", "--db", str(db)]
            nothing = subprocess.DEVNULL
            subprocess.run(command, env=self.environment, stdout=nothing, stderr=nothing, check=True)
        return stamps(db)

    def with_app(self) -> tuple[str, float]:
        """The stamps, and the CPU of the app as a share of a core."""
        db = self.new_db()
        told = db.with_suffix(".json")
        with mock() as url:
            inside = ["--inside", str(told), *self.flags(url)]
            environment = {**self.environment, "INFERTUI_DB": str(db)}
            with Terminal([sys.executable, __file__, *inside], environment, self.folder) as terminal:
                code = terminal.ended(START_S + 3 * self.seconds)
                if code or not told.exists():
                    sys.exit(f"the app ended with {code} in its own bench:\n{terminal.text}")
        cpu_s, wall_s = json.loads(told.read_text())
        return stamps(db), cpu_s / wall_s

    def new_db(self) -> Path:
        db = self.folder / f"{time.monotonic_ns()}.db"
        Store(db).close()  # making the schema is no part of what is measured
        return db


def stamps(db: Path) -> str:
    """The errors of our stamps (read − sent) in a row of the table."""
    with Store(db, write=False) as store:
        run = store.runs(1)[0].id
        measured = {call.name for call in store.calls(run) if call.role == "measured"}
        reads = [value for name, value in store.reads(run).items() if name in measured]
    firsts, lasts, every, _, _ = errors_of(reads, 1e6 / RATE)
    found = (percentile(every, 50), percentile(every, 99), percentile(firsts, 99), percentile(lasts, 99))
    return " ".join(f"{value / 1e3:>8.3f}" for value in found)


def main() -> None:
    if sys.argv[1:2] == ["--inside"]:
        driven(sys.argv[3:], sys.argv[2])
        return
    flags = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    flags.add_argument("--quick", action="store_true", help="shorter runs, fewer of them")
    asked = flags.parse_args()
    seconds, starts, rounds = (6.0, 2, 1) if asked.quick else (20.0, 5, 2)
    print("\nthe app, in a pty of 120x30")
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), seconds)
        ours, bare = [], []
        for _ in range(starts):
            ours.append(bench.first_paint([sys.executable, "-m", "infertui", "--db", f"{folder}/none.db"]))
            bare.append(bench.first_paint([sys.executable, "-c", BARE]))
        print(
            f"first picture after {1000 * min(ours):.0f} ms, of a bare Textual app after {1000 * min(bare):.0f} ms: "
            f"{min(ours) / min(bare):.2f} times (aim 2)",
            flush=True,
        )
        print(f"{STREAMS} streams at {RATE:g} tokens/s, {seconds:.0f} s   tok50    tok99  first99   last99   app's CPU")
        for _ in range(rounds):
            print(f"  headless                       {bench.headless()}", flush=True)
            row, share = bench.with_app()
            print(f"  with the app                   {row}   {100 * share:.1f} % of a core (aim 10)", flush=True)


if __name__ == "__main__":
    main()
