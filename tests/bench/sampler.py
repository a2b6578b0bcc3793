"""What sampling costs, and that our stamps do not change with it, in one run.

    make bench          after the table of the clock
    .venv/bin/python tests/bench/sampler.py --rounds 3

Each pair of rows is the same load without and with the sampler, in turn. A busy machine's figures are worth little.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
from collections import defaultdict

from infertui.sample import Tally
from infertui.selftest import clock, mock
from infertui.telemetry.sampling import Sampling

STREAMS, RATE = 32, 100.0


BURST = """
import time
while True:
    end = time.process_time() + 0.01
    while time.process_time() < end: pass
    time.sleep(0.05)
"""


def cost(seconds: float, processes: int) -> None:
    """The sampler beside a server of some processes that are busy now and then."""
    server = [subprocess.Popen([sys.executable, "-c", BURST]) for _ in range(processes)]
    try:
        took, grown, elapsed = asyncio.run(watched([each.pid for each in server], seconds))
    finally:
        for each in server:
            each.kill()
            each.wait()
    readings = sum(len(each) for each in took.values())
    missed = sum(each.missed for each in grown.sources.values())
    print(
        f"processes of the server: {processes}; {100 * grown.cpu_s / elapsed:.2f} % of a core over {elapsed:.0f} s "
        f"(aim 0.5 %), {1000 * grown.cpu_s / max(1, readings):.2f} ms of CPU a reading, "
        f"{missed} of {readings + missed} slots missed"
    )
    for name, times in took.items():
        times.sort()
        p50, most = times[len(times) // 2] / 1e6, times[-1] / 1e6
        print(f"  {name:24} {len(times):>4} readings, p50 {p50:.2f} ms, max {most:.2f} ms")


async def watched(pids: list[int], seconds: float) -> tuple[dict[str, list[int]], Tally, float]:
    """How long each reading took, by source; what sampling came to; over how long."""
    took: dict[str, list[int]] = defaultdict(list)
    sampling = Sampling(lambda sample: took[sample.source].append(sample.took_ns))
    try:
        sampling.watch(pids)
        await sampling.ready()
        before = await sampling.look(timed=True)
        sampling.drain()
        took.clear()
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            await asyncio.sleep(0.2)
            sampling.drain()
        elapsed = time.perf_counter() - began
        after = await sampling.look(timed=False)
    finally:
        sampling.stop()
    if before is None or after is None:
        sys.exit(f"the sampler did not answer: {sampling.dead}")
    return took, after.tally.since(before.tally), elapsed


def stamps(rounds: int, seconds: float) -> None:
    """The errors of our stamps (read − sent) with and without the sampler."""
    print(f"{STREAMS} streams at {RATE:g} tokens/s   tok50    tok99   first99   last99   CPU µs/token")
    for _ in range(rounds):
        for samples in (False, True):
            with mock() as url:
                row = clock(url, STREAMS, RATE, int(RATE * seconds), samples)
            name = "with the sampler" if samples else "without"
            print(
                f"  {name:24} {row.token_p50_ms:>8.3f} {row.token_p99_ms:>8.3f} {row.first_p99_ms:>9.3f} "
                f"{row.last_p99_ms:>8.3f} {row.cpu_us_per_token:>14.1f}{'' if row.punctual else '  late'}",
                flush=True,
            )


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    flags.add_argument("--seconds", type=float, default=6.0)
    flags.add_argument("--rounds", type=int, default=2)
    asked = flags.parse_args()
    print("\nthe sampler")
    for processes in (1, 8):
        cost(2 * asked.seconds, processes)
    stamps(asked.rounds, asked.seconds)


if __name__ == "__main__":
    main()
