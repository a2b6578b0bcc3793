"""The vocabulary of the random models: byte-level BPE learned from the corpus, so that prompts have a usual length."""

from __future__ import annotations

import heapq
import re
from collections import Counter, defaultdict
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

from infertui.scenario import corpus

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
PAD, EOS = SPECIAL[0], SPECIAL[2]
TOKENS = 2048
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] or '' }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

# GPT-2's rule for what is never merged across, without the Unicode classes that only the `regex` package has.
_PIECE = re.compile(r"'(?:[stmd]|re|ve|ll)| ?[^\W\d_]+| ?\d+| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+")

Pair = tuple[str, str]


class Vocabulary(NamedTuple):
    """Tokens spelled as byte-level BPE spells them: each byte is one visible character, the space is Ġ."""

    tokens: tuple[str, ...]
    merges: tuple[Pair, ...]
    words: tuple[int, ...]  # whole words with their space: text made of them is split into the same tokens again
    starters: tuple[int, ...]  # capitalised words without it: what a reply begins with

    def id(self, token: str) -> int:
        return self.tokens.index(token)


@cache
def spelling() -> dict[int, str]:
    """The visible character that stands for each byte."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {byte: chr(byte) for byte in visible} | {byte: chr(256 + n) for n, byte in enumerate(hidden)}


@cache
def learned() -> Vocabulary:
    """What the corpus teaches. It depends on nothing else."""
    spelled = spelling()
    pieces: Counter[str] = Counter()
    for prompt in corpus.load():
        for message in prompt.messages:
            pieces.update(_PIECE.findall(message.content))
    counts = {tuple(spelled[byte] for byte in piece.encode()): n for piece, n in pieces.items()}
    merges, split = _merged(counts, TOKENS - len(spelled) - len(SPECIAL))
    tokens = (*SPECIAL, *spelled.values(), *(left + right for left, right in merges))
    whole = {piece[0] for piece in split if len(piece) == 1}

    def matching(pattern: str) -> tuple[int, ...]:
        return tuple(n for n, token in enumerate(tokens) if token in whole and re.fullmatch(pattern, token))

    return Vocabulary(tokens, merges, matching("Ġ[A-Za-z]{2,}"), matching("[A-Z][a-z]+"))


def _merged(counts: dict[tuple[str, ...], int], wanted: int) -> tuple[tuple[Pair, ...], list[list[str]]]:
    """The most frequent pairs, one after the other, and the pieces as they are split in the end."""
    split = [list(piece) for piece in counts]
    weight = list(counts.values())
    total: Counter[Pair] = Counter()
    places: defaultdict[Pair, set[int]] = defaultdict(set)
    for place, piece in enumerate(split):
        for pair in pairwise(piece):
            total[pair] += weight[place]
            places[pair].add(place)
    heap = [(-count, pair) for pair, count in total.items()]
    heapq.heapify(heap)
    merges: list[Pair] = []
    while len(merges) < wanted:
        count, best = heapq.heappop(heap)
        if -count != total[best]:  # an entry from before the count changed; a newer one is in the heap
            continue
        merges.append(best)
        changed: set[Pair] = set()
        for place in places.pop(best):
            piece = split[place]
            for pair in pairwise(piece):
                total[pair] -= weight[place]
                changed.add(pair)
            _join(piece, best)
            for pair in pairwise(piece):
                total[pair] += weight[place]
                places[pair].add(place)
                changed.add(pair)
        for pair in changed:
            if total[pair]:
                heapq.heappush(heap, (-total[pair], pair))
    return tuple(merges), split


def _join(piece: list[str], pair: Pair) -> None:
    n = 0
    while n < len(piece) - 1:
        if (piece[n], piece[n + 1]) == pair:
            piece[n : n + 2] = ["".join(pair)]
        n += 1


def hugging_face(vocabulary: Vocabulary) -> dict[str, Any]:
    """The content of tokenizer.json."""
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": vocabulary.id(token), "content": token, **flags} for token in SPECIAL],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: n for n, token in enumerate(vocabulary.tokens)},
            "merges": [list(pair) for pair in vocabulary.merges],
        },
    }
