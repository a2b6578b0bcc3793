"""Plans and what makes them, and the two ways in which text and figures reach a reader."""

from __future__ import annotations

import itertools
import unicodedata

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infertui.errors import UsageError
from infertui.report import figure
from infertui.scenario import concurrent, single
from infertui.scenario.base import WARMUP_TOKENS, Params
from infertui.scenario.corpus import pick
from infertui.scenario.plan import Block, Call, Message, Plan, Prompt, digest, order_of
from infertui.stats import Distribution
from infertui.text import lines, plain

PROMPT = Prompt("p-1", "router", 8, (Message("system", "Be short."), Message("user", "Why?")))
QUICK = settings(max_examples=100, deadline=None, database=None)


def chain(*after: tuple[int, ...]) -> tuple[Call, ...]:
    return tuple(Call(f"c{index}", PROMPT, 8, after=before) for index, before in enumerate(after))


# The order of calls.


@pytest.mark.parametrize(
    ("after", "order"),
    [
        ([], []),
        ([()], [0]),
        ([(), (), ()], [0, 1, 2]),
        ([(), (0,), (1,)], [0, 1, 2]),
        ([(1,), (2,), ()], [2, 1, 0]),
        ([(), (0,), (0,), (1, 2)], [0, 1, 2, 3]),  # fan out, then join
        ([(3,), (), (0, 1), ()], [1, 3, 0, 2]),
        ([(), (0, 0)], [0, 1]),  # said twice is said once
    ],
)
def test_calls_come_after_their_predecessors(after: list[tuple[int, ...]], order: list[int]) -> None:
    calls = chain(*after)
    assert order_of(calls) == order
    plan = Plan(calls)
    assert plan.checked() is plan


@QUICK
@given(data=st.data(), size=st.integers(1, 12))
def test_any_graph_without_a_circle_has_an_order(data: st.DataObject, size: int) -> None:
    names = data.draw(st.permutations(range(size)))
    after: list[tuple[int, ...]] = [()] * size
    for place, index in enumerate(names):
        after[index] = tuple(data.draw(st.sets(st.sampled_from(names[:place])))) if place else ()
    order = order_of(chain(*after))
    assert sorted(order) == list(range(size))
    assert all(order.index(before) < order.index(index) for index in range(size) for before in after[index])


@pytest.mark.parametrize(
    ("after", "names"),
    [([(0,)], ["c0"]), ([(1,), (0,)], ["c0", "c1"]), ([(), (0, 3), (1,), (2,)], ["c1", "c2", "c3"])],
)
def test_calls_in_a_circle_are_named(after: list[tuple[int, ...]], names: list[str]) -> None:
    with pytest.raises(UsageError) as error:
        Plan(chain(*after)).checked()
    assert [name for name in ("c0", "c1", "c2", "c3") if repr(name) in error.value.message] == names


@pytest.mark.parametrize("missing", [2, 7, -1])
def test_a_predecessor_that_does_not_exist_names_the_call_and_the_number(missing: int) -> None:
    with pytest.raises(UsageError) as error:
        Plan(chain((), (missing,))).checked()
    assert "'c1'" in error.value.message
    assert f"number {missing}," in error.value.message


# Hashes.


def test_a_hash_is_the_same_in_every_process() -> None:
    # blake2b of 16 bytes over the JSON: known in advance, so that rows of different days can be compared
    assert digest(b"") == "cae66941d9efbd404e4d88758ea67670"
    assert PROMPT.hash == digest(b'[{"role":"system","content":"Be short."},{"role":"user","content":"Why?"}]')


def test_a_prompt_is_known_by_its_words_alone() -> None:
    assert msgspec.structs.replace(PROMPT, id="p-2", kind="coding", max_tokens=99).hash == PROMPT.hash
    assert msgspec.structs.replace(PROMPT, messages=PROMPT.messages[1:]).hash != PROMPT.hash


def test_the_same_work_has_the_same_hash_and_other_work_another() -> None:
    call = Call("c", PROMPT, 8)
    same = Plan((msgspec.structs.replace(call),), 2)
    assert same.hash == Plan((call,), 2).hash == Plan((call,), 2).checked().hash
    changes = [{"max_tokens": 9}, {"lane": 1}, {"at_ms": 5.0}, {"think_ms": 5.0}, {"prompt": pick(1)[0]}]
    others = [Plan((msgspec.structs.replace(call, **change),), 2) for change in changes]
    others += [Plan((call,), 3), Plan((call,), None), Plan((call, call), 2)]
    assert len({plan.hash for plan in [same, *others]}) == len(others) + 1


def test_two_makings_of_a_plan_have_the_same_hash() -> None:
    params = Params(requests=5, seed=3)
    assert single.round(params, 1).plan.hash == single.round(params, 1).plan.hash
    assert single.round(params, 1).plan.hash != single.round(Params(requests=5, seed=4), 1).plan.hash


# Scenarios.


def unnamed(block: Block) -> Plan:
    calls = tuple(msgspec.structs.replace(call, name="") for call in block.plan.calls)
    return msgspec.structs.replace(block.plan, calls=calls)


def test_single_sends_one_call_after_the_other() -> None:
    block = single.round(Params(), 1)
    assert (block.role, block.round, block.plan.concurrency) == ("measured", 1, 1)
    assert [call.name for call in block.plan.calls] == [f"r1-{number:03}" for number in range(1, 13)]
    assert all(not call.after and call.at_ms is None and call.lane is None for call in block.plan.calls)
    assert [call.prompt for call in block.plan.calls] == pick(12)
    assert [call.max_tokens for call in block.plan.calls] == [prompt.max_tokens for prompt in pick(12)]
    # router, reasoning and coding take turns
    assert [call.prompt.kind for call in block.plan.calls] == ["router", "reasoning", "coding"] * 4


def test_single_warms_up_with_one_short_call() -> None:
    (block,) = single.prepare(Params())
    assert (block.role, block.round, block.plan.concurrency, len(block.plan.calls)) == ("warmup", 0, 1, 1)
    assert block.plan.calls[0].max_tokens == WARMUP_TOKENS
    assert not list(single.prepare(Params(warmup=0)))
    (block,) = single.prepare(Params(warmup=3, max_tokens=5))
    assert [call.max_tokens for call in block.plan.calls] == [5, 5, 5]


@pytest.mark.parametrize("scenario", [single.SCENARIO, concurrent.SCENARIO])
@pytest.mark.parametrize("params", [Params(), Params(requests=7, concurrency=2, max_tokens=20, seed=9)])
def test_each_round_is_the_same_but_for_the_names(scenario: object, params: Params) -> None:
    make = single.round if scenario is single.SCENARIO else concurrent.round
    first, second = make(params, 1), make(params, 2)
    assert (first.round, second.round) == (1, 2)
    assert unnamed(first).hash == unnamed(second).hash
    names = [call.name for block in (first, second) for call in block.plan.calls]
    assert len(set(names)) == len(names)
    assert all(name.startswith(("r1-", "r2-")) for name in names)


@pytest.mark.parametrize("scenario", [single.SCENARIO, concurrent.SCENARIO])
@pytest.mark.parametrize(
    "params", [Params(), Params(concurrency=8, requests=20), Params(concurrency=8, requests=3), Params(warmup=2)]
)
def test_no_two_calls_of_a_run_share_a_name(scenario: object, params: Params) -> None:
    make = single if scenario is single.SCENARIO else concurrent
    blocks = [*make.prepare(params), make.round(params, 1), make.round(params, 2)]
    names = [call.name for block in blocks for call in block.plan.calls]
    assert len(set(names)) == len(names)  # the nonces are derived from them
    assert all(block.plan.checked() for block in blocks)


def test_concurrent_warms_up_sends_each_prompt_alone_and_then_all_at_once() -> None:
    params = Params()
    warmup, alone = concurrent.prepare(params)
    measured = concurrent.round(params, 1)
    assert [block.role for block in (warmup, alone, measured)] == ["warmup", "alone", "measured"]
    assert [block.round for block in (warmup, alone, measured)] == [0, 0, 1]
    assert [block.plan.concurrency for block in (warmup, alone, measured)] == [4, 1, 4]
    assert [len(block.plan.calls) for block in (warmup, alone, measured)] == [4, 4, 4]
    assert [call.prompt for call in measured.plan.calls] == pick(4)
    assert all(call.max_tokens == WARMUP_TOKENS for call in warmup.plan.calls)


@pytest.mark.parametrize(
    ("params", "prompts", "calls"),
    [
        (Params(), 4, 4),
        (Params(concurrency=6), 6, 6),
        (Params(concurrency=3, requests=10), 3, 10),  # three kept busy
        (Params(concurrency=8, requests=2), 2, 2),  # never more prompts than calls
        (Params(requests=9, max_tokens=30), 4, 9),
        (Params(kinds=("coding",), seed=5), 4, 4),
    ],
)
def test_concurrent_compares_the_same_calls_alone_and_together(params: Params, prompts: int, calls: int) -> None:
    *_, alone = concurrent.prepare(params)
    measured = concurrent.round(params, 1)
    limits = {call.prompt.hash: call.max_tokens for call in alone.plan.calls}
    assert len(alone.plan.calls) == len(limits) == prompts
    assert len(measured.plan.calls) == calls
    assert {call.prompt.hash: call.max_tokens for call in measured.plan.calls} == limits
    used = [call.prompt.hash for call in measured.plan.calls]
    assert used == list(itertools.islice(itertools.cycle(limits), calls))


def test_concurrent_may_leave_out_what_is_not_measured() -> None:
    assert [block.role for block in concurrent.prepare(Params(alone=False))] == ["warmup"]
    assert [block.role for block in concurrent.prepare(Params(warmup=0))] == ["alone"]
    assert not list(concurrent.prepare(Params(warmup=0, alone=False)))


def test_kinds_and_limits_are_those_asked_for() -> None:
    for block in (single.round(Params(kinds=("router",), max_tokens=5), 1), concurrent.round(Params(max_tokens=5), 1)):
        assert {call.max_tokens for call in block.plan.calls} == {5}
    assert {call.prompt.kind for call in single.round(Params(kinds=("router",)), 1).plan.calls} == {"router"}


@pytest.mark.parametrize(
    ("name", "least"), [("requests", 1), ("concurrency", 1), ("rounds", 1), ("max_tokens", 1), ("warmup", 0)]
)
def test_parameters_that_are_too_small_are_refused_by_the_name_of_their_flag(name: str, least: int) -> None:
    params = Params(**{name: least})
    assert params.checked() is params
    with pytest.raises(UsageError) as error:
        Params(**{name: least - 1}).checked()
    assert str(error.value).startswith(f"--{name.replace('_', '-')} {least - 1}: it takes {least} to ")


def test_parameters_that_are_not_given_are_fine() -> None:
    assert Params().checked() == Params()


# Text from elsewhere.


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, größer 😀", "plain text, größer 😀"),
        ("\x1b[31mred\x1b[0m", "␛[31mred␛[0m"),
        ("\x1b]0;title\x07", "␛]0;title␇"),
        ("\x9b31mred", "<009B>31mred"),  # the C1 form of the same code
        ("nul\x00 bell\x07 back\x08 del\x7f", "nul␀ bell␇ back␈ del<007F>"),
        ("a\nb\r\nc\td   e", "a b c d e"),
        ("  around  ", "around"),
        ("a\x0bb\x0cc", "a␋b␌c"),
        ("safe\u202egpj.exe", "safe<202E>gpj.exe"),
        ("\u2066a\u2069\u200f\u061c", "<2066>a<2069><200F><061C>"),
        ("zero\u200bwidth\ufeff", "zero<200B>width<FEFF>"),
        ("one\u2028two\u2029three", "one<2028>two<2029>three"),
        ("lone \ud83d half", "lone <D83D> half"),
        ("[bold]markup[/bold]", "[bold]markup[/bold]"),  # no terminal acts on it; rich's callers escape it
        ("", ""),
    ],
)
def test_text_on_one_line_cannot_act_on_a_terminal(text: str, shown: str) -> None:
    assert plain(text) == shown


@pytest.mark.parametrize(("length", "limit"), [(300, 300), (301, 300), (5000, 300), (11, 10), (10, 10)])
def test_text_on_one_line_is_cut_and_says_so(length: int, limit: int) -> None:
    text = "x" * length
    assert plain(text, limit) == (text if length <= limit else "x" * (limit - 1) + "…")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\n", "a\nb"),
        ("a\r\nb\rc", "a\nb\nc"),
        ("\tindented", "    indented"),
        ("two  spaces ", "two  spaces "),
        ("\x1b[2Jgone\n\x9b2J", "␛[2Jgone\n<009B>2J"),
        ("a\u202eb\u2028c", "a<202E>b\nc"),
        ("", ""),
    ],
)
def test_text_on_several_lines_keeps_its_lines(text: str, shown: str) -> None:
    assert lines(text) == shown


@QUICK
@given(text=st.text(st.characters(), max_size=400) | st.text("\x1b\x9b\r\n\u202e a", max_size=400))
def test_no_text_whatever_can_act(text: str) -> None:
    line, several = plain(text, 100), lines(text)
    assert len(line) <= 100
    for shown in (line, several.replace("\n", "")):
        assert not any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in shown)
        acting = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
        assert not acting & {unicodedata.bidirectional(char) for char in shown}
        shown.encode()  # no halves of characters


# Figures.


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (0.0, "0"),
        (0.1234, "0.123"),
        (1.234, "1.23"),
        (12.34, "12.3"),
        (123.44, "123.4"),
        (1234.4, "1,234"),
        (1_234_567.0, "1,234,567"),
        (999.96, "1,000"),  # four digits at most, after rounding too
        (-12.34, "-12.3"),
        (7, "7.00"),
    ],
)
def test_a_number_has_four_digits_at_most(value: float | None, shown: str) -> None:
    assert figure.number(value) == shown


def test_a_number_has_its_unit_and_the_unknown_has_none() -> None:
    assert figure.number(12.34, "ms") == "12.3 ms"
    assert figure.number(None, "ms") == "–"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (0, "0 %"), (0.0, "0 %"), (1.0, "100 %"), (0.5, "50.0 %"), (0.9167, "91.7 %"), (0.001, "0.1 %")],
)
def test_a_percent_is_whole_only_at_its_ends(value: float | None, shown: str) -> None:
    assert figure.percent(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (0, "0.0 s"),
        (0.44, "0.4 s"),
        (9.9, "9.9 s"),
        (12.3, "12 s"),
        (60, "1 min 00 s"),
        (61.4, "1 min 01 s"),
        (119.6, "2 min 00 s"),
        (3599.7, "1 h 00 min"),
        (3660, "1 h 01 min"),
        (90_000, "25 h 00 min"),
    ],
)
def test_seconds_are_written_as_one_would_say_them(value: float | None, shown: str) -> None:
    assert figure.seconds(value) == shown


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("ttft_ms", Distribution(3, mean=9.0, p50=12.34), "12.3 ms"),
        ("ttft_ms", Distribution(0), "–"),
        ("effective_tps", Distribution(1, p50=50.0), "50.0 tok/s"),
        ("success_rate", 0.5, "50.0 %"),
        ("success_rate", None, "–"),
        ("wall_s", 2.5, "2.50 s"),
        ("speedup", None, "–"),
        ("calls_in_flight", 2.5, "2.50"),
    ],
)
def test_a_metric_is_one_figure(key: str, value: Distribution | float | None, shown: str) -> None:
    assert figure.of_metric(key, value) == shown
