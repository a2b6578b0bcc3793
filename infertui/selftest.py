"""What our own clock is worth: `infertui run` as a user runs it, against a server that says when it sent each token.

Both are processes of their own on this machine and share its monotonic clock, so the error of a stamp is *read − sent*,
whatever the server's own lateness was; that is shown apart.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import msgspec

from infertui.errors import InferTUIError, ServerError
from infertui.metric import LAG_LIMIT_MS
from infertui.report.figure import number
from infertui.stats import percentile
from infertui.store import Store

STEPS = (2_000, 5_000, 10_000, 15_000, 20_000, 30_000, 40_000, 60_000)  # tokens/s, all streams together
STEP_S = 2.0


class Clock(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement of our clock. Errors are ours, in ms; the lateness is the server's."""

    streams: int
    rate: float
    tokens: int
    first_p50_ms: float
    first_p99_ms: float
    token_p50_ms: float
    token_p99_ms: float
    gap_p50_percent: float
    gap_p99_percent: float
    mean_gap_percent: float
    cpu_us_per_token: float
    command_cpu_s: float
    command_wall_s: float
    load_s: float
    mock_p99_ms: float
    valid: bool

    @property
    def punctual(self) -> bool:
        return self.valid and self.token_p99_ms <= LAG_LIMIT_MS and self.first_p99_ms <= LAG_LIMIT_MS

    @property
    def fed(self) -> bool:
        """Whether the server kept its own schedule well enough to judge us by."""
        return self.mock_p99_ms <= LAG_LIMIT_MS


@contextlib.contextmanager
def mock(**dials: object) -> Iterator[str]:
    """The mock in a process of its own; gives its address."""
    flags = [part for key, value in dials.items() for part in ("--set", f"{key}={value}")]
    command = [sys.executable, "-m", "infertui", "mock", "--port", "0", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as child:
        assert child.stdout is not None
        try:
            said = child.stdout.readline()
            if "http" not in said:
                raise ServerError("the mock server did not start", "try `infertui mock`")
            yield said.split()[-1]
        finally:
            child.terminate()


def clock(url: str, streams: int, rate: float, tokens: int) -> Clock:
    """One `infertui run` against a mock at `url` that sends `rate` tokens a second to each of `streams`."""
    with tempfile.TemporaryDirectory(prefix="infertui-selftest-") as folder:
        db = Path(folder) / "results.db"
        Store(db).close()  # making the schema is no part of what is measured
        model = f"mock?ttft_ms={max(50.0, streams / 4):g}&gap_ms={1000 / rate:g}&tokens={tokens}"
        flags = ["--scenario", "concurrent", "-c", str(streams), "-n", str(streams), "--no-alone", "--warmup", "1"]
        flags += ["--max-tokens", str(tokens), "--db", str(db), "--json"]
        command = [sys.executable, "-m", "infertui", "run", "--attach", url, "--model", model, *flags]
        started = time.perf_counter()
        with (Path(folder) / "said").open("w+b") as said:
            child = subprocess.Popen(command, stdout=said, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
            _, status, used = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            wall = time.perf_counter() - started
            said.seek(0)
            printed = said.read()
        if child.returncode:
            raise InferTUIError(f"`infertui run` ended with {child.returncode} in its own test")
        report = msgspec.json.decode(printed)["runs"][0]
        with Store(db, write=False) as store, urlopen(f"{url}/mock/stats", timeout=10) as answer:
            measured = {call.name for call in store.calls(report["id"]) if call.role == "measured"}
            reads = [value for name, value in store.reads(report["id"]).items() if name in measured]
            mock_late_us = msgspec.json.decode(answer.read())["late_p99_us"]
    firsts, every, gaps, means = errors_of(reads, 1e6 / rate)
    return Clock(
        streams=streams,
        rate=rate,
        tokens=sum(len(sent) for _, _, sent in reads),
        first_p50_ms=percentile(firsts, 50) / 1e3,
        first_p99_ms=percentile(firsts, 99) / 1e3,
        token_p50_ms=percentile(every, 50) / 1e3,
        token_p99_ms=percentile(every, 99) / 1e3,
        gap_p50_percent=percentile(gaps, 50),
        gap_p99_percent=percentile(gaps, 99),
        mean_gap_percent=max(means),
        cpu_us_per_token=report["generator"]["cpu_us_per_token"],
        command_cpu_s=used.ru_utime + used.ru_stime,
        command_wall_s=wall,
        load_s=report["metrics"]["wall_s"],
        mock_p99_ms=mock_late_us / 1e3,
        valid=report["valid"],
    )


def errors_of(
    reads: Sequence[tuple[array[int], array[int], array[int]]], gap_us: float
) -> tuple[list[float], list[float], list[float], list[float]]:
    """Sorted: µs of error of each first token, and of every token; % of error of each gap, and of each call's mean gap.

    A gap's error is how much longer or shorter it was read than it was sent.
    """
    firsts: list[float] = []
    every: list[float] = []
    gaps: list[float] = []
    means: list[float] = []
    for at_us, pieces, sent_us in reads:
        read = [at for at, count in zip(at_us, pieces or [1] * len(at_us), strict=True) for _ in range(count)]
        late = [at - sent for at, sent in zip(read, sent_us, strict=True)]
        if len(late) < 2:
            continue
        firsts.append(late[0])
        every += late
        gaps += [100 * abs(after - before) / gap_us for before, after in pairwise(late)]
        means.append(100 * abs(late[-1] - late[0]) / (sent_us[-1] - sent_us[0]))
    return sorted(firsts), sorted(every), sorted(gaps), sorted(means)


def measure(streams: int, rate: float, tokens: int, limit: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """The error of our clock under the load asked for, and the most tokens a second before it lags."""
    with mock() as url:
        say(f"{streams} streams of {tokens} tokens at {rate:g} tokens/s: about {tokens / rate + 2:.0f} s")
        main = clock(url, streams, rate, tokens)
    found: dict[str, Any] = {"clock": main, "punctual": main.punctual, "steps": []}
    if limit:
        best, stopped = 0.0, "the last step"
        for total in STEPS:
            lanes = 32 if total <= 10_000 else 64
            say(f"{total:,} tokens/s on {lanes} streams")
            with mock() as url:
                step = clock(url, lanes, total / lanes, int(total / lanes * STEP_S))
            found["steps"].append(step)
            if not step.fed:
                stopped = "the mock could send no faster"
                break
            if not step.punctual:
                stopped = "our client lagged"
                break
            best = float(total)
        found |= {"most_tokens_per_s": best or None, "stopped_by": stopped}
    return found


def text(found: dict[str, Any]) -> str:
    """The findings as lines for a person."""
    main: Clock = found["clock"]
    cpu = f"{number(main.cpu_us_per_token, 'µs')} a token in the runner; the whole command {main.command_cpu_s:.2f} s"
    lines = [
        f"{main.streams} streams at {main.rate:g} tokens/s each, {main.tokens:,} tokens",
        f"  first token   read − sent   p50 {number(main.first_p50_ms, 'ms')}   p99 {number(main.first_p99_ms, 'ms')}",
        f"  every token   read − sent   p50 {number(main.token_p50_ms, 'ms')}   p99 {number(main.token_p99_ms, 'ms')}",
        f"  gap           error         p50 {main.gap_p50_percent:.2f} %   p99 {main.gap_p99_percent:.2f} %"
        f"   a call's mean gap, worst {main.mean_gap_percent:.3f} %",
        f"  CPU           {cpu}",
        f"  wall          {main.command_wall_s:.1f} s for {main.load_s:.1f} s of load",
        f"  the mock's own lateness p99 {number(main.mock_p99_ms, 'ms')} (in none of the errors above)",
    ]
    for step in found["steps"]:
        state = "ok" if step.punctual else "late" if step.fed else "the mock is late"
        lines.append(
            f"  {step.streams * step.rate:>8,.0f} tokens/s   token p99 {number(step.token_p99_ms, 'ms'):>9}"
            f"   CPU {number(step.cpu_us_per_token, 'µs'):>8} a token   {state}"
        )
    if "most_tokens_per_s" in found:
        best = found["most_tokens_per_s"]
        lines.append(
            f"most tokens/s before lag (p99 {LAG_LIMIT_MS:g} ms): {number(best)} (stopped by: {found['stopped_by']})"
        )
    if not main.punctual:
        reason = "this machine was too busy" if main.fed else "the mock itself could not keep its schedule"
        lines.append(f"NOT punctual: {reason}; figures taken now would be marked invalid or worth little")
    return "\n".join(lines)
