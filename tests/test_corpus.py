"""The frozen corpus is what its generator makes, and the choice from it is balanced and repeatable."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from infertui.errors import UsageError
from infertui.scenario.corpus import KINDS, load, pick
from infertui.scenario.generate import TARGET, generate
from infertui.scenario.plan import Prompt

TOKENS = {"router": (8, 48), "reasoning": (96, 512), "coding": (128, 768)}

# Words up to a bound, and the least number of prompts of a kind between it and the bound before.
BUCKETS = ((60, 30), (120, 25), (400, 40), (800, 15), (1700, 5))


def text(prompt: Prompt) -> str:
    return "\n\n".join(message.content for message in prompt.messages)


def words(prompt: Prompt) -> int:
    """Words as spaces part them; three signs count as a word where a language writes without spaces."""
    signs = sum("\u3000" <= sign <= "\u9fff" for sign in text(prompt))
    return len(text(prompt).split()) + signs // 3


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "infertui.scenario.generate", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_file_is_what_the_generator_makes() -> None:
    assert TARGET.read_bytes() == generate()
    assert TARGET.stat().st_size < 900_000


def test_each_kind_has_its_share_and_ids_in_order() -> None:
    prompts = load()
    assert Counter(prompt.kind for prompt in prompts) == dict.fromkeys(KINDS, 180)
    assert [prompt.id for prompt in prompts] == [f"{kind}-{number:03d}" for kind in KINDS for number in range(1, 181)]


def test_no_text_is_another_or_the_beginning_of_another() -> None:
    texts = sorted(text(prompt) for prompt in load())
    assert not [first[:80] for first, second in pairwise(texts) if second.startswith(first)]


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_as_long_as_the_kind_needs(kind: str) -> None:
    low, high = TOKENS[kind]
    assert all(low <= prompt.max_tokens <= high for prompt in load([kind]))


@pytest.mark.parametrize("kind", KINDS)
def test_lengths_are_spread(kind: str) -> None:
    counts = [words(prompt) for prompt in load([kind])]
    assert min(counts) >= 16
    assert max(counts) <= 1700
    low = 0
    for high, least in BUCKETS:
        assert sum(low < count <= high for count in counts) >= least, f"{low} to {high} words"
        low = high


def test_messages_are_complete() -> None:
    for prompt in load():
        roles = [message.role for message in prompt.messages]
        assert roles[-1] == "user"
        assert set(roles) <= {"system", "user", "assistant"}
        assert "system" not in roles[1:]
        assert all(message.content == message.content.strip() != "" for message in prompt.messages)


def test_some_texts_are_more_than_ascii() -> None:
    assert 12 <= sum(not text(prompt).isascii() for prompt in load()) <= 80


def test_check_is_quiet_when_all_is_well() -> None:
    result = run("--check")
    assert result.returncode == 0
    assert len(result.stdout.splitlines()) == 1


def test_check_names_the_first_line_that_differs(tmp_path: Path) -> None:
    copy = tmp_path / "prompts.jsonl"
    lines = TARGET.read_bytes().splitlines(keepends=True)
    lines[41] = lines[41].replace(b"e", b"3", 9)
    copy.write_bytes(b"".join(lines))
    result = run("--check", str(copy))
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert "line 42" in line
    assert "python -m infertui.scenario.generate" in line
    assert copy.read_bytes() == b"".join(lines)
    copy.write_bytes(b"".join(TARGET.read_bytes().splitlines(keepends=True)[:500]))
    assert "line 501" in run("--check", str(copy)).stderr


def test_a_choice_follows_from_its_seed() -> None:
    assert pick(60, 7) == pick(60, 7)
    assert pick(60, 7) != pick(60, 8)
    assert pick(20, 7) == pick(60, 7)[:20]


def test_a_choice_takes_the_kinds_in_turn_and_repeats_nothing() -> None:
    chosen = pick(540, 3)
    assert [prompt.kind for prompt in chosen] == list(KINDS) * 180
    assert len({prompt.id for prompt in chosen}) == 540
    assert pick(545, 3)[540:] == chosen[:5]


def test_a_choice_keeps_to_the_kinds_asked_for() -> None:
    assert [prompt.kind for prompt in pick(4, 0, ["coding", "router"])] == ["router", "coding"] * 2
    assert {prompt.kind for prompt in load(["coding"])} == {"coding"}


def test_an_unknown_kind_is_one_clear_line() -> None:
    with pytest.raises(UsageError) as caught:
        load(["codng"])
    assert str(caught.value) == (
        "there is no kind 'codng' of prompts (did you mean coding? Known: router, reasoning, coding)"
    )
