"""What a run takes of its machine, as it is seen, judged, kept and shown: with the real sampler and with a fake."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from array import array
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from infertui.bench import Asked, execute
from infertui.client.wire import Target
from infertui.condition import Busy, Conditions, Tolerated
from infertui.event import Event, Observed, RunEnded, Sampled, Waited
from infertui.metric import CallRecord
from infertui.mock import Server
from infertui.profile import Profile
from infertui.result import Report, stored
from infertui.sample import Absent, Count, Sample, Tally
from infertui.scenario.base import Params
from infertui.stats import Distribution
from infertui.store import Store, Writer
from infertui.telemetry.sampler import Looked
from infertui.usage import Cost
from tests.conftest import Command

Serve = Callable[..., Server]
QUICK = ("--model", "mock", "-n", "3", "--max-tokens", "8")


@pytest.fixture
def busy() -> Iterator[int]:
    """A process that uses a core, and is neither the server's nor InferTUI's."""
    # Its parent is gone: the mock server runs in this very process, and a child of it would be the server's.
    code = f"{sys.executable} -c 'while True: pass' >/dev/null 2>&1 & echo $!"
    pid = int(subprocess.run(["sh", "-c", code], stdout=subprocess.PIPE, check=True).stdout)
    yield pid
    os.kill(pid, signal.SIGKILL)


def settings(infertui: Command, text: str) -> None:
    Path(infertui.environment["INFERTUI_HOME"], "settings.toml").write_text(text)


def events(ran: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in ran.stdout.splitlines()]


# With the real sampler.


def test_samples_are_kept_on_the_clock_of_the_calls(infertui: Command, served: Serve) -> None:
    url = served(tokens=60, gap_ms=10).address
    infertui.run_json("--attach", url, "--model", "mock", "-n", "2", "--max-tokens", "60")
    with Store(infertui.db, write=False) as store:
        samples, calls = store.samples(1), store.calls(1)
        clock_ns = store.run("1").clock_ns
    measured = [call for call in calls if call.role == "measured"]
    low, high = min(call.sched_ns for call in measured), max(call.end_ns or 0 for call in measured)
    within = [sample for sample in samples if low <= sample.at_ns <= high]
    assert len(within) >= 3
    assert all(sample.at_ns > clock_ns for sample in samples)
    assert all(sample.since_ns is None or sample.since_ns < sample.at_ns for sample in samples)
    assert any("machine_cpu_percent" in sample.values for sample in within)


@pytest.mark.skipif(sys.platform != "linux", reason="macOS tells this of the user's own processes by other ways")
def test_what_an_attached_server_uses_is_found_by_its_port(infertui: Command, served: Serve) -> None:
    url = served(tokens=60, gap_ms=10).address
    run = infertui.run_json("--attach", url, "--model", "mock", "-n", "3", "--max-tokens", "60")
    metrics = run["metrics"]
    own = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    memory = metrics["server_private_bytes"]["mean"] + metrics["server_mapped_bytes"]["mean"]
    assert memory == pytest.approx(own, rel=0.2)  # it is served by this very process
    assert metrics["server_cpu_percent"]["mean"] > 0
    assert metrics["first_token_memory_bytes"]["n"] == 3
    assert run["limits"] is not None
    assert run["telemetry"]["sampling_percent"] > 0
    assert run["telemetry"]["server"].endswith(f"(pid {os.getpid()})")
    assert len(run["telemetry"]["conditions"]) == 1
    sampling = run["telemetry"]["sampling"]["sources"]
    assert all(each["taken"] > 0 for each in sampling.values())


def test_the_table_tells_server_machine_and_limit_and_show_draws_the_samples(infertui: Command, served: Serve) -> None:
    url = served(tokens=60, gap_ms=5).address
    ran = infertui("run", "--attach", url, "--model", "mock", "-n", "3", "--max-tokens", "60")
    for text in ("server  CPU", "machine CPU", "of a core", "limit   ", "sampled processes"):
        assert text in ran.stdout
    shown = infertui("show", "last")
    assert "CPU %" in shown.stdout
    assert "round 1" in shown.stdout
    assert "tokens/s" in shown.stdout
    without = infertui("show", "last", "--no-chart").stdout
    assert "round 1" not in without
    assert "server  CPU" in without


def test_without_samples_nothing_is_sampled_and_nothing_is_said_to_be_known(infertui: Command, served: Serve) -> None:
    run = infertui.run_json("--attach", served(tokens=8).address, *QUICK, "--no-samples")
    assert run["limits"] is None
    assert run["telemetry"]["sources"] == []
    assert "server_cpu_percent" not in run["metrics"]
    with Store(infertui.db, write=False) as store:
        assert store.samples(1) == []
    assert "CPU %" not in infertui("show", "last").stdout


def test_a_busy_machine_is_waited_for_with_its_reason_and_then_the_run_is_suspicious(
    infertui: Command, served: Serve, busy: int
) -> None:
    settings(infertui, "[conditions]\nforeign_process_percent = 5\nforeign_cpu_percent = 5\n")
    ran = infertui("run", "--attach", served(tokens=8).address, *QUICK, "--wait", "2", "--events")
    said = events(ran)
    waited = [each for each in said if each["event"] == "waited"]
    assert [each["left_s"] for each in waited] == pytest.approx([2, 1], abs=0.3)
    assert {each["cause"] for each in waited} == {"foreign_cpu"}
    assert "python" in waited[0]["reason"]
    assert "other programs use" in waited[0]["reason"]
    looked = [each["when"] for each in said if each["event"] == "observed"]
    assert looked == ["before", "after"]
    ended = next(each for each in said if each["event"] == "run_ended")
    doubts = {doubt["key"]: doubt["level"] for doubt in ended["summary"]["doubts"]}
    assert doubts["foreign_cpu"] == "suspicious"
    assert ended["summary"]["valid"]
    shown = infertui("show", "last").stdout
    assert "! suspicious: other programs" in shown
    assert "waited 2 s for the machine" in shown
    assert "suspicious" in infertui("list").stdout


def test_progress_says_what_is_waited_for_and_how_long(infertui: Command, served: Serve, busy: int) -> None:
    settings(infertui, "[conditions]\nforeign_process_percent = 5\nwait_s = 1\n")
    ran = infertui("run", "--attach", served(tokens=8).address, *QUICK)
    (line,) = [line for line in ran.stderr.splitlines() if "waits" in line]
    assert line.startswith("run 1 waits, 1 s at most (--wait 0: not at all): other programs use")


def test_ctrl_c_ends_the_wait(infertui: Command, served: Serve, busy: int) -> None:
    settings(infertui, "[conditions]\nforeign_process_percent = 5\nwait_s = 600\n")
    with infertui.start("run", "--attach", served(tokens=8).address, *QUICK) as run:
        assert run.stderr is not None
        for line in run.stderr:
            if "waits" in line:
                break
        run.send_signal(signal.SIGINT)
        out, _ = run.communicate(timeout=30)
    assert run.returncode == 130
    assert "stopped" in out


def children(pid: int) -> dict[int, str]:
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid:
                found[int(place.name)] = (place / "cmdline").read_text()
        except OSError:
            continue
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_sampler_that_is_killed_costs_its_samples_alone(infertui: Command, served: Serve) -> None:
    url = served(tokens=100, gap_ms=10).address
    flags = ("--model", "mock", "-n", "2", "--rounds", "2", "--max-tokens", "100", "--json")
    with infertui.start("run", "--attach", url, *flags) as run:
        assert run.stderr is not None
        for line in run.stderr:
            if "round 1" in line:
                break
        (sampler,) = [pid for pid, command in children(run.pid).items() if "telemetry.sampler" in command]
        os.kill(sampler, signal.SIGKILL)
        out, _ = run.communicate(timeout=60)
    assert run.returncode == 0
    (report,) = json.loads(out)["runs"]
    assert report["metrics"]["success_rate"] == 1
    assert any("the sampler died (signal 9)" in warning for warning in report["warnings"])
    with Store(infertui.db, write=False) as store:
        calls = [call for call in store.calls(1) if call.round == 2 and call.role == "measured"]
        after = [sample for sample in store.samples(1) if sample.at_ns > min(call.sched_ns for call in calls)]
    assert any("server_private_bytes" in sample.values for sample in after)  # another one watches the same server


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_sampler_that_is_stopped_in_its_tracks_holds_up_no_run(infertui: Command, served: Serve) -> None:
    url = served(tokens=100, gap_ms=10).address
    with infertui.start("run", "--attach", url, "--model", "mock", "-n", "1", "--max-tokens", "100") as run:
        assert run.stderr is not None
        for line in run.stderr:
            if "round 1" in line:
                break
        (sampler,) = [pid for pid, command in children(run.pid).items() if "telemetry.sampler" in command]
        os.kill(sampler, signal.SIGSTOP)
        run.communicate(timeout=60)
    assert run.returncode == 0
    assert not Path(f"/proc/{sampler}").exists()
    (report,) = infertui.json("show", "last")["runs"]
    assert any("the sampler did not answer" in warning for warning in report["warnings"])


def test_a_run_that_is_cut_off_keeps_what_spoke_against_it(infertui: Command, served: Serve, busy: int) -> None:
    settings(infertui, "[conditions]\nforeign_process_percent = 5\nwait_s = 0\n")
    url = served(tokens=100, gap_ms=10).address
    with infertui.start("run", "--attach", url, "--model", "mock", "-n", "9", "--max-tokens", "100") as run:
        assert run.stderr is not None
        for line in run.stderr:
            if "round 1" in line:
                break
        time.sleep(1)
        run.kill()
    (report,) = infertui.json("show", "last")["runs"]
    assert report["status"] == "interrupted"
    assert report["suspicious"]
    assert [each["before"]["foreign"] != [] for each in report["telemetry"]["conditions"]] in ([], [True])
    assert report["telemetry"]["sources"]


def test_what_happened_in_the_last_block_of_a_run_that_was_cut_off_is_judged_when_it_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "results.db"
    call = CallRecord(
        name="r1-001", role="measured", round=1, lane=0, kind="router", prompt_id="p", prompt_hash="h", max_tokens=8,
        sched_ns=10**9, send_ns=10**9, end_ns=9 * 10**9, last_ns=9 * 10**9,
    )  # fmt: skip
    told = [
        Sample(source="m", at_ns=at * 10**9, since_ns=(at - 1) * 10**9, values={"foreign_cpu_percent": 40.0})
        for at in range(2, 9)
    ]
    with Store(path) as store:
        experiment, _ = store.add_experiment(b"{}")
        ids = {
            "machine_id": store.add_machine("m", b"{}"),
            "server_id": store.add_server("s", "openai", "n", "u", b"{}"),
        }
        run = store.add_run(experiment_id=experiment, scenario="single", model="m", **ids)
        writer = Writer(path)
        writer.call(run, call, (array("I"), array("I"), array("I")), b"[]", ("", ""))
        writer.samples(run, told)
        writer.close()
        assert stored(store, "last").summary.doubts == ()  # it is still running: its runner will judge
        store.mark_interrupted([run])
        (doubt,) = stored(store, "last").summary.doubts
    assert (doubt.key, doubt.level) == ("foreign_cpu", "suspicious")
    assert "40 % of all cores" in doubt.text


def test_a_model_that_rested_for_too_long_is_warmed_up_again(
    tmp_path: Path, served: Serve, fake: type[FakeSampling], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infertui.bench.work.COOLS", True)
    hot, cool = Conditions(thermal_level=2), Conditions(thermal_level=0)
    fake.conditions = (hot, hot, cool)
    url = served(tokens=8).address
    measured(tmp_path, url, Tolerated(wait_s=60, idle_power_s=0, idle_gap_s=0.5))
    with Store(tmp_path / "results.db") as store:
        calls = store.calls(1)
    assert [call.role for call in calls] == ["warmup", "warmup", *["measured"] * 3]
    first = next(call for call in calls if call.role == "measured")
    assert first.idle_ms is not None
    assert first.idle_ms < 500


def test_no_meter_no_electricity_and_that_is_said(tmp_path: Path, served: Serve, fake: type[FakeSampling]) -> None:
    fake.values = {"machine_cpu_percent": 10.0}
    cost = Cost(electricity_usd_per_kwh=0.3, usd_per_hour=2.0)
    report, _, _ = measured(tmp_path, served(tokens=40, gap_ms=5).address, cost=cost)
    assert any("no meter of power is known" in warning for warning in report.summary.warnings)
    assert value(report, "rent_cost_mtok") > 0


# With a fake sampler, whose machine is as a test wants it.


class FakeSampling:
    """Says at each drain what it was made to say: power of two meters, conditions one after the other."""

    conditions: tuple[Conditions, ...] = (Conditions(),)
    values: dict[str, float] = {}  # noqa: RUF012

    def __init__(self, on_sample: Callable[[Sample], None]) -> None:
        self.on_sample = on_sample
        self.sources = ("fake meter",)
        self.absent: dict[str, Absent] = {}
        self.dead = ""
        self.since: int | None = None
        self.left = list(self.conditions)
        self.watched: list[tuple[int, ...]] = []

    def watch(self, roots: Any, adopters: Any = (), elsewhere: bool = False) -> None:
        self.watched.append(tuple(roots))

    async def ready(self) -> None: ...

    def drain(self) -> None:
        now = time.perf_counter_ns()
        if self.since is None or now - self.since > 2e7:
            self.on_sample(Sample(source="fake meter", at_ns=now, since_ns=self.since, values=dict(self.values)))
            self.since = now

    async def look(self, timed: bool) -> Looked:
        self.drain()
        await asyncio.sleep(0)
        seen = self.left.pop(0) if len(self.left) > 1 else self.left[0]
        return Looked(conditions=seen, tally=Tally(sources={"fake meter": Count(period_s=0.02, taken=1)}))

    def stop(self) -> None: ...


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeSampling]:
    class Fake(FakeSampling):
        pass

    monkeypatch.setattr("infertui.bench.observer.Sampling", Fake)
    return Fake


def measured(
    tmp_path: Path, url: str, tolerated: Tolerated | None = None, **more: Any
) -> tuple[Report, Report, list[Event]]:
    """A run of three calls in this process: its report, the one out of the database, its events."""
    profile = Profile(kind="openai", name="mock", address=Target(url).url, start=False, model="mock")
    calm = Tolerated(wait_s=0, idle_power_s=0)
    params = Params(requests=3, max_tokens=40)
    asked = Asked(servers=(profile,), scenario="single", params=params, tolerated=tolerated or calm, **more)
    said: list[Event] = []
    with Store(tmp_path / "results.db") as store:
        (report,) = execute(asked, store, said.append)
        return report, stored(store, "last"), said


def value(report: Report, key: str) -> Any:
    return report.summary.metrics[key]


def test_energy_is_of_the_measured_rounds_gross_and_above_idle(
    tmp_path: Path, served: Serve, fake: type[FakeSampling]
) -> None:
    fake.values = {"gpu_power_w": 50.0, "system_power_w": 80.0}
    url = served(tokens=40, gap_ms=5).address
    report, again, said = measured(tmp_path, url, Tolerated(wait_s=0, idle_power_s=0.7))
    joules, wall_s = value(report, "energy_j"), value(report, "wall_s")
    assert joules == pytest.approx(50 * wall_s, rel=0.06)
    assert value(report, "joules_per_token") == pytest.approx(joules / 120)
    assert value(report, "tokens_per_wh") == pytest.approx(120 * 3600 / joules)
    assert value(report, "idle_power_w") == pytest.approx(50)
    assert value(report, "net_joules_per_token") is None  # it was no higher than when idle
    assert [each.label for each in report.summary.energy] == ["gpu", "system"]
    assert [each.reason for each in said if isinstance(each, Waited)] == ["measuring the power when idle"]
    assert again.summary == report.summary


def test_power_that_was_known_too_shortly_gives_no_energy_and_says_so(
    tmp_path: Path, served: Serve, fake: type[FakeSampling], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(sampling: FakeSampling) -> None:
        sampling.values = {"gpu_power_w": 50.0} if time.perf_counter() % 1 < 0.5 else {}
        FakeSampling.drain(sampling)

    monkeypatch.setattr(fake, "drain", fails)
    report, _, _ = measured(tmp_path, served(tokens=80, gap_ms=10).address)
    assert value(report, "joules_per_token") is None
    (energy,) = report.summary.energy
    assert energy.joules is None
    assert 0 < energy.coverage < 0.95
    assert any("no energy figure" in warning for warning in report.summary.warnings)


def test_prices_are_those_of_the_settings_when_a_run_is_shown(
    tmp_path: Path, served: Serve, fake: type[FakeSampling], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFERTUI_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home/settings.toml").write_text("[cost]\nelectricity_usd_per_kwh = 0.6\n")
    fake.values = {"gpu_power_w": 100.0}
    cost = Cost(electricity_usd_per_kwh=0.3, usd_per_hour=2.0)
    report, again, _ = measured(tmp_path, served(tokens=40, gap_ms=10).address, cost=cost)
    each = value(report, "joules_per_token")
    assert value(report, "electricity_cost_mtok") == pytest.approx(each / 3.6e6 * 0.3 * 1e6)
    assert value(report, "rent_cost_mtok") == pytest.approx(2.0 * value(report, "wall_s") / 3600 / 120 * 1e6)
    assert value(again, "electricity_cost_mtok") == pytest.approx(2 * value(report, "electricity_cost_mtok"))
    assert "rent_cost_mtok" not in again.summary.metrics


def test_a_machine_that_calms_down_is_measured_without_a_doubt(
    tmp_path: Path, served: Serve, fake: type[FakeSampling]
) -> None:
    hot, cool = Conditions(thermal_level=2), Conditions(thermal_level=0)
    fake.conditions = (hot, hot, cool)
    report, _, said = measured(tmp_path, served(tokens=8).address, Tolerated(wait_s=60, idle_power_s=0))
    waited = [each for each in said if isinstance(each, Waited)]
    assert [each.left_s for each in waited] == pytest.approx([60, 59], abs=0.3)
    assert all("the machine is hot" in each.reason for each in waited)
    assert report.summary.doubts == ()
    assert report.telemetry.waited_s == pytest.approx(2, abs=0.3)
    seen = [(each.when, each.conditions.thermal_level) for each in said if isinstance(each, Observed)]
    assert seen == [("before", 0), ("after", 0)]


def test_what_no_waiting_mends_is_not_waited_for(tmp_path: Path, served: Serve, fake: type[FakeSampling]) -> None:
    fake.conditions = (Conditions(on_battery=True, battery_percent=40.0),)
    report, again, said = measured(tmp_path, served(tokens=8).address, Tolerated(wait_s=60, idle_power_s=0))
    assert not [each for each in said if isinstance(each, Waited)]
    assert [doubt.key for doubt in report.summary.doubts] == ["battery"]
    assert report.summary.suspicious
    assert again.summary.doubts == report.summary.doubts


def test_a_load_that_comes_during_a_block_is_found_afterwards(
    tmp_path: Path, served: Serve, fake: type[FakeSampling]
) -> None:
    chrome = Busy(name="chrome", pid=9, cpu_percent=150.0)
    fake.conditions = (Conditions(), Conditions(foreign=(chrome,)))
    report, _, _ = measured(tmp_path, served(tokens=8).address)
    (doubt,) = report.summary.doubts
    assert (doubt.key, doubt.level) == ("foreign_cpu", "suspicious")
    assert "chrome 150 %" in doubt.text


def test_a_machine_that_slept_meanwhile_is_marked(tmp_path: Path, served: Serve, fake: type[FakeSampling]) -> None:
    fake.conditions = (Conditions(asleep_ns=5_000_000_000), Conditions(asleep_ns=17_000_000_000))
    report, _, _ = measured(tmp_path, served(tokens=8).address)
    (doubt,) = report.summary.doubts
    assert doubt.level == "suspicious"
    assert "slept for 12 s" in doubt.text


def test_what_is_sampled_is_told_as_it_comes(tmp_path: Path, served: Serve, fake: type[FakeSampling]) -> None:
    fake.values = {"gpu_percent": 42.0}
    _, _, said = measured(tmp_path, served(tokens=40, gap_ms=10).address)
    told = [each for each in said if isinstance(each, Sampled)]
    assert len(told) >= 3
    assert all(each.values["gpu_percent"] == 42 for each in told)
    assert isinstance(said[-1], RunEnded)


def test_the_pause_before_a_call_is_kept_with_it(tmp_path: Path, served: Serve, fake: type[FakeSampling]) -> None:
    measured(tmp_path, served(tokens=8).address, Tolerated(wait_s=0, idle_power_s=0))
    with Store(tmp_path / "results.db") as store:
        calls: list[CallRecord] = store.calls(1)
    assert calls[0].idle_ms is None
    for before, call in pairwise(calls):
        assert call.idle_ms is not None
        assert before.end_ns is not None
        assert call.send_ns is not None
        assert call.idle_ms == pytest.approx((call.send_ns - before.end_ns) / 1e6, abs=0.001)


def test_calls_at_once_have_no_pause_before_them(infertui: Command, served: Serve) -> None:
    url = served(tokens=20).address
    flags = ("--scenario", "concurrent", "-c", "3", "-n", "6", "--no-alone", "--max-tokens", "20")
    run = infertui.run_json("--attach", url, "--model", "mock", *flags)
    idle = run["metrics"]["idle_ms"]
    assert isinstance(idle, dict)
    assert idle["n"] <= 2  # the first of the round, and one after which by chance nothing was under way
    assert Distribution(**idle).n == idle["n"]


def test_a_server_with_too_few_slots_is_told_to_be_limited_by_them(infertui: Command, served: Serve) -> None:
    url = served(tokens=40, gap_ms=5, slots=1).address
    flags = ("--scenario", "concurrent", "-c", "4", "-n", "8", "--max-tokens", "40", "--alone")
    run = infertui.run_json("--attach", url, "--model", "mock", *flags)
    assert "slots" in run["limits"]
    assert any(why.startswith("slots: ") and "queue" in why for why in run["limits_why"])
