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
from urllib.request import urlopen

import msgspec

from infertui.errors import InferTUIError, ServerError
from infertui.metric import LAG_LIMIT_MS
from infertui.stats import percentile
from infertui.store import Store

STEPS = (2_000, 5_000, 10_000, 15_000, 20_000, 30_000, 40_000, 60_000)  # tokens/s, all streams together
STEP_S = 2.0
TTFT_MS = 250.0  # long enough that starting many streams at once is a small part of it


class Clock(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement of our clock. Errors are ours, in ms; the lateness is the server's."""

    streams: int
    rate: float
    tokens: int
    first_p50_ms: float
    first_p99_ms: float
    last_p50_ms: float
    last_p99_ms: float
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
        worst = max(self.token_p99_ms, self.first_p99_ms, self.last_p99_ms)
        return self.valid and worst <= LAG_LIMIT_MS

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


def clock(url: str, streams: int, rate: float, tokens: int, samples: bool = True) -> Clock:
    """One `infertui run` against a mock at `url` that sends `rate` tokens a second to each of `streams`."""
    with tempfile.TemporaryDirectory(prefix="infertui-selftest-") as folder:
        db = Path(folder) / "results.db"
        Store(db).close()  # making the schema is no part of what is measured
        model = f"mock?ttft_ms={TTFT_MS:g}&gap_ms={1000 / rate:g}&tokens={tokens}"
        flags = ["--scenario", "concurrent", "-c", str(streams), "-n", str(streams), "--no-alone", "--warmup", "1"]
        flags += ["--max-tokens", str(tokens), "--wait", "0", "--db", str(db), "--json"]
        flags += [] if samples else ["--no-samples"]
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
    firsts, lasts, every, gaps, means = errors_of(reads, 1e6 / rate)
    return Clock(
        streams=streams,
        rate=rate,
        tokens=sum(len(sent) for _, _, sent in reads),
        first_p50_ms=percentile(firsts, 50) / 1e3,
        first_p99_ms=percentile(firsts, 99) / 1e3,
        last_p50_ms=percentile(lasts, 50) / 1e3,
        last_p99_ms=percentile(lasts, 99) / 1e3,
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
) -> tuple[list[float], list[float], list[float], list[float], list[float]]:
    """Sorted: µs of error of first, last and all tokens; % of error of each gap, and of each call's mean gap.

    A gap's error is how much longer or shorter it was read than it was sent.
    """
    firsts: list[float] = []
    lasts: list[float] = []
    every: list[float] = []
    gaps: list[float] = []
    means: list[float] = []
    for at_us, pieces, sent_us in reads:
        read = [at for at, count in zip(at_us, pieces or [1] * len(at_us), strict=True) for _ in range(count)]
        late = [at - sent for at, sent in zip(read, sent_us, strict=True)]
        if len(late) < 2:
            continue
        firsts.append(late[0])
        lasts.append(late[-1])
        every += late
        gaps += [100 * abs(after - before) / gap_us for before, after in pairwise(late)]
        means.append(100 * abs(late[-1] - late[0]) / (sent_us[-1] - sent_us[0]))
    return sorted(firsts), sorted(lasts), sorted(every), sorted(gaps), sorted(means)


class Findings(msgspec.Struct, kw_only=True):
    """The clock under the load asked for, and the most tokens a second before it lags (None: lagged at once)."""

    clock: Clock
    punctual: bool
    steps: list[Clock] = []
    most_tokens_per_s: float | None = None
    stopped_by: str = ""


def measure(streams: int, rate: float, tokens: int, limit: bool, say: Callable[[str], None]) -> Findings:
    with mock() as url:
        say(f"{streams} streams of {tokens} tokens at {rate:g} tokens/s: about {tokens / rate + 2:.0f} s")
        main = clock(url, streams, rate, tokens)
    found = Findings(clock=main, punctual=main.punctual)
    if limit:
        found.stopped_by = "the last step"
        for total in STEPS:
            lanes = 32 if total <= 10_000 else 64
            say(f"{total:,} tokens/s on {lanes} streams")
            with mock() as url:
                step = clock(url, lanes, total / lanes, int(total / lanes * STEP_S))
            if not step.punctual:  # once more: another program may have had its moment
                with mock() as url:
                    step = clock(url, lanes, total / lanes, int(total / lanes * STEP_S))
            found.steps.append(step)
            if not step.fed:
                found.stopped_by = "the mock could send no faster"
                break
            if not step.punctual:
                found.stopped_by = "our client lagged"
                break
            found.most_tokens_per_s = float(total)
    return found
