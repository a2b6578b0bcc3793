"""macmon's lines in all its versions and faults, by hand; and a fake macmon, a script that prints them."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from infertui.sample import SERIES, Absent
from infertui.telemetry import macmon
from infertui.telemetry.macmon import Channels, Macmon, metrics_of
from infertui.telemetry.source import Gone

S = 1_000_000_000
HALF = S // 2

MEMORY = {"ram_total": 38654705664, "ram_usage": 27917287424, "swap_total": 0, "swap_usage": 0}
HEALTHY: dict[str, Any] = {
    "all_power": 28.428,
    "ane_power": 0.0,
    "cpu_active_ratio": 0.21,
    "cpu_power": 4.31,
    "cpu_scaled_ratio": 0.17,
    "cpu_usage_pct": 0.17,
    "ecpu_freq_mhz": 1620,
    "ecpu_usage": [1620, 0.22],
    "fans": [{"max_rpm": None, "name": "fan0", "rpm": 2317}],
    "gpu_active_ratio": 0.99,
    "gpu_freq_mhz": 1578,
    "gpu_power": 24.118,
    "gpu_ram_power": 0.0,
    "gpu_scaled_ratio": 0.98,
    "gpu_usage": [1578, 0.98],
    "memory": MEMORY,
    "pcpu_freq_mhz": 2204,
    "ram_power": 2.87,
    "sys_power": 48.52,
    "temp": {"cpu_temp_avg": 71.3, "gpu_temp_avg": 74.9},
    "timestamp": "2026-11-20T20:38:15.427569+00:00",
}
DEAD = HEALTHY | {"cpu_power": 0.0, "ram_power": 0.0, "all_power": 24.118}
OLD: dict[str, Any] = {
    "all_power": 28.4,
    "ane_power": 0.0,
    "cpu_power": 4.3,
    "cpu_usage_pct": 0.17,
    "ecpu_usage": [1620, 0.22],
    "gpu_power": 24.1,
    "gpu_ram_power": 0.0,
    "gpu_usage": [1578, 0.98],
    "memory": MEMORY,
    "pcpu_usage": [2204, 0.15],
    "ram_power": 2.9,
    "sys_power": 52.1,
    "temp": {"cpu_temp_avg": 71.3, "gpu_temp_avg": 74.9},
    "timestamp": "2026-05-20T20:38:15.427569+00:00",
}


def one(line: dict[str, Any], **changed: Any) -> dict[str, float | None]:
    return Channels().values(line | changed, 0)


def every(channels: Channels, *lines: dict[str, Any]) -> list[dict[str, float | None]]:
    """What lines give that come twice a second."""
    return [channels.values(line, at * HALF) for at, line in enumerate(lines)]


# Lines.


def test_a_healthy_line_gives_every_reading() -> None:
    assert one(HEALTHY) == {
        "cpu_power_w": 4.31,
        "gpu_power_w": 24.118,
        "soc_power_w": 28.428,
        "system_power_w": 48.52,
        "gpu_percent": 99.0,
        "gpu_clock_mhz": 1578.0,
        "cpu_temperature_c": 71.3,
        "gpu_temperature_c": 74.9,
    }
    assert set(one(HEALTHY)) <= set(SERIES)


def test_a_line_of_an_old_version_gives_the_same_by_its_own_names() -> None:
    channels = Channels()
    values = channels.values(OLD, 0)
    assert values["gpu_percent"] == 98.0
    assert values["gpu_clock_mhz"] == 1578.0
    assert values["soc_power_w"] == 28.4
    assert values["system_power_w"] == 52.1
    assert channels.gpu_field == "gpu_usage"


@pytest.mark.parametrize(
    ("names", "field", "percent"),
    [
        (("gpu_active_ratio", "gpu_scaled_ratio", "gpu_usage"), "gpu_active_ratio", 99.0),
        (("gpu_scaled_ratio", "gpu_usage"), "gpu_scaled_ratio", 98.0),
        (("gpu_usage_ratio", "gpu_usage"), "gpu_usage_ratio", 97.0),
        (("gpu_usage",), "gpu_usage", 98.0),
        ((), "", None),
    ],
)
def test_the_best_name_for_the_share_of_the_gpu_is_used_and_kept(
    names: tuple[str, ...], field: str, percent: float | None
) -> None:
    shares = ("gpu_active_ratio", "gpu_scaled_ratio", "gpu_usage_ratio", "gpu_usage")
    line = {key: value for key, value in (HEALTHY | {"gpu_usage_ratio": 0.97}).items() if key not in shares}
    line |= {name: (HEALTHY | {"gpu_usage_ratio": 0.97})[name] for name in names}
    channels = Channels()
    assert channels.values(line, 0)["gpu_percent"] == percent
    assert channels.gpu_field == field


def test_an_idle_gpu_is_at_0_percent_but_has_no_clock() -> None:
    values = one(HEALTHY, gpu_active_ratio=0.0, gpu_freq_mhz=0)
    assert (values["gpu_percent"], values["gpu_clock_mhz"]) == (0.0, None)


@pytest.mark.parametrize("nothing", [0.0, 0, None, "12", True, -1.0, float("nan"), float("inf")])
def test_what_is_no_power_is_unknown(nothing: Any) -> None:
    assert one(HEALTHY, cpu_power=nothing)["cpu_power_w"] is None
    assert one(HEALTHY, gpu_power=nothing)["gpu_power_w"] is None
    assert one(HEALTHY, all_power=nothing)["soc_power_w"] is None
    assert one(HEALTHY, sys_power=nothing)["system_power_w"] is None


def test_no_sensor_is_no_temperature() -> None:
    cold = one(HEALTHY, temp={"cpu_temp_avg": 0.0, "gpu_temp_avg": None})
    assert (cold["cpu_temperature_c"], cold["gpu_temperature_c"]) == (None, None)
    assert one(HEALTHY, temp=None)["cpu_temperature_c"] is None


def test_a_chip_without_the_cpu_in_its_sum_is_unknown_from_the_first_line() -> None:
    values = one(DEAD)
    assert (values["cpu_power_w"], values["soc_power_w"]) == (None, None)
    assert (values["gpu_power_w"], values["system_power_w"]) == (24.118, 48.52)
    assert one(HEALTHY, cpu_power=None)["soc_power_w"] is None


def test_the_sum_may_lack_a_gpu_that_idles_but_not_one_that_works() -> None:
    assert one(HEALTHY, gpu_power=0.0, gpu_active_ratio=0.05, all_power=4.31)["soc_power_w"] == 4.31
    assert one(HEALTHY, gpu_power=0.0, gpu_active_ratio=0.06, all_power=4.31)["soc_power_w"] is None
    assert one(HEALTHY, gpu_power=None, gpu_active_ratio=0.0, all_power=4.31)["soc_power_w"] is None


def test_the_chips_own_sum_is_not_taken_for_the_whole_machine() -> None:
    values = one(HEALTHY, sys_power=28.428)
    assert (values["soc_power_w"], values["system_power_w"]) == (28.428, None)


# Channels that are dead, and values that stand still.


def varied(line: dict[str, Any], count: int, **changed: Any) -> list[dict[str, Any]]:
    """Lines whose powers differ a little, as those of a live machine do, but for what is given."""
    powers = ("cpu_power", "gpu_power", "all_power", "sys_power")
    return [line | {key: line[key] + at / 1000 for key in powers if line[key]} | changed for at in range(count)]


def test_a_cpu_that_works_at_0_watts_for_5_seconds_is_dead_for_good() -> None:
    channels = Channels()
    lines = varied(DEAD, 11)
    every(channels, *lines[:10])  # 4.5 s
    assert channels.missing == {}
    channels.values(lines[10], 5 * S)
    assert set(channels.missing) == {"cpu_power_w", "soc_power_w"}
    assert "0 W for the CPU" in channels.missing["cpu_power_w"]
    assert "lacks the CPU" in channels.missing["soc_power_w"]
    later = channels.values(HEALTHY, 100 * S)
    assert (later["cpu_power_w"], later["soc_power_w"]) == (None, None)
    assert (later["gpu_power_w"], later["system_power_w"]) == (24.118, 48.52)
    assert set(channels.missing) == {"cpu_power_w", "soc_power_w"}


def test_a_gpu_that_works_at_0_watts_for_5_seconds_is_dead_with_the_sum() -> None:
    channels = Channels()
    every(channels, *varied(HEALTHY, 11, gpu_power=0.0))
    assert set(channels.missing) == {"gpu_power_w", "soc_power_w"}
    later = channels.values(HEALTHY, 100 * S)
    assert (later["gpu_power_w"], later["soc_power_w"], later["cpu_power_w"]) == (None, None, 4.31)


@pytest.mark.parametrize("between", [{"cpu_power": 0.1}, {"cpu_active_ratio": 0.05}, {"cpu_power": None}])
def test_one_line_in_between_that_says_otherwise_begins_the_5_seconds_anew(between: dict[str, Any]) -> None:
    lines = varied(DEAD, 22)
    lines[10] |= between
    channels = Channels()
    every(channels, *lines[:21])  # 4.5 s, the one in between, 4.5 s
    assert channels.missing == {}
    channels.values(lines[21], 21 * HALF)
    assert "cpu_power_w" in channels.missing


def test_an_idle_machine_at_0_watts_is_not_dead() -> None:
    channels = Channels()
    every(channels, *varied(DEAD, 30, cpu_active_ratio=0.02))
    assert channels.missing == {}


def test_old_versions_are_judged_by_the_share_that_they_have() -> None:
    channels = Channels()
    every(channels, *varied(OLD, 11, cpu_power=0.0))
    assert "cpu_power_w" in channels.missing


def test_a_power_that_stands_still_to_the_last_digit_is_unknown_until_it_moves() -> None:
    channels = Channels()
    values = every(channels, *varied(HEALTHY, 11, sys_power=48.52))
    assert [each["system_power_w"] for each in values] == [48.52] * 10 + [None]
    assert set(channels.missing) == {"system_power_w"}
    assert channels.values(HEALTHY | {"sys_power": 48.53}, 6 * S)["system_power_w"] == 48.53
    assert channels.missing == {}


def test_a_sum_of_which_a_part_stands_still_is_unknown() -> None:
    channels = Channels()
    values = every(channels, *varied(HEALTHY, 11, gpu_power=24.118))
    assert [each["soc_power_w"] is None for each in values] == [False] * 10 + [True]
    assert set(channels.missing) == {"gpu_power_w", "soc_power_w"}


def test_only_macmons_own_lines_are_readings() -> None:
    good = json.dumps(HEALTHY).encode()
    assert metrics_of(good) == HEALTHY
    for bad in (b"", b"   ", good[:200], b"[1]", b"7", b"null", b"{}", b'{"gpu_power": 1}', b'{"memory": {}}'):
        assert metrics_of(bad) is None
    assert metrics_of(b'{"gpu_power": 1, "memory": 3}') is None
    assert metrics_of(b"Usage: macmon [OPTIONS] COMMAND [ARGS]...") is None
    assert metrics_of(b"\xff\xfe{") is None
    assert metrics_of(b"[" * 100_000) is None


# The child, by a fake macmon: a script that notes how it is started and ended.

FAKE = """#!{python} -S
import json, os, signal, sys, time
HEALTHY = json.loads({healthy!r})

def note(text):
    with open({log!r}, "a") as log:
        log.write(text + "\\n")

def say(line):
    try:
        sys.stdout.write((line if isinstance(line, str) else json.dumps(line)) + "\\n")
        sys.stdout.flush()
    except BrokenPipeError:
        note("pipe closed")
        os._exit(0)

def ended(number, frame):
    note("terminated")
    os._exit(0)

def forever(line=HEALTHY, every_s=0.05):
    while True:
        say(line)
        time.sleep(every_s)

signal.signal(signal.SIGTERM, ended)
endless = sys.argv[1:] == ["pipe", "-s", "0", "-i", "500"]
terminals = [os.isatty(number) for number in (0, 1, 2)]
note(f"started {{os.getpid()}} {{' '.join(sys.argv[1:])}}")
note(f"stdio {{terminals}} {{os.environ['LC_ALL']}} leader {{os.getsid(0) == os.getpid()}}")
if sys.argv[1:] == ["--version"]:
    print("macmon 0.8.2")
    sys.exit()
if sys.argv[1:] == ["pipe", "-s", "1", "-i", "100"] and {plain!r}:
    say(HEALTHY)
    sys.exit()
{body}
"""


class Fake:
    """A macmon in a folder of its own that is on PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = str(folder / "macmon")
        self.log = folder / "log"

    def __call__(self, body: str, plain: bool = True) -> Macmon:
        healthy = json.dumps(HEALTHY)
        script = FAKE.format(python=sys.executable, healthy=healthy, log=str(self.log), plain=plain, body=body)
        Path(self.path).write_text(script)
        Path(self.path).chmod(stat.S_IRWXU)
        return Macmon(self.path, "0.8.2")

    def noted(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []

    def pids(self) -> list[int]:
        return [int(line.split()[1]) for line in self.noted() if line.startswith("started")]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("LC_ALL", "fr_FR.UTF-8")
    monkeypatch.setattr(macmon, "FOLDERS", ())
    monkeypatch.setattr(macmon, "_intel", lambda: False)
    monkeypatch.setattr(macmon, "FIRST_S", 20.0)  # a busy machine starts a script late
    monkeypatch.setattr(macmon, "SILENT_S", 20.0)
    made = Fake(folder)
    yield made
    assert [pid for pid in made.pids() if not gone(pid)] == []


def gone(pid: int) -> bool:
    """Whether it has ended: of who outlives the one that started it, nobody may collect the corpse."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.Error:
        return True


def until(done: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def test_a_reading_waits_for_the_next_line(fake: Fake) -> None:
    source = fake("forever()")
    assert fake.noted() == []
    assert source.read(0)["soc_power_w"] == 28.428
    assert source.read(0)["gpu_percent"] == 99.0
    source.close()
    assert (source.name, source.streams, source.period_s, source.restarts) == ("macmon 0.8.2", True, 0.5, 0)
    assert source.channels.gpu_field == "gpu_active_ratio"
    started, stdio, ended = fake.noted()
    assert started.endswith("pipe -s 0 -i 500")
    assert stdio == "stdio [False, False, False] C leader True"
    assert ended == "terminated"  # and not by a pipe that closed


def test_lines_that_have_piled_up_are_one_reading_of_the_newest(fake: Fake) -> None:
    body = "say(HEALTHY); say({**HEALTHY, 'sys_power': 50.5}); note('said'); time.sleep(60)"
    source = fake(body)
    source._child()  # as if a reading had begun and this thread then been held up
    until(lambda: "said" in fake.noted())
    assert source.read(0)["system_power_w"] == 50.5
    source.close()


def test_lines_that_are_empty_cut_or_not_its_own_are_passed_over(fake: Fake) -> None:
    body = """
say("")
say(json.dumps(HEALTHY)[:100])
say("Usage: macmon [OPTIONS]")
say({**HEALTHY, "cpu_power": None})
time.sleep(60)
"""
    source = fake(body)
    values = source.read(0)
    assert (values["cpu_power_w"], values["gpu_power_w"]) == (None, 24.118)
    assert source.restarts == 0
    source.close()


def test_a_line_that_comes_in_pieces_is_read_whole(fake: Fake) -> None:
    body = """
text = json.dumps(HEALTHY) + "\\n"
for at in range(0, len(text), 100):
    sys.stdout.write(text[at:at + 100]); sys.stdout.flush(); time.sleep(0.01)
time.sleep(60)
"""
    source = fake(body)
    assert source.read(0)["cpu_power_w"] == 4.31
    source.close()


def test_one_that_panics_is_started_once_more_and_then_gone_with_its_words(fake: Fake) -> None:
    body = """
say(HEALTHY)
sys.stderr.write("\\nthread 'main' panicked at src/metrics.rs:12:5:\\nindex out of \\x1b[31mbounds\\n")
sys.stderr.write("note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\\n")
sys.stderr.flush()
signal.signal(signal.SIGABRT, signal.SIG_DFL)
os.kill(os.getpid(), signal.SIGABRT)
"""
    source = fake(body)
    assert source.read(0)["cpu_power_w"] == 4.31
    with pytest.raises(ChildProcessError, match="SIGABRT"):
        source.read(0)
    assert source.restarts == 1
    assert source.read(0)["cpu_power_w"] == 4.31
    with pytest.raises(Gone) as gone:
        source.read(0)
    said = str(gone.value)
    assert "thread 'main' panicked at src/metrics.rs:12:5: index out of ␛[31mbounds" in said
    assert "RUST_BACKTRACE" not in said
    assert "\x1b" not in said
    assert len(fake.pids()) == 2
    source.close()


def test_one_that_falls_silent_is_started_once_more_and_then_gone(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(macmon, "SILENT_S", 0.1)
    source = fake("say(HEALTHY); time.sleep(60)")
    assert source.read(0)["cpu_power_w"] == 4.31
    with pytest.raises(ChildProcessError, match=r"said nothing for 0\.1 s"):
        source.read(0)
    assert source.read(0)["cpu_power_w"] == 4.31
    with pytest.raises(Gone, match="said nothing"):
        source.read(0)
    source.close()
    assert [line for line in fake.noted() if line == "terminated"] == ["terminated"] * 2


def test_noise_is_no_sign_of_life(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(macmon, "SILENT_S", 0.3)
    source = fake("say(HEALTHY)\nforever('noise', 0.01)")
    source.read(0)
    with pytest.raises(ChildProcessError, match="said nothing"):
        source.read(0)
    source.close()


def test_one_that_cannot_be_started_is_gone(fake: Fake) -> None:
    with pytest.raises(Gone, match="cannot be started"):
        Macmon(str(fake.folder / "nothing")).read(0)


def test_one_that_does_not_listen_is_killed(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(macmon, "GRACE_S", 0.1)
    source = fake("signal.signal(signal.SIGTERM, signal.SIG_IGN); forever()")
    source.read(0)
    source.close()
    assert not psutil.pid_exists(fake.pids()[0])
    assert "terminated" not in fake.noted()


def test_closing_ends_a_reading_that_waits_in_another_thread(fake: Fake) -> None:
    source = fake("say(HEALTHY); time.sleep(60)")
    source.read(0)
    said: list[str] = []

    def wait() -> None:
        try:
            source.read(0)
        except Gone as gone:
            said.append(str(gone))

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.05)
    source.close()
    thread.join(10)
    assert said == ["it was closed"]
    source.close()


def test_one_that_was_closed_is_not_started_any_more(fake: Fake) -> None:
    source = fake("forever()")
    source.close()
    with pytest.raises(Gone):
        source.read(0)
    assert fake.noted() == []


def test_what_it_costs_is_known_while_it_runs_and_after(fake: Fake) -> None:
    source = fake("end = time.process_time() + 0.2\nwhile time.process_time() < end: pass\nforever()")
    assert source.cpu_s() is None
    source.read(0)
    running = source.cpu_s()
    source.close()
    ended = source.cpu_s()
    assert running is not None
    assert ended is not None
    assert 0.2 <= running <= ended + 0.02 < 10  # the running one is known in steps of 10 ms


def test_it_does_not_outlive_one_who_is_killed(fake: Fake) -> None:
    fake("forever()")
    script = f"""
import sys, time
from infertui.telemetry.macmon import Macmon
source = Macmon({fake.path!r})
source.read(0)
print("reading", flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"reading\n"
        owner.send_signal(signal.SIGKILL)
    until(lambda: gone(fake.pids()[0]))
    assert fake.noted()[-1] == "pipe closed"


# Which macmon it is.


def test_the_macmon_on_path_is_found_with_its_version(fake: Fake) -> None:
    fake("forever()")
    source = macmon.found()
    assert isinstance(source, Macmon)
    assert source.name == "macmon 0.8.2"
    asked = [line.split(" ", 2)[2] for line in fake.noted() if line.startswith("started")]
    assert asked == ["pipe -s 1 -i 100", "--version"]
    source.close()


def test_without_macmon_it_is_said_how_to_get_it(fake: Fake) -> None:
    absent = macmon.found()
    assert absent == Absent(
        name="macmon",
        reason="it is not installed: no power, clocks or temperatures",
        mend="brew install macmon",
    )


@pytest.mark.parametrize(
    "body",
    [
        "print('usage: macmon [-h] [--port PORT]'); print('macmon: error: unrecognized arguments'); sys.exit(2)",
        "sys.stderr.write('Usage: macmon [OPTIONS]\\n\\nError: No such option: -s\\n'); sys.exit(2)",
        "print('{}'); print('[1, 2]'); sys.exit(0)",
        "raise ImportError('No module named fastapi')",
    ],
)
def test_another_program_of_that_name_is_told_from_it(fake: Fake, body: str) -> None:
    fake(body, plain=False)
    absent = macmon.found()
    assert isinstance(absent, Absent)
    assert absent.reason == f"{fake.path} is another program of that name"
    assert absent.mend == "brew install macmon"


def test_the_right_one_is_found_behind_another_of_that_name(
    fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = tmp_path / "homebrew"
    right.mkdir()
    real = Fake(right)
    real("forever()")
    monkeypatch.setattr(macmon, "FOLDERS", (str(tmp_path / "nowhere"), str(right)))
    fake("print('usage: macmon'); sys.exit(2)", plain=False)
    source = macmon.found()
    assert isinstance(source, Macmon)
    assert source.read(0)["cpu_power_w"] == 4.31
    source.close()
    assert len(real.pids()) == 3  # tried, asked for its version, read from


def test_one_that_says_nothing_is_ended_and_told_of(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    fake("time.sleep(60)", plain=False)
    monkeypatch.setattr(macmon, "FIRST_S", 1.0)
    absent = macmon.found()
    assert isinstance(absent, Absent)
    assert absent.reason == f"{fake.path} said nothing for 1 s"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            "sys.stderr.write('Error: \"No CPU frequencies found\"\\n'); sys.exit(1)",
            'it ended (exit code 1): Error: "No CPU frequencies found"',
        ),
        (
            "signal.signal(signal.SIGABRT, signal.SIG_DFL); sys.stderr.write(\"thread 'main' panicked at x\\n\");"
            " sys.stderr.flush(); os.kill(os.getpid(), signal.SIGABRT)",
            "it ended (SIGABRT): thread 'main' panicked at x",
        ),
    ],
)
def test_a_macmon_that_fails_is_not_taken_for_another_program(fake: Fake, body: str, words: str) -> None:
    fake(body, plain=False)
    absent = macmon.found()
    assert isinstance(absent, Absent)
    assert absent.reason == f"{fake.path} fails: {words}"
    assert absent.mend == "brew upgrade macmon"


def test_one_that_cannot_be_run_at_all_is_told_of(fake: Fake) -> None:
    Path(fake.path).write_bytes(b"\x7fELF no program")
    Path(fake.path).chmod(stat.S_IRWXU)
    absent = macmon.found()
    assert isinstance(absent, Absent)
    assert fake.path in absent.reason


def test_an_intel_mac_is_not_told_to_install_it(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(macmon, "_intel", lambda: True)
    absent = macmon.found()
    assert isinstance(absent, Absent)
    assert ("Apple chips" in absent.reason, absent.mend) == (True, "")
