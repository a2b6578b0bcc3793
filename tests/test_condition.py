"""Every doubt by what just casts it and what just does not. Stamps are in seconds from an arbitrary zero."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infertui.condition import (
    GPU_POWER_CAP,
    GPU_THERMAL,
    Busy,
    Conditions,
    Doubt,
    Tolerated,
    before,
    over,
    rested,
    throttle_words,
    waits,
    worst,
)
from infertui.sample import SERIES, Sample
from infertui.text import plain

S = 1_000_000_000
ZERO = 40 * S  # the clock of the stamps has no meaning of its own
USUAL = Tolerated()
MAC = {"memory_pressure": 1}


def ns(seconds: float) -> int:
    return ZERO + round(seconds * S)


def sample(since: float | None, at: float, source: str = "machine", **values: float | None) -> Sample:
    return Sample(source=source, since_ns=None if since is None else ns(since), at_ns=ns(at), values=values)


def each_second(key: str, *values: float | None, **others: float | None) -> list[Sample]:
    """A reading after each second: the first covers the first second."""
    return [sample(at, at + 1, **{key: value}, **others) for at, value in enumerate(values)]


def measured(samples: list[Sample], *windows: tuple[float, float], **looks: Conditions) -> list[Doubt]:
    """The doubts of a block; without windows everything in the first 100 s was measured."""
    spans = [(ns(start), ns(end)) for start, end in windows or [(0, 100)]]
    return over(looks.get("before"), looks.get("after"), samples, spans, USUAL)


def looked(first: dict[str, Any], last: dict[str, Any]) -> list[Doubt]:
    """The doubts of a block of which nothing but the two looks is known."""
    return over(Conditions(**first), Conditions(**last), [], [], USUAL)


def busy(percent: float, name: str = "chrome", pid: int = 77) -> Busy:
    return Busy(name=name, pid=pid, cpu_percent=percent)


# Before a block.


@pytest.mark.parametrize(
    ("key", "level", "passes", "crosses", "keeps"),
    [
        ("thermal", "suspicious", True, {"thermal_level": 2}, {"thermal_level": 0}),
        ("thermal", "note", False, {"thermal_level": 1}, {"thermal_level": 0}),
        ("foreign_cpu", "suspicious", True, {"foreign_cpu_percent": 10.01}, {"foreign_cpu_percent": 10.0}),
        ("foreign_cpu", "suspicious", True, {"foreign": (busy(50.1),)}, {"foreign": (busy(50.0),)}),
        ("foreign_gpu", "suspicious", True, {"foreign_gpu_percent": 35.1}, {"foreign_gpu_percent": 35.0}),
        ("gpu_throttle", "suspicious", True, {"gpu_throttle": 0x8}, {"gpu_throttle": 0x1 | 0x2 | 0x4 | 0x10 | 0x100}),
        ("gpu_throttle", "suspicious", True, {"gpu_throttle": 0x20 | 0x4}, {"gpu_throttle": 0}),
        ("gpu_throttle", "suspicious", True, {"gpu_throttle": 0x40}, {"gpu_throttle": None}),
        ("gpu_throttle", "suspicious", True, {"gpu_throttle": 0x80}, {"gpu_throttle": 0x200}),
        ("battery", "suspicious", False, {"on_battery": True}, {"on_battery": False}),
        ("low_power", "suspicious", False, {"low_power": True}, {"low_power": False, "power_mode": "powermode 0"}),
        ("governor", "suspicious", False, {"governor": "powersave"}, {"governor": "performance"}),
        ("governor", "suspicious", False, {"governor": "ondemand"}, {"governor": "schedutil"}),
        ("governor", "suspicious", False, {"governor": "performance, powersave"}, {"governor": ""}),
        (
            "governor",
            "suspicious",
            False,
            {"governor": "powersave", "energy_preference": "balance_power"},
            {"governor": "powersave", "energy_preference": "performance"},
        ),
        (
            "governor",
            "note",
            False,
            {"governor": "powersave", "energy_preference": "balance_performance"},
            {"governor": "performance", "energy_preference": "balance_performance"},
        ),
        ("governor", "suspicious", False, {"energy_preference": "power"}, {"energy_preference": "balance_performance"}),
        ("memory_pressure", "suspicious", True, {"memory_pressure": 4}, {"memory_pressure": 1}),
        ("memory_pressure", "note", False, {"memory_pressure": 2}, {"memory_pressure": None}),
        ("swap", "note", False, {"swap_used_bytes": 1}, {"swap_used_bytes": 0}),
        ("translated", "suspicious", False, {"translated": True}, {"translated": False}),
        ("virtual", "suspicious", False, {"virtual": True, **MAC}, {"virtual": False, **MAC}),
        ("virtual", "note", False, {"virtual": True}, {"virtual": None}),
    ],
)
def test_a_doubt_is_cast_just_past_what_is_tolerated(
    key: str, level: str, passes: bool, crosses: dict[str, Any], keeps: dict[str, Any]
) -> None:
    doubts = before(Conditions(**crosses), USUAL)
    assert [(each.key, each.level, each.passes) for each in doubts] == [(key, level, passes)]
    assert before(Conditions(**keeps), USUAL) == []


def test_of_what_cannot_be_told_there_is_no_doubt() -> None:
    assert before(Conditions(), USUAL) == []
    assert over(None, None, [], [], USUAL) == []
    assert over(Conditions(), Conditions(), [sample(0, 1, **dict.fromkeys(SERIES))], [(ns(0), ns(1))], USUAL) == []


def test_what_is_tolerated_can_be_set() -> None:
    lenient = Tolerated(foreign_cpu_percent=40, foreign_process_percent=90, foreign_gpu_percent=60, thermal_level=2)
    now = Conditions(foreign_cpu_percent=40, foreign=(busy(90),), foreign_gpu_percent=60, thermal_level=2)
    assert [(each.key, each.level) for each in before(now, lenient)] == [("thermal", "note")]
    assert {each.key for each in before(now, USUAL)} == {"thermal", "foreign_cpu", "foreign_gpu"}
    strict = Tolerated(thermal_level=0)
    assert before(Conditions(thermal_level=1), strict)[0].level == "suspicious"


@pytest.mark.parametrize(
    ("now", "text"),
    [
        ({"thermal_level": 2}, "the machine is hot: thermal level 2, heavy (1 is tolerated)"),
        ({"thermal_level": 1}, "the machine is warm: thermal level 1, moderate (1 is tolerated)"),
        (
            {
                "foreign_cpu_percent": 34.2,
                "foreign": (busy(61), busy(40.25, "cc1"), busy(12, "md"), busy(9, "Dock")),
            },
            "other programs use 34.2 % of all cores (chrome 61 %, cc1 40.2 %, md 12 %, of one core); 10 % is tolerated",
        ),
        ({"foreign_cpu_percent": 34.2}, "other programs use 34.2 % of all cores; 10 % is tolerated"),
        (
            {"foreign_cpu_percent": 9, "foreign": (busy(10, "low"), busy(1234.4), busy(51, "clang"))},
            "other programs use much of one core: chrome 1,234 %, clang 51 %; 50 % is tolerated",
        ),
        ({"foreign_gpu_percent": 41}, "other programs use 41 % of the GPU (35 % is tolerated)"),
        (
            {"gpu_throttle": 0x4 | 0x8 | 0x40},
            "the GPU holds itself back: slowed down by its hardware; too hot, says its hardware",
        ),
        ({"on_battery": True, "battery_percent": 78.0}, "the machine runs from its battery (78 % full)"),
        ({"on_battery": True}, "the machine runs from its battery"),
        ({"low_power": True, "power_mode": "powermode 1"}, "the machine saves power on purpose (powermode 1)"),
        ({"governor": "ondemand"}, "the CPU is set to spare energy (governor ondemand)"),
        (
            {"governor": "powersave", "energy_preference": "balance_performance"},
            "the CPU is not set to its full speed (governor powersave, energy preference balance_performance)",
        ),
        ({"memory_pressure": 4}, "memory is critically short (level 4; 1 is normal)"),
        ({"swap_used_bytes": 2_500_000_000}, "2,500 MB of memory are out in swap"),
    ],
)
def test_a_doubt_says_the_figure_and_what_is_tolerated(now: dict[str, Any], text: str) -> None:
    assert [each.text for each in before(Conditions(**now), USUAL)] == [text]


def test_what_processes_call_themselves_cannot_act_on_a_terminal() -> None:
    foreign = (busy(99, "evil\x1b[2J\n\u202ename"), busy(98, " \n", pid=4321), busy(97, "x" * 200))
    (doubt,) = before(Conditions(foreign=foreign), USUAL)
    assert "evil␛[2J <202E>name 99 %, 4321 98 %, " in doubt.text
    assert f"{'x' * 39}… 97 %" in doubt.text
    modes = Conditions(
        low_power=True, power_mode="a\x1b]0;b\x07", governor="powersave\x1b", energy_preference="power \x1b"
    )
    assert not [each.text for each in before(modes, USUAL) if "\x1b" in each.text or "\x07" in each.text]


def test_only_what_passes_and_is_suspicious_is_worth_waiting_for() -> None:
    now = Conditions(
        thermal_level=1, foreign_cpu_percent=50, on_battery=True, memory_pressure=2, translated=True, gpu_throttle=0x40
    )
    doubts = before(now, USUAL)
    assert [each.key for each in doubts] == [
        "thermal", "foreign_cpu", "gpu_throttle", "battery", "memory_pressure", "translated",
    ]  # fmt: skip
    assert [each.key for each in waits(doubts)] == ["foreign_cpu", "gpu_throttle"]
    assert waits(before(Conditions(thermal_level=2, memory_pressure=4), USUAL)) != []


def test_of_several_doubts_of_one_key_the_first_of_the_worst_stays() -> None:
    def doubt(key: str, level: Any, text: str) -> Doubt:
        return Doubt(key=key, level=level, text=text)

    kept = worst(
        [
            doubt("swap", "note", "1"),
            doubt("battery", "suspicious", "2"),
            doubt("swap", "suspicious", "3"),
            doubt("swap", "suspicious", "4"),
            doubt("battery", "note", "5"),
        ]
    )
    assert [(each.key, each.text) for each in kept] == [("swap", "3"), ("battery", "2")]


# During a block: rates, as means by time over what was measured.


@pytest.mark.parametrize(
    ("series", "key", "limit"),
    [
        ("foreign_cpu_percent", "foreign_cpu", 10.0),
        ("foreign_gpu_percent", "foreign_gpu", 35.0),
        ("cpu_stall_percent", "cpu_stall", 20.0),
        ("memory_stall_percent", "memory_stall", 1.0),
    ],
)
def test_a_mean_past_what_is_tolerated_casts_a_doubt(series: str, key: str, limit: float) -> None:
    assert measured(each_second(series, limit + 1, limit - 1)) == []  # just the limit
    doubts = measured(each_second(series, limit + 1.1, limit - 1))
    assert [(each.key, each.level) for each in doubts] == [(key, "suspicious")]
    assert measured(each_second(series, None, limit, None)) == []
    assert measured(each_second(series, None, limit + 0.1, None)) != []  # what is unknown is no zero


def test_a_mean_is_weighted_by_time() -> None:
    long, short = sample(0, 9, foreign_cpu_percent=5), sample(9, 10, foreign_cpu_percent=50)
    assert measured([long, short]) == []  # (9 × 5 + 1 × 50) / 10 = 9.5
    assert measured([long, short], (4, 10)) != []  # (5 × 5 + 1 × 50) / 6 = 12.5
    assert "12.5 % of all cores" in measured([long, short], (4, 10))[0].text


def test_a_reading_that_was_measured_in_part_counts_in_part() -> None:
    samples = [sample(0, 2, cpu_stall_percent=60), sample(2, 5, cpu_stall_percent=10)]
    assert measured(samples, (1.5, 5)) == []  # (0.5 × 60 + 3 × 10) / 3.5 = 17.1
    (doubt,) = measured(samples, (1, 5))  # (1 × 60 + 3 × 10) / 4
    assert doubt.text == "programs had to wait for a CPU for 22.5 % of the time (20 % is tolerated)"


def test_what_happens_between_two_windows_is_not_measured() -> None:
    samples = each_second("foreign_cpu_percent", 5, 100, 100, 5)
    assert measured(samples, (0, 1), (3, 4)) == []
    assert measured(samples, (3, 4), (0, 1), (1, 1), (4, 2)) == []  # in any order, and none that has no length
    (doubt,) = measured(samples, (0, 1.5), (3, 4))  # (1 × 5 + 0.5 × 100 + 1 × 5) / 2.5
    assert doubt.text == "other programs used 24 % of all cores; 10 % is tolerated"
    assert measured(samples, (0, 1.5), (0.5, 1.5), (3, 4)) == [doubt]  # what overlaps counts once


def test_a_first_reading_has_no_rate() -> None:
    assert measured([sample(None, 1, foreign_cpu_percent=100)]) == []


def test_of_two_sources_of_one_series_that_counts_which_covers_more() -> None:
    quiet = [sample(0, 8, "long", foreign_gpu_percent=20)]
    loud = [sample(0, 3, "short", foreign_gpu_percent=90)]
    assert measured(quiet + loud) == []
    assert measured([sample(0, 2, "long", foreign_gpu_percent=20), *loud]) != []


def test_the_processes_of_the_look_after_are_those_of_the_block() -> None:
    after = Conditions(foreign=(busy(50.1), busy(3, "clang")))
    (doubt,) = measured([], after=after)
    assert doubt.text == "other programs used much of one core: chrome 50.1 %; 50 % is tolerated"
    assert measured([], after=Conditions(foreign=(busy(50.0),))) == []
    assert measured([], before=after) == []
    (doubt,) = measured(each_second("foreign_cpu_percent", 12), after=after)
    names = "(chrome 50.1 %, clang 3 %, of one core)"
    assert doubt.text == f"other programs used 12 % of all cores {names}; 10 % is tolerated"


# During a block: levels.


def test_heat_in_more_than_5_percent_of_the_readings_casts_a_doubt() -> None:
    cool = [0.0] * 19
    assert measured(each_second("thermal_level", *cool, 2)) == []  # 1 of 20
    (doubt,) = measured(each_second("thermal_level", *cool[:18], 3))
    assert doubt == Doubt(
        key="thermal",
        level="suspicious",
        text="the machine was hot: thermal level 3, trapping (1 is tolerated), in 1 of 19 readings",
    )
    assert "level 3" in measured(each_second("thermal_level", 2, 3, 2))[0].text
    assert measured(each_second("thermal_level", *[1.0] * 20)) == []
    assert measured(each_second("thermal_level", 2, *cool), (1.5, 100)) == []  # it was hot before


def test_where_no_reading_tells_of_heat_or_pressure_the_look_after_does() -> None:
    after = Conditions(thermal_level=2, memory_pressure=4)
    assert {each.key for each in measured([], after=after)} == {"thermal", "memory_pressure"}
    assert measured(each_second("thermal_level", 0, memory_pressure=1), after=after) == []
    assert measured([], after=Conditions(thermal_level=1, memory_pressure=1)) == []


def test_memory_pressure_at_any_reading_casts_a_doubt() -> None:
    assert measured(each_second("memory_pressure", 1, 1)) == []
    (doubt,) = measured(each_second("memory_pressure", 1, 2, 1))
    assert (doubt.key, doubt.level) == ("memory_pressure", "note")
    (doubt,) = measured(each_second("memory_pressure", 1, 4, 2))
    assert (doubt.level, doubt.text) == ("suspicious", "memory was critically short (level 4; 1 is normal)")
    assert measured(each_second("memory_pressure", 4, 1, 1), (1.5, 3)) == []


def test_the_battery_at_any_reading_or_look_casts_a_doubt() -> None:
    assert measured(each_second("on_battery", 0, 0)) == looked({"on_battery": False}, {"on_battery": False}) == []
    (doubt,) = measured(each_second("on_battery", 1, 1))
    assert (doubt.key, doubt.level, doubt.text) == ("battery", "suspicious", "the machine ran from its battery")
    (doubt,) = measured(each_second("on_battery", 0, 1, 0))
    assert doubt.text == "the machine ran from its battery, for a part of the time"
    for first, last in ((False, True), (True, False)):
        assert looked({"on_battery": first}, {"on_battery": last}) == [doubt]
    assert looked({"on_battery": None}, {"on_battery": True})[0].text == "the machine ran from its battery"


def test_swap_that_grows_casts_a_doubt() -> None:
    used = 1_000_000_000
    assert looked({"swap_used_bytes": used}, {"swap_used_bytes": used + 64_000_000}) == []
    (doubt,) = looked({"swap_used_bytes": used}, {"swap_used_bytes": used + 64_100_000})
    assert (doubt.key, doubt.level) == ("swap", "suspicious")
    assert doubt.text == "swap in use grew by 64.1 MB (64 MB is tolerated)"
    assert looked({"swap_used_bytes": used}, {"swap_used_bytes": 0}) == looked({}, {"swap_used_bytes": used}) == []
    grew_and_shrank = each_second("swap_used_bytes", used, used + 70_000_000, used)
    assert [each.key for each in measured(grew_and_shrank)] == ["swap"]
    samples = each_second("swap_used_bytes", used + 70_000_000)
    assert [each.key for each in measured(samples, before=Conditions(swap_used_bytes=used))] == ["swap"]


def test_a_nearly_full_memory_limit_casts_a_doubt() -> None:
    def used(*used_bytes: float, limit: float | None = 1000) -> list[Doubt]:
        return measured(each_second("cgroup_memory_bytes", *used_bytes, cgroup_limit_bytes=limit))

    assert used(100, 950) == used(1000, limit=None) == used(1000, limit=0) == []
    (doubt,) = used(100, 951, 200)
    assert (doubt.key, doubt.level) == ("memory_limit", "suspicious")
    assert doubt.text == "95.1 % of the memory limit was in use (95 % is tolerated)"


def test_a_clock_that_is_set_is_worth_a_note() -> None:
    assert looked({"clock_step_ns": 5 * S}, {"clock_step_ns": 6 * S}) == []
    (doubt,) = looked({"clock_step_ns": 5 * S}, {"clock_step_ns": 4 * S - 1})
    assert (doubt.key, doubt.level) == ("clock", "note")
    (doubt,) = measured(each_second("clock_step_ns", 0, -3.2 * S, 0))
    assert "was set by 3.2 s meanwhile (1 s is tolerated)" in doubt.text


# During a block: counters.


@pytest.mark.parametrize("counter", ["thermal_throttles", "swapouts"])
def test_events_between_the_looks_or_the_readings_cast_a_doubt(counter: str) -> None:
    key = {"thermal_throttles": "thermal", "swapouts": "swap"}[counter]
    assert measured(each_second(counter, 7, 7, 7)) == looked({counter: 7}, {counter: 7}) == []
    for doubts in (measured(each_second(counter, 7, 7, 8)), looked({counter: 7}, {counter: 8})):
        assert [(each.key, each.level) for each in doubts] == [(key, "suspicious")]
        assert "1; none is tolerated" in doubts[0].text
    (doubt,) = measured(
        each_second(counter, 7, 9), before=Conditions(**{counter: 7}), after=Conditions(**{counter: 12})
    )
    assert "5; none is tolerated" in doubt.text  # whichever saw more
    assert measured(each_second(counter, 7, None, 8)) != []
    assert measured(each_second(counter, 900, 2, 2)) == []  # it began anew
    assert looked({counter: 9}, {counter: 2}) == looked({}, {counter: 2}) == looked({counter: 2}, {}) == []
    assert measured(each_second(counter, 0, 5, 5, 5), (2, 4)) == []  # before the window
    assert measured(each_second(counter, 0, 5, 5, 5), (1.9, 4)) != []


def test_a_sleep_while_it_was_measured_casts_a_doubt() -> None:
    tenth = S // 10
    assert measured(each_second("asleep_ns", 5 * S, 5 * S + tenth)) == []
    (doubt,) = measured(each_second("asleep_ns", 5 * S, 5 * S + tenth + 1))
    assert (doubt.key, doubt.level) == ("asleep", "suspicious")
    (doubt,) = measured(each_second("asleep_ns", 5 * S, 17 * S), (1.9, 3))  # the clock stood still: it counts in full
    assert doubt.text == "the machine slept for 12 s meanwhile (100 ms is tolerated)"
    assert looked({"asleep_ns": 0}, {"asleep_ns": 12 * S}) == [doubt]
    samples = each_second("asleep_ns", 0, 12 * S, 12 * S, 12 * S)
    asleep = Conditions(asleep_ns=12 * S)
    assert measured(samples, (2, 4), before=Conditions(asleep_ns=0), after=asleep) == []  # before the window


def test_a_cpu_limit_that_held_programs_back_casts_a_doubt() -> None:
    assert measured(each_second("cgroup_throttled_ns", 3 * S, 3 * S)) == []
    (doubt,) = measured(each_second("cgroup_throttled_ns", 3 * S, 3 * S, 3 * S + S // 2), (0, 2.5))
    assert (doubt.key, doubt.level) == ("cpu_limit", "suspicious")
    assert " for 250 ms " in doubt.text  # half of that reading was measured
    long = [sample(None, 0, cgroup_throttled_ns=0), sample(0, 10, cgroup_throttled_ns=S)]
    (doubt,) = measured(long, (6, 8), (0, 1), (3, 5), (3.5, 4))
    assert " for 500 ms " in doubt.text  # 5 of its 10 s


def test_weights_that_are_read_again_from_disk_cast_a_doubt() -> None:
    assert measured(each_second("server_pageins", 1000, 1200, 1200)) == []  # 200 in 2 s
    (doubt,) = measured(each_second("server_pageins", 1000, 1200, 1210))
    assert (doubt.key, doubt.level) == ("pageins", "suspicious")
    assert "105 times a second (100 is tolerated)" in doubt.text
    assert measured(each_second("server_pageins", 0, 90_000, 90_010), (2, 3)) == []  # while it was loaded
    assert measured(each_second("server_pageins", 0, 90_000, 5, 15)) != []
    assert measured(each_second("server_pageins", 90_000, 5, 15)) == []  # another process


def test_calls_after_a_long_rest_are_worth_a_note() -> None:
    assert rested([], USUAL) == rested([0.0, 1.0], USUAL) == []
    (doubt,) = rested([0.5, 1.1, 7.0], USUAL)
    assert (doubt.key, doubt.level) == ("idle_gap", "note")
    assert doubt.text.startswith("2 calls ")


# During a block: what a GPU says of its clocks.


@pytest.mark.parametrize("bit", [0x8, 0x20, 0x40, 0x80])
def test_a_busy_gpu_that_is_hot_at_any_reading_casts_a_doubt(bit: int) -> None:
    cool = each_second("gpu_throttle", *[0.0] * 50, gpu_percent=99)
    assert measured(cool) == []
    assert measured([*cool, sample(50, 51, gpu_throttle=bit, gpu_percent=50)]) == []
    (doubt,) = measured([*cool, sample(50, 51, gpu_throttle=bit | 0x4, gpu_percent=50.1)])
    assert (doubt.key, doubt.level) == ("gpu_throttle", "suspicious")
    assert "in 1 of 51 readings under load" in doubt.text
    assert doubt.text.endswith(throttle_words(bit)[0])
    (doubt,) = measured([sample(0, 1, gpu_throttle=bit), sample(1, 2, gpu_throttle=0x1)])
    assert "in 1 of 2 readings" in doubt.text  # where nobody says how busy it was
    assert measured([sample(0, 1, gpu_throttle=bit, gpu_percent=99)], (2, 3)) == []


def test_all_the_reasons_of_a_hot_gpu_are_said_once() -> None:
    (doubt,) = measured(each_second("gpu_throttle", 0x20, 0x80 | 0x4, 0x20))
    assert doubt.text.endswith(
        "in 3 of 3 readings under load (none is tolerated): too hot, says its driver; too little supply"
    )


def test_a_power_limit_in_most_readings_of_a_busy_gpu_is_worth_a_note() -> None:
    def gpu(*bits: float, percent: float = 99) -> list[Sample]:
        return each_second("gpu_throttle", *bits, gpu_percent=percent)

    assert measured(gpu(4, 0, 4, 0)) == measured(gpu(4, 4, percent=10)) == []
    (doubt,) = measured(gpu(4, 0, 5, 4))
    assert doubt == Doubt(
        key="gpu_power_cap",
        level="note",
        text="the GPU was at its power limit in 3 of 4 readings under load (50 % is tolerated)",
    )


def test_reasons_of_a_gpu_are_said_in_words() -> None:
    assert throttle_words(0) == []
    assert throttle_words(0x4) == ["power limit"]
    assert throttle_words(0x1 | 0x40 | 0x600) == ["idle", "too hot, says its hardware", "unknown (0x600)"]
    assert len(throttle_words(GPU_THERMAL)) == 4
    assert GPU_THERMAL & GPU_POWER_CAP == 0


# Whatever is read.

ANY = st.floats() | st.integers(-(2**63), 2**63)
VALUES = st.dictionaries(st.sampled_from(sorted(SERIES)), st.none() | ANY, max_size=12)
STAMP = st.integers(-(2**40), 2**63)
PROCESSES = st.lists(st.builds(Busy, name=st.text(), pid=st.integers(), cpu_percent=st.floats()), max_size=4).map(tuple)
LOOKS = st.builds(
    Conditions,
    thermal_level=st.none() | st.integers(),
    on_battery=st.none() | st.booleans(),
    battery_percent=st.none() | st.floats(),
    low_power=st.none() | st.booleans(),
    power_mode=st.text(),
    governor=st.text() | st.sampled_from(["powersave", "ondemand, \x1b"]),
    energy_preference=st.text() | st.sampled_from(["power", "balance_power \x1b"]),
    foreign_cpu_percent=st.none() | st.floats(),
    foreign_gpu_percent=st.none() | st.floats(),
    foreign=PROCESSES,
    translated=st.none() | st.booleans(),
    virtual=st.none() | st.booleans(),
    **dict.fromkeys(
        ["thermal_throttles", "swap_used_bytes", "swapouts", "memory_pressure", "gpu_throttle", "gpu_limit_mb"],
        st.none() | st.integers(-(2**63), 2**63),
    ),
    **dict.fromkeys(["asleep_ns", "clock_step_ns"], st.none() | st.integers(-(2**63), 2**63)),
)
SAMPLES = st.lists(
    st.builds(Sample, source=st.sampled_from(["a", "b"]), since_ns=st.none() | STAMP, at_ns=STAMP, values=VALUES),
    max_size=12,
)


@settings(max_examples=300, deadline=None)
@given(st.none() | LOOKS, st.none() | LOOKS, SAMPLES, st.lists(st.tuples(STAMP, STAMP), max_size=4))
def test_no_reading_breaks_the_judgement(
    first: Conditions | None, last: Conditions | None, samples: list[Sample], windows: list[tuple[int, int]]
) -> None:
    said = [over(first, last, samples, windows, USUAL), *(before(look, USUAL) for look in (first, last) if look)]
    for doubts in said:
        assert len({each.key for each in doubts}) == len(doubts)
        for each in doubts:
            assert each.text == plain(each.text, 10_000), "one line of plain text"
        assert {each.key for each in waits(doubts)} <= {each.key for each in doubts}


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(0, 100)), min_size=1, max_size=20),
    st.tuples(st.integers(0, 500), st.integers(0, 500)),
)
def test_a_reading_cut_in_two_changes_nothing(parts: list[tuple[int, int]], window: tuple[int, int]) -> None:
    whole, halves, at = [], [], 0.0
    for length, percent in parts:
        end = at + length
        whole.append(sample(at, end, foreign_cpu_percent=percent))
        halves += [sample(at, at + length / 2, foreign_cpu_percent=percent)]
        halves += [sample(at + length / 2, end, foreign_cpu_percent=percent)]
        at = end
    assert measured(whole, window) == measured(halves, window)
