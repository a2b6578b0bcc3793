"""What our clock is worth and costs at 1 to 512 streams, beside a bare recv loop on the same machine, in one run.

    make bench                          the whole table, about two minutes
    make bench ARGS="--streams 32"      one row

Figures of a busy machine are worth little; the ratios to the loop hold better than the figures themselves.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from infertui.errors import InferTUIError
from infertui.selftest import TTFT_MS, Clock, clock, mock

HERE = Path(__file__).parent
TOTAL = 3200  # tokens a second, all streams together: 32 at 100 tokens/s each


def bare_loop(folder: Path) -> tuple[list[str], str]:
    """The command of the bare loop, compiled where there is a compiler, and what to call it."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler:
        program = folder / "recv_loop"
        subprocess.run([compiler, "-O2", "-o", program, HERE / "recv_loop.c"], check=True)
        return [str(program)], "C"
    return [sys.executable, str(HERE / "recv_loop.py")], "Python (no C compiler here)"


def loop(command: list[str], url: str, streams: int, rate: float, tokens: int) -> tuple[float, float, float]:
    """CPU seconds of the bare loop, and p50 and p99 of its own read − sent, ms."""
    at = urlsplit(url)
    model = f"mock?ttft_ms={TTFT_MS:g}&gap_ms={1000 / rate:g}&tokens={tokens}"
    ran = subprocess.run(
        [*command, str(at.hostname), str(at.port), str(streams), str(tokens), model],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    _, _, cpu_s, p50_ns, p99_ns = ran.stdout.split()
    return float(cpu_s), int(p50_ns) / 1e6, int(p99_ns) / 1e6


def ratio_of_help() -> tuple[float, float]:
    """CPU seconds of `infertui --help` and of `import click`, the least of five each."""

    def least(command: list[str]) -> float:
        found = []
        for _ in range(5):
            child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            _, _, used = os.wait4(child.pid, 0)
            child.returncode = 0
            found.append(used.ru_utime + used.ru_stime)
        return min(found)

    return least([sys.executable, "-m", "infertui", "--help"]), least([sys.executable, "-c", "import click"])


def row(streams: int, seconds: float, bare_loop_command: list[str]) -> str:
    rate = min(100.0, max(20.0, TOTAL / streams))
    tokens = int(rate * seconds)
    with mock() as url:
        ours: Clock = clock(url, streams, rate, tokens)
    with mock() as url:
        bare, bare_p50, bare_p99 = loop(bare_loop_command, url, streams, rate, tokens)
    bare_us = bare * 1e6 / ours.tokens
    cells = (
        f"{streams:>7}", f"{rate:>6.0f}", f"{ours.tokens:>8,}",
        f"{ours.first_p50_ms:>8.3f}", f"{ours.first_p99_ms:>8.3f}",
        f"{ours.last_p50_ms:>8.3f}", f"{ours.last_p99_ms:>8.3f}",
        f"{ours.token_p50_ms:>8.3f}", f"{ours.token_p99_ms:>8.3f}",
        f"{bare_p50:>8.3f}", f"{bare_p99:>8.3f}",
        f"{ours.mean_gap_percent:>7.3f}", f"{ours.gap_p50_percent:>7.2f}",
        f"{ours.cpu_us_per_token:>8.1f}", f"{bare_us:>7.1f}", f"{ours.cpu_us_per_token / bare_us:>6.1f}",
        f"{ours.command_cpu_s / bare:>8.1f}", f"{ours.command_wall_s - ours.load_s:>7.1f}", f"{ours.mock_p99_ms:>7.2f}",
        "" if ours.punctual else "  late" if ours.fed else "  mock late",
    )  # fmt: skip
    return " ".join(cells)


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    flags.add_argument("--streams", type=int, nargs="*", default=[1, 8, 32, 128, 512])
    flags.add_argument("--seconds", type=float, default=6.0)
    asked = flags.parse_args()
    help_s, click_s = ratio_of_help()
    ratio = help_s / click_s
    print(f"CPU of infertui --help {1000 * help_s:.0f} ms, of import click {1000 * click_s:.0f} ms: {ratio:.1f} times")
    with tempfile.TemporaryDirectory() as folder:
        command, name = bare_loop(Path(folder))
        print(f"bare recv loop: {name}; errors are read − sent, ms; CPU in µs a token; × is to the loop's CPU")
        heads = (
            "streams  tok/s   tokens  first50  first99   last50   last99    tok50    tok99   bare50   bare99"
            "   gap %  gap50%  CPU/tok    loop      ×  command×  start s  mock99"
        )  # fmt: skip
        print(heads)
        for streams in asked.streams:
            try:
                print(row(streams, asked.seconds, command), flush=True)
            except InferTUIError as error:
                print(f"{streams:>7} {error}")
            time.sleep(1)


if __name__ == "__main__":
    main()
