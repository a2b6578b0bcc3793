"""A model as llama.cpp reads it: one GGUF file, of 32-bit numbers or with its matrices in blocks of Q8_0."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from infertui.embedded.shape import EPSILON, ROPE_BASE, Part, Shape, parameters, parts
from infertui.embedded.tokenizer import EOS, PAD, SPECIAL, TEMPLATE, Vocabulary
from infertui.embedded.weights import Tensor

_VERSION = 3
_ALIGNMENT = 32
_UINT32, _INT32, _FLOAT32, _BOOL, _STRING, _ARRAY = 4, 5, 6, 7, 8, 9
_F32, _Q8_0 = 0, 8
_ALL_F32, _MOSTLY_Q8_0 = 0, 7
_BLOCK = 32  # numbers of Q8_0 that share a scale of two bytes
_NORMAL, _CONTROL = 1, 3

Value = bool | int | float | str | list[int] | list[str]


def write(file: BinaryIO, name: str, shape: Shape, vocabulary: Vocabulary, tensors: Iterable[Tensor]) -> None:
    """`tensors` in the order of their parts."""
    known = _metadata(name, shape, vocabulary)
    every = list(parts(shape))
    head = [b"GGUF", struct.pack("<IQQ", _VERSION, len(every), len(known))]
    head += [_string(key) + _typed(value) for key, value in known.items()]
    offset = 0
    for part in every:
        dimensions = part.size[::-1]
        head.append(_string(part.gguf) + struct.pack(f"<I{len(dimensions)}Q", len(dimensions), *dimensions))
        head.append(struct.pack("<IQ", _Q8_0 if _in_blocks(part, shape) else _F32, offset))
        offset += _padded(_bytes(part, shape))
    _write_padded(file, b"".join(head))
    for tensor in tensors:
        _write_padded(file, _data(tensor, shape))


def _metadata(name: str, shape: Shape, vocabulary: Vocabulary) -> dict[str, Value]:
    return {
        "general.architecture": "llama",
        "general.type": "model",
        "general.name": name,
        "general.description": "Random weights: it costs what a model costs, and its words mean nothing.",
        "general.size_label": f"{parameters(shape) / 1e6:.1f}M",
        "general.file_type": _MOSTLY_Q8_0 if shape.quantised else _ALL_F32,
        "general.quantization_version": 2,
        "llama.block_count": shape.layers,
        "llama.context_length": shape.context,
        "llama.embedding_length": shape.width,
        "llama.feed_forward_length": shape.inner,
        "llama.attention.head_count": shape.heads,
        "llama.attention.head_count_kv": shape.kv_heads,
        "llama.attention.layer_norm_rms_epsilon": EPSILON,
        "llama.rope.dimension_count": shape.head,
        "llama.rope.freq_base": ROPE_BASE,
        "llama.vocab_size": len(vocabulary.tokens),
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": list(vocabulary.tokens),
        "tokenizer.ggml.token_type": [_CONTROL if token in SPECIAL else _NORMAL for token in vocabulary.tokens],
        "tokenizer.ggml.merges": [f"{left} {right}" for left, right in vocabulary.merges],
        "tokenizer.ggml.bos_token_id": vocabulary.id(PAD),
        "tokenizer.ggml.eos_token_id": vocabulary.id(EOS),
        "tokenizer.ggml.padding_token_id": vocabulary.id(PAD),
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": TEMPLATE,
    }


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _typed(value: Value) -> bytes:
    match value:
        case bool():
            return struct.pack("<I?", _BOOL, value)
        case int():
            return struct.pack("<II", _UINT32, value)
        case float():
            return struct.pack("<If", _FLOAT32, value)
        case str():
            return struct.pack("<I", _STRING) + _string(value)
        case [str(), *_]:
            return struct.pack("<IIQ", _ARRAY, _STRING, len(value)) + b"".join(_string(str(item)) for item in value)
        case _:
            return struct.pack(f"<IIQ{len(value)}i", _ARRAY, _INT32, len(value), *value)


def _in_blocks(part: Part, shape: Shape) -> bool:
    """The embedding and the output stay whole: a large bias among small numbers would leave those no digits."""
    return shape.quantised and part.gain > 0


def _bytes(part: Part, shape: Shape) -> int:
    count = math.prod(part.size)
    return count // _BLOCK * (_BLOCK + 2) if _in_blocks(part, shape) else count * 4


def _data(tensor: Tensor, shape: Shape) -> bytes:
    part = tensor.part
    if not _in_blocks(part, shape):
        return np.ascontiguousarray(_interleaved(tensor.values, part.heads), "<f4").tobytes()
    blocks = _interleaved(tensor.steps, part.heads).reshape(-1, _BLOCK)
    data = np.empty((len(blocks), _BLOCK + 2), np.int8)
    data[:, :2] = np.array([tensor.scale], "<f2").view(np.int8)
    data[:, 2:] = blocks
    return data.tobytes()


def _interleaved(rows: npt.NDArray[Any], heads: int) -> npt.NDArray[Any]:
    """llama.cpp rotates neighbouring rows of a head, Hugging Face's order a row of one half with one of the other."""
    if not heads:
        return rows
    return rows.reshape(heads, 2, -1, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)


def _padded(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _write_padded(file: BinaryIO, data: bytes) -> None:
    file.write(data)
    file.write(bytes(_padded(len(data)) - len(data)))
