"""A model as Hugging Face's libraries read it: a folder with f32 safetensors, a configuration and a tokenizer."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from typing import Any, BinaryIO

import msgspec

from infertui.embedded import tokenizer
from infertui.embedded.shape import EPSILON, ROPE_BASE, Shape, parts
from infertui.embedded.tokenizer import EOS, PAD, SPECIAL, TEMPLATE, Vocabulary
from infertui.embedded.weights import Tensor


def write(file: BinaryIO, shape: Shape, tensors: Iterable[Tensor]) -> None:
    """`tensors` in the order of their parts."""
    head: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for part in parts(shape):
        end = offset + math.prod(part.size) * 4
        head[part.hugging_face] = {"dtype": "F32", "shape": part.size, "data_offsets": [offset, end]}
        offset = end
    text = msgspec.json.encode(head)
    text += b" " * (-len(text) % 8)
    file.write(struct.pack("<Q", len(text)) + text)
    for tensor in tensors:
        file.write(tensor.values.astype("<f4", copy=False).tobytes())


def companions(shape: Shape, vocabulary: Vocabulary) -> dict[str, bytes]:
    """The other files of the folder."""
    ids = {
        "bos_token_id": vocabulary.id(PAD),
        "eos_token_id": vocabulary.id(EOS),
        "pad_token_id": vocabulary.id(PAD),
    }
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": shape.width,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head,
        "intermediate_size": shape.inner,
        "vocab_size": len(vocabulary.tokens),
        "max_position_embeddings": shape.context,
        "rms_norm_eps": EPSILON,
        "rope_theta": ROPE_BASE,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "attention_bias": False,
        "mlp_bias": False,
        "torch_dtype": "float32",
        **ids,
    }
    tokens = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": shape.context,
        "bos_token": None,
        "eos_token": EOS,
        "pad_token": PAD,
        "unk_token": None,
        "add_bos_token": False,
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "additional_special_tokens": [token for token in SPECIAL if token not in (EOS, PAD)],
        "chat_template": TEMPLATE,
    }
    files = {
        "config.json": config,
        "generation_config.json": ids,
        "tokenizer_config.json": tokens,
        "tokenizer.json": tokenizer.hugging_face(vocabulary),
    }
    return {name: msgspec.json.format(msgspec.json.encode(content), indent=1) for name, content in files.items()}
