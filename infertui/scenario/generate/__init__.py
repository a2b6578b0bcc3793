"""The generator of the frozen corpus `infertui/scenario/prompts.jsonl`.

`python -m infertui.scenario.generate` writes it, with `--check` it is only compared. The modules beside this one are
long because they are mostly text: the templates of each kind (`router`, `reasoning`, `coding`), and what they embed.
"""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import msgspec

from infertui.scenario.generate import coding, reasoning, router
from infertui.scenario.generate.draw import Draft, Draw, Family
from infertui.scenario.plan import Prompt

TARGET = Path(__file__).resolve().parent.parent / "prompts.jsonl"
COUNT = 180  # of each kind
COMMAND = "python -m infertui.scenario.generate"

_SEED = "corpus 1"
_FAMILIES = {"router": router.FAMILIES, "reasoning": reasoning.FAMILIES, "coding": coding.FAMILIES}
# Percentage of a kind's prompts, and the words that so many of them stay below: many short ones, few long ones.
_LENGTHS = ((0, 32), (20, 48), (40, 80), (60, 150), (75, 270), (88, 560), (96, 940), (100, 1450))
_TRIES = 12  # to find a question that does not begin like an earlier one, as long as there are such


def generate() -> bytes:
    """The whole file, the same bytes each time."""
    taken: set[str] = set()
    prompts = [prompt for kind, families in _FAMILIES.items() for prompt in _kind(kind, families, taken)]
    return b"".join(msgspec.json.encode(prompt) + b"\n" for prompt in prompts)


def _kind(kind: str, families: list[Family], taken: set[str]) -> list[Prompt]:
    """One kind: lengths spread evenly over the wanted curve, each served by the family used least so far."""
    used = dict.fromkeys((family.name for family in families), 0)
    drafts: list[Draft] = []
    openings: set[str] = set()
    for number in range(COUNT):
        draw = Draw(f"{_SEED}/{kind}/{number}")
        words = _words(number)
        able = [family for family in families if family.low <= words <= family.high]
        fewest = min(used[family.name] for family in able)
        family = draw.one([family for family in able if used[family.name] == fewest])
        used[family.name] += 1
        draft = family.make(draw, words)
        tries = 0
        while not _new(draft.text, taken) or (tries < _TRIES and _opening(draft) in openings):
            draft = family.make(draw, words)
            tries += 1
        taken.add(draft.text)
        openings.add(_opening(draft))
        drafts.append(draft)
    drafts = Draw(f"{_SEED}/{kind}").shuffled(drafts)
    return [Prompt(f"{kind}-{n:03d}", kind, draft.max_tokens, draft.messages) for n, draft in enumerate(drafts, 1)]


def _words(number: int) -> int:
    """How many words prompt `number` of its kind should have, in whole numbers, which are the same everywhere."""
    for (low, shorter), (high, longer) in pairwise(_LENGTHS):
        if number * 100 < high * COUNT:
            return shorter + (longer - shorter) * (number * 100 - low * COUNT) // ((high - low) * COUNT)
    return _LENGTHS[-1][1]


def _opening(draft: Draft) -> str:
    """How the question begins, figures aside: what makes two prompts look alike."""
    return re.sub(r"\d+", "", draft.messages[-1].content)[:40]


def _new(text: str, taken: set[str]) -> bool:
    return not any(text.startswith(other) or other.startswith(text) for other in taken)


def check(path: Path = TARGET) -> str:
    """Empty if the file is what would be generated, else one line on where it differs and how to mend it."""
    try:
        found = path.read_bytes()
    except OSError as error:
        return f"{path}: {error.strerror or error} (write it with: {COMMAND})"
    wanted = generate()
    if found == wanted:
        return ""
    old, new = found.splitlines(keepends=True), wanted.splitlines(keepends=True)
    same = next(
        (n for n, pair in enumerate(zip(old, new, strict=False)) if pair[0] != pair[1]), min(len(old), len(new))
    )
    return f"{path}: line {same + 1} differs from what is generated (mend it with: {COMMAND})"
