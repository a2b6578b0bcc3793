"""What is wrong with the text of a reply, so that fast nonsense cannot win: empty, looping or garbled. Pure.

What is flagged is told with its reason, and never taken out of a figure. Fair text (prose, code, tables, verse, labels
of one word, any language) must pass: where a sign is not sure, nothing is said.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

import msgspec

from infertui.metric import CallRecord
from infertui.text import plain

Kind = Literal["empty", "looping", "garbled", "cut"]
DOUBTFUL: tuple[Kind, ...] = ("empty", "looping", "garbled")  # the worst first; to be cut is what most runs want
SAID = {"empty": ("is empty", "are empty"), "looping": ("loops", "loop"), "garbled": ("is garbled", "are garbled")}
AT_LIMIT = {"length", "limit", "max_tokens"}  # how APIs call an end by max_tokens

LEAST = 40  # words, or signs that stand alone, before anything can be called a loop
LOOPING_SHARE = 1 / 3  # of a text that only repeats what stands right before it
SIGNS_SHARE = 2 / 3  # the same where what is repeated has no letter in it: rows of zeros are fair
TIMES = 3  # a phrase stands there before it is called repeated; a long one twice
LONG = 40  # words of a long phrase
STRETCH = 24  # words of one repetition that counts in a long text
SHUFFLED = 0.75  # of all groups of four words have stood there before: the same few phrases in any order
SHUFFLED_LEAST = 80
BROKEN_SHARE = 0.005  # of the characters that are no text
MARKERS_SHARE = 0.02
MIXED_SHARE = 0.3  # of the words with letters of several alphabets in each
MIXED_LEAST = 10
SHOWN = 40  # characters of a repeated phrase

_SCRIPTS = (
    "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"  # kana, Han, Hangul: written without blanks
)
_RULER = r"([-=_*#~.+·•…─━═┄┈│┃|])\1*"  # lines and frames that are drawn with signs count as one
_UNIT = re.compile(rf"[^\W_{_SCRIPTS}]+|{_RULER}|\S")
_BRACKETS = frozenset("()[]{}")
_MARKERS = re.compile(r"[ĠĊ▁]|<0x[0-9A-F]{2}>")  # of tokens that were not made text again
_BROKEN = {
    re.compile("\ufffd"): "cannot be decoded",
    re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f]"): "are controls",
    re.compile("[\ue000-\uf8ff\U000f0000-\U0010fffd]"): "are private signs",
}
_MOJIBAKE = re.compile(r"Ã[\x80-\xbf]|â€|Â[\xa0-\xbf]|ï¿½")  # UTF-8 read as something else


class Flag(msgspec.Struct, frozen=True):
    kind: Kind
    why: str


def flags(text: str, thought: str, finish: str, n_output: int | None) -> tuple[Flag, ...]:
    """What is to be said about a reply, the worst first; nothing about one that is fine and ended by itself."""
    found: list[Flag] = []
    if not _visible(text):
        found.append(Flag("empty", _nothing(thought, n_output)))
    else:
        found += [Flag("looping", why) for why in _loop(text, n_output)]
        if reasons := list(_garble(text)):
            found.append(Flag("garbled", "; ".join(reasons)))
    if finish in AT_LIMIT:
        found.append(Flag("cut", "it ended at the limit of tokens, not by itself"))
    return tuple(found)


def run_flags(replies: Iterable[tuple[CallRecord, str, str]]) -> dict[str, tuple[Flag, ...]]:
    """By the names of the measured calls that came to a good end: these are what the figures are made of."""
    return {
        call.name: flags(text, thought, call.finish, call.n_output)
        for call, text, thought in replies
        if call.role == "measured" and call.good
    }


def shares(found: Iterable[Sequence[Flag]]) -> dict[str, int]:
    """How many replies are fine, and of which kind the others are; each counts once, as the worst that it is."""
    counts: Counter[str] = Counter(worst(each) or "fine" for each in found)
    return {kind: counts[kind] for kind in ("fine", *DOUBTFUL) if counts[kind]}


def worst(found: Sequence[Flag]) -> Kind | None:
    kinds = {flag.kind for flag in found}
    return next((kind for kind in DOUBTFUL if kind in kinds), None)


def said(counts: Mapping[str, int]) -> str:
    """`10 fine, 2 looping`."""
    return ", ".join(f"{count} {kind}" for kind, count in counts.items())


def warning(counts: Mapping[str, int], whose: str) -> str:
    """What to say where the speed of a run is shown; empty if all of its replies are fine."""
    bad = [(count, SAID[kind][count != 1]) for kind, count in counts.items() if kind in SAID]
    if not bad:
        return ""
    total = sum(counts.values())
    (first, verb), *rest = bad
    listed = "".join(f", {count} {verb}" for count, verb in rest)
    return f"{first} of {total} replies of {plain(whose, 60)} {verb}{listed}: their speed says little"


# Empty.


def _visible(text: str) -> bool:
    return any(unicodedata.category(char)[0] not in "CZ" or char == "\ufffd" for char in text)


def _nothing(thought: str, n_output: int | None) -> str:
    if _visible(thought):
        return "no answer, only a thought"
    return f"no text, though {n_output} tokens are counted" if n_output else "no text"


# Looping.


def _loop(text: str, n_output: int | None) -> Iterator[str]:
    units = [match.group() for match in _UNIT.finditer(text.casefold())]
    if len(units) >= (LEAST if (n_output or 0) < LEAST else LEAST // 2):
        if (phrase := _repeated(units)) is not None:
            yield f"it repeats `{plain(' '.join(phrase), SHOWN)}`"
            return
        words = [unit for unit in units if unit[0].isalnum()]
        if len(words) >= SHUFFLED_LEAST and _shuffled(words) > SHUFFLED:
            yield "it is made of the same few phrases"
            return
    if sum(len(word) for word in text.split()) >= 2 * LEAST and len(set("".join(text.split()))) <= 2:
        yield f"it repeats `{plain(text.strip(), 4)}`"
        return
    # what has no blank in it is one word, or few: it may repeat a part of itself
    for word in text.split():
        long = len(word) >= max(2 * LEAST, LOOPING_SHARE * len(text)) and any(char.isalpha() for char in word)
        if long and (part := _repeated(word, times=10)) is not None:
            yield f"it repeats `{plain(''.join(part), SHOWN)}`"
            return


def _repeated(units: Sequence[str], times: int = TIMES) -> Sequence[str] | None:
    """The phrase of which a large part of the text is made, each time right after the last."""
    repeats = bytearray(len(units))
    signs = bytearray(len(units))
    longest, phrase = 0, units[:0]
    for apart in _distances(units):
        start = apart
        for at in range(apart, len(units) + 1):
            if at < len(units) and units[at] == units[at - apart]:
                continue
            length = at - start
            often = length >= (times - 1) * apart or (apart >= LONG and length >= apart)
            if often and length >= min(STRETCH, len(units) * LOOPING_SHARE):
                one = units[start : start + apart]
                letters = any(char.isalpha() for unit in one for char in unit)
                if letters or not _BRACKETS.intersection(
                    one
                ):  # numbers in brackets are data: a matrix, a list of lists
                    (repeats if letters else signs)[start:at] = b"\1" * length
                    longest, phrase = max((longest, phrase), (length, one), key=lambda known: known[0])
            start = at + 1
    covered = sum(repeats)
    both = sum(a or b for a, b in zip(repeats, signs, strict=True))
    looping = covered > LOOPING_SHARE * len(units) or both > SIGNS_SHARE * len(units)
    return phrase if looping and longest else None


def _distances(units: Sequence[str], most: int = 8) -> list[int]:
    """How far apart the same three units stand, where they stand again: the commonest distances."""
    last: dict[tuple[str, ...], int] = {}
    apart: Counter[int] = Counter()
    for at in range(len(units) - 2):
        group = (units[at], units[at + 1], units[at + 2])
        if group in last:
            apart[at - last[group]] += 1
        last[group] = at
    return [distance for distance, _ in apart.most_common(most)]


def _shuffled(words: Sequence[str]) -> float:
    groups = [tuple(words[at : at + 4]) for at in range(len(words) - 3)]
    return 1 - len(set(groups)) / len(groups)


# Garbled.


def _garble(text: str) -> Iterator[str]:
    whole = text.rstrip("\ufffd")  # half of a character may stand at the end of a text that was cut
    for form, what in _BROKEN.items():
        count = len(form.findall(whole))
        if count > BROKEN_SHARE * len(text):
            yield f"{count} of its {len(text)} characters {what}"
    for form, what in ((_MARKERS, "marks of raw tokens"), (_MOJIBAKE, "characters in a wrong encoding")):
        count = len(form.findall(text))
        if count >= 3 and count > MARKERS_SHARE * len(text):
            yield f"{count} {what} stand in it"
    words = [word for word in text.split() if any(char.isalpha() for char in word)]
    mixed = sum(_mixes(word) for word in words)
    if len(words) >= MIXED_LEAST and mixed > MIXED_SHARE * len(words):
        yield f"{mixed} of its {len(words)} words mix alphabets"


_ALPHABETS = ("LATIN", "CYRILLIC", "ARABIC", "HEBREW", "DEVANAGARI", "BENGALI", "TAMIL", "THAI", "GEORGIAN", "ARMENIAN")


def _mixes(word: str) -> bool:
    """Letters of several alphabets in one word. Greek stands in formulas, and what East Asia writes mixes by nature."""
    if word.isascii():
        return False
    found = {unicodedata.name(char, "").partition(" ")[0] for char in word if char.isalpha()}
    return len(found.intersection(_ALPHABETS)) > 1
