"""Charts of a run's samples, by data whose picture can be worked out by hand. Times are seconds from some zero."""

from __future__ import annotations

import random
import re
from array import array
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO

import msgspec
import plotext
import pytest
from rich.cells import cell_len
from rich.console import Console, Group
from rich.text import Text

from infertui.metric import CallRecord
from infertui.report.chart import samples_view
from infertui.sample import Sample

S = 1_000_000_000
ZERO = 7_000 * S  # perf_counter_ns has no meaning of its own, so nothing may depend on where it starts
MARGIN = 6
ROWS = 7
MIB, GIB = 1 << 20, 1 << 30
BRAILLE = re.compile("[\u2801-\u28ff]")


@pytest.fixture(autouse=True)
def _colours_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)


def ns(seconds: float) -> int:
    return ZERO + round(seconds * S)


def series(key: str, at: Iterable[tuple[float, float | None]], source: str = "fake") -> list[Sample]:
    """One series whose spans are not told."""
    return [Sample(source=source, at_ns=ns(seconds), values={key: value}) for seconds, value in at]


def rates(key: str, at: Iterable[tuple[float, float | None]]) -> list[Sample]:
    """One series of rates: each the mean since the reading before, and the first one unknown."""
    samples: list[Sample] = []
    for seconds, value in at:
        since_ns = samples[-1].at_ns if samples else None
        samples.append(Sample(source="fake", at_ns=ns(seconds), since_ns=since_ns, values={key: value}))
    assert samples[0].values[key] is None
    return samples


def steady(key: str, value: float | None, until: float, every: float = 0.2) -> list[Sample]:
    return series(key, [(count * every, value) for count in range(round(until / every) + 1)])


def call(
    name: str,
    send: float | None,
    end: float | None,
    role: str = "measured",
    turn: int = 1,
    n_output: int | None = None,
    n_hidden: int = 0,
) -> CallRecord:
    given = {"name": name, "role": role, "round": turn, "n_output": n_output, "n_hidden": n_hidden}
    given |= {"lane": 0, "kind": "router", "prompt_id": "p", "prompt_hash": "h", "max_tokens": 1, "sched_ns": ZERO}
    stamps = {"send_ns": None if send is None else ns(send), "end_ns": None if end is None else ns(end)}
    return msgspec.convert(given | stamps, CallRecord)


def at_ms(offsets: Iterable[int]) -> array[int]:
    return array("Q", [offset * 1000 for offset in offsets])


def texts(view: Text | Group) -> list[Text]:
    assert isinstance(view, Group)
    found = [each for each in view.renderables if isinstance(each, Text)]
    assert len(found) == len(view.renderables)
    return found


def drawn(
    samples: Sequence[Sample],
    calls: Sequence[CallRecord] = (),
    reads: Mapping[str, array[int]] | None = None,
    width: int = 46,
    colour: bool = True,
    cores: int | None = None,
) -> list[str]:
    return [text.plain for text in texts(samples_view(samples, calls, reads or {}, width, colour, cores))]


def canvas(shown: Sequence[str], name: str) -> list[str]:
    """The rows of the chart whose title, of one line, begins so."""
    at = next(row for row, line in enumerate(shown) if line.startswith(name))
    return list(shown[at + 1 : at + 1 + ROWS])


def title(shown: Sequence[str], name: str) -> str:
    return next(line for line in shown if line.startswith(name))


def dots(rows: Sequence[str]) -> set[tuple[int, int]]:
    """Every dot of braille: its column, two a character, and its row from the top, four a character."""
    where = ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3))
    found = set()
    for row, line in enumerate(rows):
        for column, char in enumerate(line[MARGIN:]):
            if BRAILLE.match(char):
                set_bits = (place for bit, place in enumerate(where) if (ord(char) - 0x2800) >> bit & 1)
                found |= {(2 * column + x, 4 * row + y) for x, y in set_bits}
    return found


def columns_of(rows: Sequence[str]) -> set[int]:
    """Columns in which anything is drawn."""
    alone = {at - MARGIN for line in rows for at, char in enumerate(line) if char == "•"}
    return alone | {x // 2 for x, _ in dots(rows)}


def everything(seconds: float = 20, every: float = 0.2) -> tuple[list[Sample], list[CallRecord], dict[str, array[int]]]:
    """All five charts with all their lines, of values drawn by lot, and four blocks of calls."""
    lot = random.Random(5)
    samples = []
    for count in range(round(seconds / every) + 1):
        values: dict[str, float | None] = {
            "machine_cpu_percent": lot.uniform(0, 100),
            "server_cpu_percent": lot.uniform(0, 800),
            "server_private_bytes": lot.uniform(0, 3) * GIB,
            "server_mapped_bytes": 4.4 * GIB,
            "server_gpu_bytes": lot.uniform(0, 20) * GIB,
            "gpu_percent": lot.uniform(0, 100),
            "server_gpu_percent": lot.uniform(0, 100),
            "gpu_power_w": lot.uniform(1, 300),
            "soc_power_w": lot.uniform(1, 30),
            "package_power_w": lot.uniform(1, 100),
            "system_power_w": lot.uniform(100, 1200),
        }
        since_ns = ns((count - 1) * every) if count else None
        samples.append(Sample(source="fake", at_ns=ns(count * every), since_ns=since_ns, values=values))
    quarter = seconds / 4
    blocks = [("warmup", 1), ("measured", 1), ("measured", 2), ("alone", 1)]
    calls = [
        call(f"c{place}", place * quarter, (place + 0.9) * quarter, role, turn, n_output=100)
        for place, (role, turn) in enumerate(blocks)
    ]
    reads = {each.name: at_ms(range(100, round(quarter * 900), 100)) for each in calls}
    return samples, calls, reads


# The picture.


def test_a_chart_is_this_text() -> None:
    """60 MiB is the first of seven rows, 30 the fourth, 0 the last; a second has ten columns."""
    samples = steady("server_private_bytes", 30 * MIB, 4, every=1)
    samples += series("server_mapped_bytes", [(second, 60 * MIB * (second > 1)) for second in range(5)])
    assert drawn(samples, [call("w", 0, 0.95, "warmup"), call("r", 1, 4)]) == [
        "      ├warm-up─┤┣━━━━━━━━━ round 1 ━━━━━━━━━━┫",
        "memory MiB  ━ private 30.0 (max 30.0)",
        "            ━ mapped 36.0 (max 60.0)",
        "   60 ┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈⢀⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤",
        "                       ⢀⠔⠁",
        "   40 ┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈⡰⠁┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈",
        "      ⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⡤⠮⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤",
        "   20 ┈┈┈┈┈┈┈┈┈┈┈┈⢀⠎┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈",
        "                ⢀⠔⠁",
        "    0 ⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠃┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈",
        "      0                   2                4 s",
    ]


def test_without_colours_each_line_has_a_mark_of_its_own() -> None:
    samples = steady("server_private_bytes", 60 * MIB, 4, every=1) + steady("server_mapped_bytes", 0.0, 4, every=1)
    assert drawn(samples, width=47, colour=False) == [
        "memory MiB  o private 60.0 (max 60.0)",
        "            x mapped 0 (max 0)",
        "   60 o⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤o⠤⠤⠤⠤⠤⠤⠤⠤⠤o⠤⠤⠤⠤⠤⠤⠤⠤⠤o",
        "",
        "   40 ┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈",
        "",
        "   20 ┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈",
        "",
        "    0 x⠒⠒⠒⠒⠒⠒⠒⠒⠒x⠒⠒⠒⠒⠒⠒⠒⠒⠒x⠒⠒⠒⠒⠒⠒⠒⠒⠒x⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒",
        "      0                   2                 4 s",
    ]


def test_a_line_alone_needs_no_mark() -> None:
    shown = drawn(steady("machine_cpu_percent", 50.0, 4), colour=False)
    assert shown[0] == "CPU % of all cores  ━ machine 50.0 (max 50.0)"
    assert not re.search("[ox+*]", "".join(shown[1:]))


def test_a_wish_for_no_colours_in_the_environment_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    samples, calls, reads = everything()
    plain, coloured = drawn(samples, calls, reads, colour=False), drawn(samples, calls, reads)
    monkeypatch.setenv("NO_COLOR", "1")
    assert drawn(samples, calls, reads) == plain != coloured


def printed(view: Text | Group, width: int) -> str:
    console = Console(file=StringIO(), width=width, force_terminal=True, color_system="standard", no_color=False)
    console.print(view)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_a_line_has_the_colour_of_its_name() -> None:
    samples = steady("gpu_percent", 100.0, 4) + steady("server_gpu_percent", 50.0, 4)
    head, *rows = printed(samples_view(samples, [], {}, 80), 80).splitlines()
    blue, green = "\x1b[94m", "\x1b[92m"
    assert f"{blue}━ machine" in head
    assert f"{green}━ server" in head
    assert [row for row, line in enumerate(rows) if blue in line] == [0]
    assert [row for row, line in enumerate(rows) if green in line] == [3]


def test_without_colours_no_colour_is_printed() -> None:
    samples, calls, reads = everything()
    codes = set(re.findall(r"\x1b\[([\d;]*)m", printed(samples_view(samples, calls, reads, 100, colour=False), 100)))
    assert codes <= {"0", "1", "2"}  # plain, bold, dim


@pytest.mark.parametrize("colour", [True, False])
@pytest.mark.parametrize("width", [60, 61, 79, 80, 99, 120, 161, 200])
def test_no_line_is_wider_than_asked(width: int, colour: bool) -> None:
    samples, calls, reads = everything()
    view = samples_view(samples, calls, reads, width, colour, cores=8)
    assert max(cell_len(text.plain) for text in texts(view)) == width
    assert len(printed(view, width).splitlines()) == len(texts(view))  # and none was wrapped


def test_charts_come_in_their_order_and_the_last_one_has_the_time() -> None:
    samples, calls, reads = everything()
    shown = drawn(samples, calls, reads, width=120, cores=8)
    names = ["tokens/s", "CPU % of all cores", "memory GiB", "GPU %", "power W"]
    assert [line.split("  ")[0] for line in shown if "━ " in line and "┣" not in line] == names
    assert len(shown) == 1 + 5 * (1 + ROWS) + 1
    assert shown[-1].split() == ["0", "5", "10", "15", "20", "s"]


def test_a_chart_without_data_is_left_out() -> None:
    samples = steady("gpu_percent", 1.0, 4) + steady("soc_power_w", None, 4)
    assert [line for line in drawn(samples) if "(max" in line] == ["GPU %  ━ machine 1.00 (max 1.00)"]


def test_a_legend_too_long_for_the_width_goes_on_below() -> None:
    samples, calls, reads = everything()
    shown = drawn(samples, calls, reads, width=60)
    at = next(row for row, line in enumerate(shown) if line.startswith("power W"))
    legend = shown[at : at + 4]
    assert re.fullmatch(r"power W  ━ GPU \S+ \(max \S+\) · ━ chip \S+ \(max \S+\)", legend[0])
    assert re.fullmatch(r" {9}━ CPU package \S+ \(max \S+\)( · ━ system .*)?", legend[1])
    assert "━ system" in legend[1] + legend[2]


@pytest.mark.parametrize("seed", range(5))
def test_every_level_is_drawn_where_it_belongs(seed: int) -> None:
    lot = random.Random(seed)
    values = [lot.uniform(0, 100) for _ in range(11)]
    rows = canvas(drawn(series("server_private_bytes", [(at, v * MIB) for at, v in enumerate(values)])), "memory")
    assert rows[0].startswith("  100 ")
    found = dots(rows)
    for second, value in enumerate(values):
        x, y = min(79, second * 8), int(4 * (0.5 + 6 * (1 - value / 100)))  # the scale ends in the middle of a row
        assert any((x + dx, y + dy) in found for dx in (-1, 0, 1) for dy in (-1, 0, 1)), (second, value)


def test_samples_need_not_come_in_order() -> None:
    samples, calls, reads = everything()
    mixed = random.Random(1).sample(samples, len(samples))
    assert drawn(mixed, calls, reads) == drawn(samples, calls, reads)


def test_the_zero_of_time_is_what_came_first() -> None:
    samples = series("server_private_bytes", [(2, MIB), (3, MIB), (4, MIB)])
    late = canvas(drawn(samples, [call("a", 0, 1)]), "memory")
    assert columns_of(late) == set(range(20, 40))
    assert columns_of(canvas(drawn(samples), "memory")) == set(range(40))


def test_a_rate_is_drawn_in_the_middle_of_its_span() -> None:
    rows = canvas(drawn(rates("machine_cpu_percent", [(0, None), (2, 50.0), (4, 50.0)]), width=47), "CPU")
    assert columns_of(rows) == set(range(10, 31))  # 1 to 3 s of 41 columns in four


def test_a_level_is_drawn_where_it_was_read() -> None:
    levels = rates("server_private_bytes", [(0, None), (2, MIB), (4, MIB)])  # beside rates a level has a span as well
    assert columns_of(canvas(drawn(levels, width=47), "memory")) == set(range(20, 41))


def test_the_package_s_own_figure_is_left_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    samples, calls, reads = everything()
    before = (plotext.figure.size(), plotext.figure.build().string(), plotext.terminal.size())
    drawn(samples, calls, reads, width=200)
    assert (plotext.figure.size(), plotext.figure.build().string(), plotext.terminal.size()) == before
    assert capsys.readouterr() == ("", "")


# Gaps.


def missed(start: float, end: float) -> list[tuple[float, float | None]]:
    """A reading each 0.2 s for ten seconds, but for those in between."""
    return [(count / 5, MIB) for count in range(51) if not start < count / 5 < end]


def test_missed_samples_stay_a_gap() -> None:
    rows = canvas(drawn(series("server_private_bytes", missed(4, 6)), width=57), "memory")
    assert columns_of(rows) == set(range(51)) - set(range(21, 30))  # 4 s is in column 20, 6 s in column 30


@pytest.mark.parametrize(("late", "broken"), [(1.24, False), (1.26, True)])
def test_a_gap_is_more_than_two_and_a_half_times_the_usual(late: float, broken: bool) -> None:
    at = [(count / 10, MIB) for count in range(11)] + [(late + count / 10, MIB) for count in range(8)]
    rows = canvas(drawn(series("server_private_bytes", at), width=106), "memory")
    assert bool(set(range(100)) - columns_of(rows)) is broken


@pytest.mark.parametrize("unknown", [None, float("nan"), float("inf")])
def test_an_unknown_reading_is_a_gap_and_no_zero(unknown: float | None) -> None:
    shown = drawn(series("gpu_percent", [(at, unknown if at in (4, 5) else 50.0) for at in range(11)]), width=57)
    assert shown[0] == "GPU %  ━ machine 50.0 (max 50.0)"
    assert columns_of(canvas(shown, "GPU")) == set(range(51)) - set(range(16, 30))  # 3 s is in 15, 6 s in 30


def test_no_power_at_all_is_unknown() -> None:
    shown = drawn(series("system_power_w", [(at, 0.0 if at in (4, 5) else 50.0) for at in range(11)]), width=57)
    assert shown[0] == "power W  ━ system 50.0 (max 50.0)"
    assert columns_of(canvas(shown, "power")) == set(range(51)) - set(range(16, 30))
    assert isinstance(samples_view(steady("gpu_power_w", 0.0, 4), [], {}), Text)


def test_a_series_read_less_often_than_the_others_has_no_gaps_for_that() -> None:
    samples = steady("machine_cpu_percent", 50.0, 10) + steady("server_private_bytes", MIB, 10, every=1.0)
    assert columns_of(canvas(drawn(samples), "memory")) == set(range(40))


def test_a_rate_over_a_gap_counts_in_full_and_is_not_drawn_into_it() -> None:
    """10 % for three seconds, then five seconds in one reading of 40 %: (3 × 10 + 5 × 40) / 8."""
    shown = drawn(rates("machine_cpu_percent", [(0, None), (1, 10.0), (2, 10.0), (3, 10.0), (8, 40.0)]))
    assert shown[0] == "CPU % of all cores  ━ machine 28.8 (max 40.0)"
    assert columns_of(canvas(shown, "CPU")) == {*range(2, 13), 37}  # 0.5 to 2.5 s; 7.5 s


# Few and many.


def test_without_samples_there_is_a_line_that_says_so() -> None:
    for samples in ([], steady("machine_cpu_percent", None, 1), steady("swapouts", 3.0, 1)):
        view = samples_view(samples, [], {}, 60)
        assert isinstance(view, Text)
        assert view.plain.startswith("no samples: ")
        assert cell_len(view.plain) <= 60
        assert "\n" not in view.plain


def test_a_reading_alone_is_a_dot() -> None:
    rows = canvas(drawn(series("server_private_bytes", [(0, 3 * MIB)])), "memory MiB  ━ private 3.00 (max 3.00)")
    assert rows[0].startswith("    3 •")
    assert sum(line.count("•") for line in rows) == 1
    assert not dots(rows)


def test_a_run_of_a_second_is_drawn_over_the_whole_width() -> None:
    shown = drawn(series("server_private_bytes", [(count / 4, MIB) for count in range(5)]))
    assert columns_of(canvas(shown, "memory")) == set(range(40))
    assert shown[-1].split() == ["0", "0.5", "1", "s"]


def test_all_zero_is_a_line_at_the_bottom() -> None:
    shown = drawn(steady("gpu_percent", 0.0, 4))
    assert shown[0] == "GPU %  ━ machine 0 (max 0)"
    rows = canvas(shown, "GPU")
    assert {y // 4 for _, y in dots(rows)} == {6}
    assert columns_of(rows) == set(range(40))


def test_an_hour_keeps_the_highest_of_a_level() -> None:
    """18,000 readings on 80 half columns: the one that is four times as high is still there, in its place."""
    at = [(count / 5, (4 if count == 5000 else 1) * GIB) for count in range(18_000)]
    shown = drawn(series("server_private_bytes", at))
    assert shown[0] == "memory GiB  ━ private 1.00 (max 4.00)"
    peak = {x for x, y in dots(canvas(shown, "memory")) if y // 4 == 0}
    assert peak == {int(1000 / 3599.8 * 80)}
    assert shown[-1].split() == ["0", "30", "min"]


def test_an_hour_shows_the_mean_of_a_rate() -> None:
    at: list[tuple[float, float | None]] = [(0, None)]
    at += [(count / 5, 100.0 * (count % 2)) for count in range(1, 18_000)]
    shown = drawn(rates("machine_cpu_percent", at))
    assert shown[0] == "CPU % of all cores  ━ machine 50.0 (max 100.0)"
    rows = canvas(shown, "CPU")
    assert [line[:MARGIN].strip() for line in rows] == ["60", "", "40", "", "20", "", "0"]
    assert {y // 4 for _, y in dots(rows)} == {1}  # 50 of 60: the second row is from 45 to 55
    assert columns_of(rows) == set(range(40))


def test_a_gap_is_still_there_after_an_hour() -> None:
    at = [(count / 5, GIB) for count in range(18_000) if not 900 < count / 5 < 1800]
    rows = canvas(drawn(series("server_private_bytes", at)), "memory")
    assert columns_of(rows) == set(range(40)) - set(
        range(11, 20)
    )  # a column has 90 s, less 0.005; 900 s is in column 10


# Figures.


def test_a_level_has_the_mean_of_its_readings() -> None:
    assert drawn(series("server_private_bytes", [(0, MIB), (1, 2 * MIB), (2, 6 * MIB)]))[0] == (
        "memory MiB  ━ private 3.00 (max 6.00)"
    )


def test_a_server_s_cpu_is_its_share_of_all_cores() -> None:
    samples = steady("server_cpu_percent", 396.0, 4)
    assert drawn(samples, cores=8)[0] == "CPU % of all cores  ━ server 49.5 (max 49.5)"
    assert isinstance(samples_view(samples, [], {}), Text)  # of how many cores is not known
    both = samples + steady("machine_cpu_percent", 63.0, 4)
    assert drawn(both)[0] == "CPU % of all cores  ━ machine 63.0 (max 63.0)"
    assert (
        drawn(both, width=80, cores=8)[0] == "CPU % of all cores  ━ machine 63.0 (max 63.0) · ━ server 49.5 (max 49.5)"
    )


def test_memory_is_in_gib_from_one_gib_on() -> None:
    assert drawn(steady("server_private_bytes", GIB - MIB, 4))[0] == "memory MiB  ━ private 1,023 (max 1,023)"
    assert drawn(steady("server_private_bytes", GIB, 4))[0] == "memory GiB  ━ private 1.00 (max 1.00)"
    mixed = steady("server_private_bytes", 512 * MIB, 4) + steady("server_mapped_bytes", 4 * GIB, 4)
    assert drawn(mixed, width=80)[0] == "memory GiB  ━ private 0.500 (max 0.500) · ━ mapped 4.00 (max 4.00)"


def test_all_programs_gpu_memory_stands_in_for_the_server_s_own() -> None:
    everyones = steady("gpu_used_bytes", 20 * GIB, 4)
    assert drawn(everyones, width=80)[0] == "memory GiB  ━ GPU of all programs 20.0 (max 20.0)"
    own = drawn(everyones + steady("server_gpu_bytes", 5 * GIB, 4), width=80)
    assert own[0] == "memory GiB  ━ GPU 5.00 (max 5.00)"


def test_where_two_sources_tell_the_one_that_told_most_is_drawn() -> None:
    few = series("machine_cpu_percent", [(0, 10.0), (2, 10.0), (4, 10.0)], source="few")
    assert drawn([*few, *steady("machine_cpu_percent", 50.0, 4)])[0] == "CPU % of all cores  ━ machine 50.0 (max 50.0)"


@pytest.mark.parametrize(
    ("most", "ticks"),
    [
        (0.0, "1.0 0.5 0"),
        (0.004, "0.010 0.005 0"),
        (0.3, "0.3 0.2 0.1 0"),
        (1.0, "1.0 0.5 0"),
        (1.01, "1.5 1.0 0.5 0"),
        (2.0, "2 1 0"),
        (5.0, "6 4 2 0"),
        (63.0, "100 50 0"),
        (100.0, "100 50 0"),
        (101.0, "150 100 50 0"),
        (999.0, "1,000 500 0"),
        (2500.0, "3,000 2,000 1,000 0"),
        (25_000.0, "30k 20k 10k 0"),
    ],
)
def test_ticks_are_round_numbers(most: float, ticks: str) -> None:
    rows = canvas(drawn(steady("gpu_percent", most, 4)), "GPU")
    assert " ".join(line[:MARGIN].strip() for line in rows if line[:MARGIN].strip()) == ticks


@pytest.mark.parametrize(
    ("seconds", "ticks"),
    [
        (1, "0 0.2 0.4 0.6 0.8 1 s"),
        (20, "0 5 10 15 20 s"),
        (60, "0 10 20 30 40 50 60 s"),
        (200, "0 30 60 90 120 150 180 s"),
        (3600, "0 10 20 30 40 50 60 min"),
        (86_400, "0 4 8 12 16 20 24 h"),
    ],
)
def test_the_time_has_round_ticks(seconds: int, ticks: str) -> None:
    samples = series("gpu_percent", [(seconds * part / 10, 1.0) for part in range(11)])
    assert " ".join(drawn(samples, width=120)[-1].split()) == ticks


# Tokens.


def tokens(calls: Sequence[CallRecord], reads: Mapping[str, array[int]], until: float = 10) -> list[str]:
    return drawn(steady("machine_cpu_percent", 1.0, until), calls, reads, width=56)


TEN = range(50, 1000, 100)  # ms: ten reads in a second, two each 0.2 s


def test_tokens_are_counted_by_the_server_and_come_with_the_reads() -> None:
    reads = {"a": at_ms(TEN)}
    for n_output, n_hidden, figure in (
        (None, 0, "10.0"),  # pieces
        (10, 0, "10.0"),
        (25, 0, "25.0"),
        (25, 5, "20.0"),  # hidden ones came in no read
    ):
        shown = tokens([call("a", 0, 1, n_output=n_output, n_hidden=n_hidden)], reads)
        assert title(shown, "tokens/s") == f"tokens/s  ━ all calls {figure} (max {figure}) · steps of 0.2 s"


def test_tokens_of_calls_at_once_add_up() -> None:
    calls = [call("a", 0, 1), call("b", 0, 1), call("c", 0, 1)]
    shown = tokens(calls, {each.name: at_ms(TEN) for each in calls})
    assert "all calls 30.0 (max 30.0)" in title(shown, "tokens/s")


def test_between_calls_there_is_neither_speed_nor_time() -> None:
    shown = tokens([call("a", 0, 1), call("b", 8, 10)], {"a": at_ms(TEN), "b": at_ms(range(50, 2000, 100))})
    assert "all calls 10.0 (max 10.0)" in title(shown, "tokens/s")
    assert columns_of(canvas(shown, "tokens/s")) == {*range(5), *range(40, 50)}


def test_a_call_that_brings_nothing_is_time_without_tokens() -> None:
    """Ten in the first second, none in the second: the line falls to the bottom, and the mean is five."""
    shown = tokens([call("a", 0, 1), call("b", 1, 2)], {"a": at_ms(TEN)}, until=2)
    assert "all calls 5.00 (max 10.0)" in title(shown, "tokens/s")
    assert {y // 4 for x, y in dots(canvas(shown, "tokens/s")) if x >= 60} == {6}


def test_a_reply_in_one_piece_has_no_speed_and_no_time() -> None:
    whole = call("b", 0, 10, n_output=500)
    shown = tokens([call("a", 0, 1), whole], {"a": at_ms(TEN), "b": at_ms(())})
    assert "all calls 10.0 (max 10.0)" in title(shown, "tokens/s")
    assert not any(line.startswith("tokens/s") for line in tokens([whole], {}))


def test_a_call_shorter_than_a_step_has_the_speed_of_its_own_time() -> None:
    shown = tokens([call("a", 3, 3.05)], {"a": at_ms(range(1, 50, 5))})
    assert "all calls 200.0 (max 200.0)" in title(shown, "tokens/s")
    assert sum(line.count("•") for line in canvas(shown, "tokens/s")) == 1


def test_a_last_token_at_the_very_end_counts() -> None:
    assert "all calls 10.0 (max" in title(tokens([call("a", 0, 1)], {"a": at_ms(range(100, 1001, 100))}), "tokens/s")


def test_a_short_pause_breaks_no_line_and_is_in_no_mean() -> None:
    """Half a step at most: the two calls are 0.08 s, then 0.12 s apart, and a step is 0.2 s."""
    for pause, whole in ((0.08, True), (0.12, False)):
        calls = [call("a", 0, 1), call("b", 1 + pause, 2 + pause)]
        shown = tokens(calls, {"a": at_ms(TEN), "b": at_ms(TEN)}, until=2)
        assert "all calls 10.0 (max " in title(shown, "tokens/s")
        assert (columns_of(canvas(shown, "tokens/s")) >= set(range(5, 45))) is whole


def test_a_call_whose_end_is_unknown_ends_with_its_last_read() -> None:
    shown = tokens([call("a", 0, None)], {"a": at_ms(range(50, 1001, 50))})
    assert "all calls 20.0 (max " in title(shown, "tokens/s")


def test_a_longer_run_counts_in_longer_steps() -> None:
    for seconds, step in ((40, "0.2"), (60, "0.5"), (3600, "20")):
        shown = tokens([call("a", 0, 1)], {"a": at_ms(TEN)}, until=seconds)
        assert title(shown, "tokens/s").endswith(f"steps of {step} s")


# Blocks.


def blocks(calls: Sequence[CallRecord]) -> str:
    """Of a run of ten seconds, five columns each."""
    return drawn(steady("machine_cpu_percent", 1.0, 10), calls, width=56)[0][MARGIN:]


def test_a_block_lasts_from_its_first_call_to_the_end_of_its_last() -> None:
    calls = [call("a", 2, 3), call("b", 2.5, 5.9), call("c", 6.1, 7, turn=2), call("d", 8, 9.99, turn=2)]
    assert blocks(calls) == " " * 10 + "┣━━━━ round 1 ━━━━━┫" + "┣━━━━ round 2 ━━━━━┫"


def test_what_is_not_measured_is_lighter() -> None:
    assert blocks([call("w", 0, 2.9, "warmup"), call("a", 3, 5.9), call("s", 6, 9.99, "alone")]) == (
        "├── warm-up ──┤┣━━ round 1 ━━┫├───── alone ──────┤"
    )


def test_a_block_around_a_measured_one_leaves_it_whole() -> None:
    assert blocks([call("s", 0, 9.99, "alone"), call("a", 2, 3.99)]) == "├─────────┣round 1━┫─ alone " + "─" * 21 + "┤"


def test_the_measured_blocks_stand_out() -> None:
    samples = steady("machine_cpu_percent", 1.0, 10)
    view = samples_view(samples, [call("w", 0, 2.9, "warmup"), call("a", 3, 9.99)], {}, 56)
    first = printed(view, 56).splitlines()[0]
    assert first == "      \x1b[2m├── warm-up ──┤\x1b[0m\x1b[1m┣━━━━━━━━━━━━ round 1 ━━━━━━━━━━━━┫\x1b[0m"


def test_a_block_without_an_end_lasts_to_the_last_that_is_known() -> None:
    cut_off = call("a", 0, None)
    cut_off.last_ns = ns(9.99)
    assert len(blocks([cut_off])) == 50


def test_a_name_gives_way_in_a_narrow_block() -> None:
    turns = [(0, 1.79), (1.8, 2.39), (2.4, 2.79), (2.8, 2.99)]
    assert blocks([call(str(turn), *span, turn=turn) for turn, span in enumerate(turns, 1)]) == ("┣round 1┫┣2┫┣┫┃")


def test_a_round_that_begins_in_the_column_where_the_last_one_ended_begins_in_the_next() -> None:
    assert blocks([call("a", 0, 5.05), call("b", 5.15, 9.99, turn=2)]) == (
        "┣━━━━━━━ round 1 ━━━━━━━━┫┣━━━━━━ round 2 ━━━━━━━┫"
    )


def test_a_call_never_sent_is_in_no_picture() -> None:
    assert blocks([call("a", 5, 9.99), call("b", None, None, turn=2)]) == " " * 25 + "┣━━━━━━━ round 1 ━━━━━━━┫"


def test_names_from_outside_are_not_shown() -> None:
    evil = "\x1b[31m[red]evil"
    samples = series("machine_cpu_percent", [(0, 1.0), (1, 1.0)], source=evil)
    view = samples_view(samples, [call(evil, 0, 1, role=evil)], {evil: at_ms(TEN)}, 60)
    assert not any("evil" in text.plain or "\x1b" in text.plain for text in texts(view))
    assert texts(view)[0].plain == " " * MARGIN + "├" + "─" * 52 + "┤"


def test_a_long_wait_before_the_first_call_is_not_drawn_and_counts_for_nothing() -> None:
    samples = steady("machine_cpu_percent", 90.0, 100) + series("machine_cpu_percent", [(100.5, 20.0), (101.5, 20.0)])
    due = msgspec.structs.replace(call("a", 100.1, 102), sched_ns=ns(100.1))
    shown = drawn(samples, [due], {"a": at_ms(TEN)})
    assert any(line.startswith("CPU % of all cores  ━ machine 20.0 (max 20.0)") for line in shown)
    assert shown[-1].split()[-2:] == ["6", "s"] or float(shown[-1].split()[-2]) <= 7
