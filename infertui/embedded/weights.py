"""Random weights of a llama that speaks: always in whole words, never to an end, and the same on every machine.

They are bytes of a hash, scaled, so that no library's random numbers and no rounding can change them. Two numbers of
the residual stream are constants, because no layer writes to them. The first is the same everywhere, which makes the
first column of the output a bias of each token. The second marks the end of a line, where alone a reply may begin.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from infertui.embedded.shape import Part, Shape, parts
from infertui.embedded.tokenizer import Vocabulary, spelling

Floats = npt.NDArray[np.float32]
Steps = npt.NDArray[np.int8]

SEED = "infertui"
CONSTANTS = 2
_SPREAD = math.sqrt(127 * 128 / 3)  # standard deviation of -127..127
_CONSTANT = 8.0  # beside the others, whose standard deviation is 1
_BAR = 20.0  # times the constant, as the layers leave it, at least 60: what is barred is never sampled
_LOGIT = 2.0  # standard deviation of what speaks for one token rather than another
_HABIT = 9.0  # how much speaks for the word that follows by habit, in such deviations before the layers' share
_TIE = 0.02


class Tensor(NamedTuple):
    """Rows in the order of Hugging Face. A random matrix is whole steps of one scale, as a quantised file holds it."""

    part: Part
    steps: Steps | Floats
    scale: np.float16 = np.float16(1)

    @property
    def values(self) -> Floats:
        return self.steps.astype(np.float32) * np.float32(self.scale)


def tensors(shape: Shape, vocabulary: Vocabulary) -> Iterator[Tensor]:
    embedding = _embedding(shape, vocabulary)
    for part in parts(shape):
        if part.gguf == "token_embd.weight":
            yield Tensor(part, embedding)
        elif part.gguf == "output.weight":
            yield Tensor(part, _output(shape, vocabulary, embedding))
        elif part.gain:
            yield _matrix(part)
        else:
            yield Tensor(part, np.ones(part.size, np.float32))


def _noise(name: str, size: tuple[int, ...]) -> Steps:
    """Whole numbers from -127 to 127, evenly spread."""
    data = hashlib.shake_128(f"{SEED}/{name}".encode()).digest(math.prod(size))
    return np.maximum(np.frombuffer(data, np.int8), np.int8(-127)).reshape(size)


def _matrix(part: Part) -> Tensor:
    steps = _noise(part.gguf, part.size)
    if part.residual:
        steps[:CONSTANTS] = 0
    return Tensor(part, steps, np.float16(part.gain / _SPREAD / math.sqrt(part.size[1])))


def _random(name: str, size: tuple[int, ...]) -> Floats:
    """Of standard deviation 1."""
    return _noise(name, size).astype(np.float32) * np.float32(1 / _SPREAD)


def _embedding(shape: Shape, vocabulary: Vocabulary) -> Floats:
    values = _random("embedding", (len(vocabulary.tokens), shape.width))
    values[:, 0] = _CONSTANT
    values[:, 1] = 0
    values[vocabulary.id(spelling()[ord("\n")]), 1] = _CONSTANT
    return values


def _output(shape: Shape, vocabulary: Vocabulary, embedding: Floats) -> Floats:
    """Each word follows one other by habit; where another wins, the layers chose it, and so the prompt did."""
    words, starters = list(vocabulary.words), list(vocabulary.starters)
    values = _random("output", embedding.shape)
    order = sorted(words, key=lambda n: hashlib.sha256(f"{SEED}/{vocabulary.tokens[n]}".encode()).digest())
    before = order[-1:] + order[:-1]
    values[order] += np.float32(_HABIT / math.sqrt(shape.width)) * embedding[before]
    values *= np.float32(_LOGIT / math.sqrt(shape.width))
    values[:, 0] = _random("tie", (len(values), 1))[:, 0] * np.float32(_TIE) - 2 * np.float32(_BAR)
    values[:, 1] = 0
    values[words, 0] += 2 * np.float32(_BAR)
    values[words, 1] = -_BAR
    values[starters, 0] += np.float32(_BAR)
    values[starters, 1] = _BAR
    return values
