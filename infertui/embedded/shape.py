"""The sizes of the random models, and the parts that a llama of such a size has, as each format names them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from infertui.embedded.tokenizer import TOKENS


class Shape(NamedTuple):
    width: int
    layers: int
    heads: int
    kv_heads: int
    inner: int
    quantised: bool
    context: int = 8192

    @property
    def head(self) -> int:
        return self.width // self.heads


class Part(NamedTuple):
    gguf: str
    hugging_face: str
    size: tuple[int, ...]  # rows, columns
    gain: float = 0.0  # of a random matrix
    heads: int = 0  # llama.cpp interleaves the two halves of each head's rows
    residual: bool = False  # writes to the residual stream


SIZES = {
    "tiny": Shape(256, 2, 4, 2, 768, quantised=False),
    "small": Shape(384, 12, 6, 2, 1024, quantised=True),
    "big": Shape(768, 12, 12, 4, 2048, quantised=True),
}
EPSILON = 1e-5
ROPE_BASE = 10000.0
_SHARP = 10.0  # queries this long look at few tokens: a prompt's content counts and not its average, which says little
_WRITE = 1.4  # what the layers together add to the residual stream, where an embedding has 1


def parts(shape: Shape) -> Iterator[Part]:
    width, inner, kv = shape.width, shape.inner, shape.kv_heads * shape.head
    gain = _WRITE / math.sqrt(2 * shape.layers)
    yield Part("token_embd.weight", "model.embed_tokens.weight", (TOKENS, width))
    for layer in range(shape.layers):
        ours, theirs = f"blk.{layer}.", f"model.layers.{layer}."
        attention, feed = theirs + "self_attn.", theirs + "mlp."
        yield Part(ours + "attn_norm.weight", theirs + "input_layernorm.weight", (width,))
        yield Part(ours + "attn_q.weight", attention + "q_proj.weight", (width, width), _SHARP, shape.heads)
        yield Part(ours + "attn_k.weight", attention + "k_proj.weight", (kv, width), 1, shape.kv_heads)
        yield Part(ours + "attn_v.weight", attention + "v_proj.weight", (kv, width), 1)
        yield Part(ours + "attn_output.weight", attention + "o_proj.weight", (width, width), gain, residual=True)
        yield Part(ours + "ffn_norm.weight", theirs + "post_attention_layernorm.weight", (width,))
        yield Part(ours + "ffn_gate.weight", feed + "gate_proj.weight", (inner, width), 1)
        yield Part(ours + "ffn_up.weight", feed + "up_proj.weight", (inner, width), 1)
        yield Part(ours + "ffn_down.weight", feed + "down_proj.weight", (width, inner), gain, residual=True)
    yield Part("output_norm.weight", "model.norm.weight", (width,))
    yield Part("output.weight", "lm_head.weight", (TOKENS, width))


def parameters(shape: Shape) -> int:
    return sum(math.prod(part.size) for part in parts(shape))
