"""The sampler: slots, sources that fail, die or hang, what others use, and the process from its owner's side."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from infertui.sample import SERIES, Absent, Count, Sample, Tally, Values
from infertui.telemetry.load import Moment
from infertui.telemetry.sampler import Look, Looked, Out, Ready, Said, Sampler, Watch
from infertui.telemetry.sampling import Sampling
from infertui.telemetry.source import Gone, Rates, Source
from tests.test_tree import FakeSystem

WITHIN_S = 15.0


class FakeSource(Source):
    """Reads what a function gives it."""

    def __init__(self, name: str, read: Callable[[], Values], period_s: float = 0.02) -> None:
        self.name, self.period_s, self._read = name, period_s, read
        self.closed = False

    def read(self, at_ns: int) -> Values:
        return self._read()

    def close(self) -> None:
        self.closed = True


class Heard:
    """What a sampler said so far."""

    def __init__(self) -> None:
        self.said: list[Said] = []

    def __call__(self, said: Said) -> bool:
        self.said.append(said)
        return True

    def of(self, source: str) -> list[Sample]:
        return [each for each in self.said if isinstance(each, Sample) and each.source == source]

    def absent(self, name: str) -> list[str]:
        return [each.reason for each in self.said if isinstance(each, Absent) and each.name == name]


def until(met: Callable[[], bool]) -> None:
    end = time.monotonic() + WITHIN_S
    while not met():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def sampler(heard: Heard) -> Iterator[Sampler]:
    made = Sampler(FakeSystem(), heard)
    yield made
    made.stop()


def start(sampler: Sampler, *sources: Source | Absent) -> None:
    sampler.start(iter([lambda each=each: each for each in sources]))  # type: ignore[misc]


def test_readings_stand_in_absolute_slots_and_each_says_what_time_it_covers(sampler: Sampler, heard: Heard) -> None:
    start(sampler, FakeSource("steady", lambda: {"gpu_percent": 1.0}))
    until(lambda: len(heard.of("steady")) >= 10)
    samples = heard.of("steady")
    assert samples[0].since_ns is None
    assert all(later.since_ns == earlier.at_ns for earlier, later in pairwise(samples))
    first = samples[0].at_ns
    for sample in samples:  # late at most, never early; and late ones do not push later ones
        assert sample.at_ns - first >= round((sample.at_ns - first) / 20e6) * 20e6 - 20e6


def test_slots_that_cannot_be_kept_are_missed_and_counted_and_never_made_up_for(sampler: Sampler, heard: Heard) -> None:
    def slow() -> Values:
        time.sleep(0.05)
        return {"gpu_percent": 1.0}

    start(sampler, FakeSource("slow", slow))
    until(lambda: len(heard.of("slow")) >= 5)
    count = sampler.tally().sources["slow"]
    assert count.overruns >= 5
    assert count.missed >= count.taken - 1
    at = [sample.at_ns for sample in heard.of("slow")]
    assert all(later - earlier >= 50e6 for earlier, later in pairwise(at))


def test_a_level_that_missed_slots_does_not_claim_the_time_between(sampler: Sampler, heard: Heard) -> None:
    waits = iter([0.0, 0.2, *[0.0] * 1000])

    def read() -> Values:
        time.sleep(next(waits))
        return {"gpu_power_w": 5.0}

    levels, counters = FakeSource("levels", read), FakeSource("counters", lambda: {"gpu_power_w": 5.0})
    levels.counted = False
    start(sampler, levels, counters)
    until(lambda: len(heard.of("levels")) >= 5)
    gaps = [s.at_ns - s.since_ns for s in heard.of("levels") if s.since_ns is not None]
    assert max(gaps) <= 31e6


def test_one_reading_that_fails_costs_itself_and_ten_in_a_row_the_source(sampler: Sampler, heard: Heard) -> None:
    broken = iter([True, False, True, *[False] * 50])

    def read() -> Values:
        if next(broken):
            return {"gpu_percent": 1.0}
        raise ValueError("no\x1b[31m number")

    source = FakeSource("bad", read)
    start(sampler, source)
    until(lambda: bool(heard.absent("bad")))
    assert heard.absent("bad") == ["10 readings failed in a row: ValueError: no␛[31m number"]
    assert len(heard.of("bad")) == 2
    assert sampler.tally().sources["bad"].errors == 11
    assert source.closed


def test_a_source_that_dies_says_why_and_the_others_go_on(sampler: Sampler, heard: Heard) -> None:
    def dies() -> Values:
        raise Gone("the GPU is lost")

    start(sampler, FakeSource("dying", dies), FakeSource("living", lambda: {"gpu_percent": 2.0}))
    until(lambda: bool(heard.absent("dying")))
    before = len(heard.of("living"))
    until(lambda: len(heard.of("living")) > before + 3)
    assert heard.absent("dying") == ["the GPU is lost"]


def test_a_source_that_hangs_is_said_once_and_holds_up_no_other(
    sampler: Sampler, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infertui.telemetry.sampler.SILENT_S", 0.2)
    go = threading.Event()

    def hangs() -> Values:
        go.wait(WITHIN_S)
        return {"gpu_percent": 1.0}

    start(sampler, FakeSource("hanging", hangs), FakeSource("living", lambda: {"gpu_percent": 2.0}))
    until(lambda: len(heard.of("living")) > 20)
    for _ in range(3):
        sampler.listen_for_silence()
    assert heard.absent("hanging") == ["it hangs: nothing came for 0.2 s"]
    assert not heard.absent("living")
    go.set()
    until(lambda: bool(heard.of("hanging")))


def test_sources_that_are_not_there_say_why(sampler: Sampler, heard: Heard) -> None:
    def explodes() -> Source:
        raise OSError("driver \x07 gone")

    openings: list[Callable[[], Source | Absent]] = [
        lambda: Absent(name="NVML", reason="no NVIDIA driver is loaded"),
        explodes,
        lambda: FakeSource("here", dict),
    ]
    sampler.start(iter(openings))
    ready = [each for each in heard.said if isinstance(each, Ready)]
    assert "here" in ready[0].sources
    assert heard.absent("NVML") == ["no NVIDIA driver is loaded"]
    assert heard.absent("a source") == ["OSError: driver ␇ gone"]


def test_a_look_tells_the_conditions_and_reads_every_source_once_more(sampler: Sampler, heard: Heard) -> None:
    start(sampler, FakeSource("rare", lambda: {"gpu_throttle": 8.0, "foreign_gpu_percent": 3.0}, period_s=4.0))
    until(lambda: len(heard.of("rare")) == 1)
    time.sleep(2.1)
    sampler.obey(Watch(elsewhere=True))
    sampler.obey(Look(timed=True))
    (looked,) = [each for each in heard.said if isinstance(each, Looked)]
    until(lambda: len(heard.of("rare")) == 2)
    assert looked.conditions.at_ns > 0
    assert looked.tally.sources["rare"].taken >= 1
    sampler.obey(Look(timed=False))
    looked = [each for each in heard.said if isinstance(each, Looked)][-1]
    assert looked.conditions.gpu_throttle == 8
    assert looked.conditions.foreign_gpu_percent == 3.0


# Who uses the CPUs.


def moment(at_s: float, busy_s: float, server_s: float | None, own_s: float, **each: float) -> Moment:
    key = {(pid, 1.0): (name, cpu_s) for pid, (name, cpu_s) in enumerate(each.items(), 100)}
    server_ns = None if server_s is None else int(server_s * 1e9)
    all_ns = int(4 * at_s * 1e9)  # four cores
    return Moment(
        at_ns=int(at_s * 1e9), busy_ns=int(busy_s * 1e9), all_ns=all_ns, server_ns=server_ns, own_ns=int(own_s * 1e9),
        each=key,
    )  # fmt: skip


def test_what_others_use_is_what_neither_the_server_nor_we_did() -> None:
    before, now = moment(10, 5, 1, 0.5), moment(12, 9, 3, 0.7)
    # 2 s on 4 cores are 8 s; 4 s were busy, 2 s of them the server's and 0.2 s ours
    assert now.foreign_percent(before) == pytest.approx(100 * 1.8 / 8)
    assert now.own_percent(before) == pytest.approx(100 * 0.2 / 8)
    assert msgspec.structs.replace(now, watched=1).own_percent(before) is None


def test_what_others_use_is_unknown_where_the_server_may_not_be_looked_into() -> None:
    assert moment(12, 9, None, 1).foreign_percent(moment(10, 5, None, 1)) is None
    other = msgspec.structs.replace(moment(12, 9, 1.5, 1), watched=1)
    assert other.foreign_percent(moment(10, 5, 1, 1)) is None  # another server since


def test_rounding_never_makes_others_use_less_than_nothing() -> None:
    assert moment(12, 5.1, 1.2, 0.5).foreign_percent(moment(10, 5, 1, 0.5)) == 0


def test_the_busiest_of_the_others_are_named_and_the_servers_are_not() -> None:
    before = moment(10, 0, 0, 0, chrome=1.0, server=5.0, idle=2.0, clang=0.0)
    now = moment(12, 0, 0, 0, chrome=2.5, server=7.0, idle=2.02, clang=0.4)
    found = now.busiest(before, frozenset({101}))
    assert [(each.name, each.cpu_percent) for each in found] == [("chrome", 75.0), ("clang", 20.0)]


# Counters.


def test_a_counter_becomes_its_growth_a_second_and_starts_anew_when_it_falls() -> None:
    rates = Rates()
    assert rates.of("a", 100, 1_000_000_000) is None
    assert rates.of("a", 150, 3_000_000_000) == 25
    assert rates.of("a", 10, 4_000_000_000) is None
    assert rates.of("a", 30, 5_000_000_000) == 20
    assert rates.of("a", None, 6_000_000_000) is None
    assert rates.of("a", 40, 7_000_000_000) is None
    assert rates.of("b", 1, 7_000_000_000) is None


def test_tallies_are_subtracted_and_added_source_by_source() -> None:
    one = Tally(sources={"a": Count(period_s=0.2, taken=10, missed=1)}, cpu_s=1.0, dropped=2)
    two = Tally(sources={"a": Count(period_s=0.2, taken=25, missed=4, errors=1), "b": Count(period_s=1, taken=3)})
    two.cpu_s, two.dropped = 1.5, 2
    grown = two.since(one)
    assert grown.sources["a"] == Count(period_s=0.2, taken=15, missed=3, errors=1)
    assert grown.sources["b"].taken == 3
    assert (grown.cpu_s, grown.dropped) == (0.5, 0)
    assert one.plus(grown) == two
    assert Tally().plus(grown) == grown


# The process.


def drive(work: Callable[[Sampling, list[Sample]], Any]) -> list[Sample]:
    async def main() -> None:
        sampling = Sampling(found.append)
        try:
            await work(sampling, found)
        finally:
            sampling.stop()

    found: list[Sample] = []
    asyncio.run(main())
    return found


async def gathered(sampling: Sampling, met: Callable[[], bool]) -> None:
    end = time.monotonic() + WITHIN_S
    while not met():
        assert time.monotonic() < end, "it did not come about"
        await asyncio.sleep(0.02)
        sampling.drain()


def test_a_real_sampler_measures_a_process_whose_load_is_known() -> None:
    burner = subprocess.Popen([sys.executable, "-c", "while True: pass"])

    async def work(sampling: Sampling, found: list[Sample]) -> None:
        sampling.watch([burner.pid])
        await sampling.ready()
        assert any("processes" in name for name in sampling.sources)
        await sampling.look(timed=True)
        count = len(found)
        await gathered(sampling, lambda: len(found) > count + 10)
        looked = await sampling.look(timed=False)
        assert looked is not None
        assert burner.pid not in {each.pid for each in looked.conditions.foreign}

    try:
        found = drive(work)
    finally:
        burner.kill()
        burner.wait()
    cpu = [(s.at_ns, s.values["server_cpu_ns"]) for s in found if s.values.get("server_cpu_ns")]
    (start_ns, before), (end_ns, after) = cpu[0], cpu[-1]
    assert before is not None
    assert after is not None
    spent, took = after - before, end_ns - start_ns
    assert 0.05 * took < spent < 1.02 * took  # one core at most, and some of it however busy this machine is
    rates = [s.values["server_cpu_percent"] for s in found if s.values.get("server_cpu_percent") is not None]
    assert all(rate is not None and 0 <= rate < 160 for rate in rates)
    assert {key for sample in found for key in sample.values} <= set(SERIES)
    assert any(sample.values.get("ram_used_bytes") for sample in found)


def test_another_programs_load_is_seen_and_named() -> None:
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])

    async def work(sampling: Sampling, found: list[Sample]) -> None:
        sampling.watch((), elsewhere=True)
        await sampling.ready()
        await sampling.look(timed=True)
        await asyncio.sleep(0.6)
        looked = await sampling.look(timed=False)
        assert looked is not None
        seen = looked.conditions
        # It is a child of this test, which is the sampler's owner, and so counted as ours: the process is not named.
        assert other.pid not in {each.pid for each in seen.foreign}
        assert seen.foreign_cpu_percent is not None

    async def stranger(sampling: Sampling, found: list[Sample]) -> None:
        await sampling.ready()
        sampling._order(Watch(own=(sampling.pid,), elsewhere=True))
        await sampling.look(timed=True)
        await asyncio.sleep(0.6)
        looked = await sampling.look(timed=False)
        assert looked is not None
        seen = looked.conditions
        assert other.pid in {each.pid for each in seen.foreign}
        assert seen.foreign_cpu_percent is not None
        assert seen.foreign_cpu_percent > 1

    try:
        drive(work)
        drive(stranger)
    finally:
        other.kill()
        other.wait()


def test_where_the_server_may_not_be_looked_into_nobody_else_is_accused() -> None:
    server = subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True)

    async def work(sampling: Sampling, found: list[Sample]) -> None:
        await sampling.ready()
        sampling.watch((), own=(sampling.pid,))  # it is here, and belongs to another user
        await sampling.look(timed=True)
        await asyncio.sleep(0.5)
        looked = await sampling.look(timed=False)
        assert looked is not None
        assert (looked.conditions.foreign_cpu_percent, looked.conditions.foreign) == (None, ())

    try:
        drive(work)
    finally:
        server.kill()
        server.wait()


def test_a_sampler_that_does_not_answer_is_as_good_as_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infertui.telemetry.sampling.LOOK_S", 0.3)

    async def work(sampling: Sampling, found: list[Sample]) -> None:
        await sampling.ready()
        os.kill(sampling.pid, signal.SIGSTOP)
        assert await sampling.look(timed=True) is None
        assert sampling.dead == "the sampler did not answer within 0.3 s"

    drive(work)


def test_who_is_watched_next_gets_no_reading_and_no_growth_of_who_was_watched_before() -> None:
    spin = "import time\nwhile time.process_time() < {}: pass\nprint('x', flush=True)\ntime.sleep(60)"
    little, much = (
        subprocess.Popen([sys.executable, "-c", spin.format(each)], stdout=subprocess.PIPE) for each in (0.1, 1.5)
    )

    async def work(sampling: Sampling, found: list[Sample]) -> None:
        await sampling.ready()
        sampling.watch([little.pid])
        await gathered(sampling, lambda: sum("server_cpu_ns" in each.values for each in found) > 3)
        count = len(found)
        sampling.watch([much.pid])
        await gathered(sampling, lambda: sum("server_cpu_ns" in each.values for each in found[count:]) > 3)
        after = [each.values for each in found[count:] if "server_cpu_ns" in each.values]
        assert all((values["server_cpu_ns"] or 0) > 1e9 for values in after)
        assert all((values["server_cpu_percent"] or 0) < 50 for values in after)

    try:
        for each in (little, much):
            assert each.stdout is not None
            each.stdout.readline()
        drive(work)
    finally:
        for each in (little, much):
            each.kill()
            each.communicate()


def test_a_sampler_that_is_killed_says_nothing_more_and_nobody_waits_for_it() -> None:
    async def work(sampling: Sampling, found: list[Sample]) -> None:
        await sampling.ready()
        os.kill(sampling.pid, signal.SIGKILL)
        await gathered(sampling, lambda: bool(sampling.dead))
        assert sampling.dead == "the sampler died (signal 9)"
        assert await sampling.look(timed=True) is None
        sampling.watch([1])
        sampling.drain()

    drive(work)


def test_a_sampler_that_cannot_even_start_says_why_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(sampling: Sampling, found: list[Sample]) -> None:
        await sampling.ready()
        assert sampling.dead.startswith("the sampler died (exit code 1: ")
        assert "No module named infertui.telemetry.nothing" in sampling.dead

    monkeypatch.setattr("infertui.telemetry.sampling.MODULE", "infertui.telemetry.nothing")
    drive(work)


def test_a_sampler_ends_with_its_owner_by_whatever_end(tmp_path: Path) -> None:
    code = """
import os, time
from infertui.telemetry.sampling import Sampling
print(Sampling(lambda sample: None).pid, flush=True)
time.sleep(60)
"""
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    os.kill(pid, 0)
    owner.kill()
    owner.communicate()

    def gone() -> bool:
        try:
            with open(f"/proc/{pid}/stat") as file:
                return file.read().rpartition(")")[2].split()[0] == "Z"
        except FileNotFoundError:
            return True

    if sys.platform == "linux":
        until(gone)


def test_what_nobody_reads_is_dropped_and_counted_and_the_rest_stays_whole() -> None:
    reading, writing = os.pipe()
    out = Out(writing)
    sample = Sample(source="x", at_ns=1, values={"gpu_percent": 1.5})
    kept = sum(out.say(sample) for _ in range(10_000))
    assert kept < 10_000
    assert not out.say(sample)
    assert out.say(Ready(sources=("x",)))  # what is waited for is kept
    os.set_blocking(reading, False)
    read = b""
    while True:
        try:
            read += os.read(reading, 1 << 20)
        except BlockingIOError:
            if not out._rest:
                break
            out.say(sample)  # what was held back goes out with the next
    os.close(reading)
    os.close(writing)
    *lines, rest = read.split(b"\n")
    assert rest == b""
    said = [msgspec.json.decode(line, type=Said) for line in lines]
    assert sum(isinstance(each, Sample) for each in said) >= kept
    assert sum(isinstance(each, Ready) for each in said) == 1


def test_a_reader_that_is_gone_costs_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    Out(writing).say(Ready(sources=()))
    os.close(writing)
