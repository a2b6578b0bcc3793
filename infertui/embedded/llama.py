"""llama.cpp's server from the xllamacpp package, started by the flags of llama-server itself.

    python -m infertui.embedded.llama -m model.gguf --port 8080 -c 8192 -np 4

So one builder of command lines serves an installed llama-server and this module. While it loads, it answers 503. Asked
to end, it ends at once, whatever is under way: with status 0, or, while it loads, by the signal itself: xllamacpp then
lets no Python run. The API key comes from LLAMA_API_KEY alone: a command line is for everybody to read.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NamedTuple, NoReturn

from infertui.errors import InferTUIError, UsageError

_PROGRAM = "infertui.embedded.llama"
_CACHE_TYPES = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1")
_ON_OFF = {
    "on": True,
    "enabled": True,
    "true": True,
    "1": True,
    "off": False,
    "disabled": False,
    "false": False,
    "0": False,
}


class Flag(NamedTuple):
    names: str
    fields: str  # of xllamacpp.CommonParams
    value: Callable[[str], Any] | bool  # what is made of the argument, or what the flag itself says


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _choice(values: dict[str, Any]) -> Callable[[str], Any]:
    def chosen(text: str) -> Any:
        if text not in values:
            raise ValueError(f"known: {', '.join(values)}")
        return values[text]

    return chosen


def _slots(text: str) -> int:
    if not (count := int(text)):
        raise ValueError("there is no server without a slot")
    return count


def _threads(text: str) -> int:
    return count if (count := int(text)) > 0 else os.cpu_count() or 1


def _layers(text: str) -> int:
    return {"auto": -1, "all": -2}[text] if text in ("auto", "all") else int(text)


def _flags(engine: Any) -> list[Flag]:
    """What is known here, in llama-server's spelling."""
    attention = engine.llama_flash_attn_type
    cache_type = _choice({name: getattr(engine.ggml_type, f"GGML_TYPE_{name.upper()}") for name in _CACHE_TYPES})
    flash = {
        on: attention.LLAMA_FLASH_ATTN_TYPE_ENABLED if yes else attention.LLAMA_FLASH_ATTN_TYPE_DISABLED
        for on, yes in _ON_OFF.items()
    }
    modes = {
        "auto": "AUTO",
        "none": "NONE",
        "mmap": "MMAP",
        "mlock": "MLOCK",
        "mmap+mlock": "MMAP_MLOCK",
        "dio": "DIRECT_IO",
    }
    load = {name: getattr(engine.llama_load_mode, f"LLAMA_LOAD_MODE_{mode}") for name, mode in modes.items()}
    return [
        Flag("-m --model", "model.path", str),
        Flag("-a --alias", "model_alias", lambda text: set(_parts(text))),
        Flag("--host", "hostnames", _parts),
        Flag("--port", "port", int),
        Flag("-c --ctx-size", "n_ctx", int),
        Flag("-np --parallel", "n_parallel", _slots),
        Flag("-t --threads", "cpuparams.n_threads", _threads),
        Flag("-tb --threads-batch", "cpuparams_batch.n_threads", _threads),
        Flag("--threads-http", "n_threads_http", int),
        Flag("-ngl --gpu-layers --n-gpu-layers", "n_gpu_layers", _layers),
        Flag("-b --batch-size", "n_batch", int),
        Flag("-ub --ubatch-size", "n_ubatch", int),
        Flag("-fa --flash-attn", "flash_attn_type", _choice({**flash, "auto": attention.LLAMA_FLASH_ATTN_TYPE_AUTO})),
        Flag("-ctk --cache-type-k", "cache_type_k", cache_type),
        Flag("-ctv --cache-type-v", "cache_type_v", cache_type),
        Flag("-lm --load-mode", "load_mode", _choice(load)),
        Flag("-fit --fit", "fit_params", _choice(_ON_OFF)),
        Flag("-cram --cache-ram", "cache_ram_mib", int),
        Flag("--cache-reuse", "n_cache_reuse", int),
        Flag("-sps --slot-prompt-similarity", "slot_prompt_similarity", float),
        Flag("-to --timeout", "timeout_read timeout_write", int),
        Flag("-lv --verbosity --log-verbosity", "verbosity", int),
        Flag("--metrics", "endpoint_metrics", True),
        Flag("--props", "endpoint_props", True),
        Flag("--slots", "endpoint_slots", True),
        Flag("--no-slots", "endpoint_slots", False),
        Flag("--cache-prompt", "cache_prompt", True),
        Flag("--no-cache-prompt", "cache_prompt", False),
        Flag("--cache-idle-slots", "cache_idle_slots", True),
        Flag("--no-cache-idle-slots", "cache_idle_slots", False),
        Flag("-kvu --kv-unified", "kv_unified", True),
        Flag("-no-kvu --no-kv-unified", "kv_unified", False),
        Flag("-cb --cont-batching", "cont_batching", True),
        Flag("-nocb --no-cont-batching", "cont_batching", False),
        Flag("--context-shift", "ctx_shift", True),
        Flag("--no-context-shift", "ctx_shift", False),
        Flag("--warmup", "warmup", True),
        Flag("--no-warmup", "warmup", False),
        Flag("--jinja", "use_jinja", True),
        Flag("--no-jinja", "use_jinja", False),
        Flag("--no-ui --no-webui", "ui", False),
        Flag("--offline", "offline", True),
    ]


def parameters(engine: Any, arguments: Sequence[str]) -> Any:
    """The server's parameters that these flags ask for; llama-server's defaults where they are silent."""
    flags = _flags(engine)
    known = {name: flag for flag in flags for name in flag.names.split()}
    params = engine.CommonParams()
    params.ui = False
    params.port = 8080
    params.n_parallel = -1  # as many as llama.cpp thinks right, over one pool
    params.api_keys = _parts(os.environ.get("LLAMA_API_KEY", ""))
    rest = list(arguments)
    while rest:
        name = rest.pop(0)
        if name not in known:
            raise UsageError(f"unknown flag {name!r}", "known: " + " ".join(known))
        value = known[name].value
        if not isinstance(value, bool):
            if not rest:
                raise UsageError(f"{name} needs a value")
            text = rest.pop(0)
            try:
                value = value(text)
            except ValueError as err:
                raise UsageError(f"{name} cannot be {text!r}", str(err)) from err
        for field in known[name].fields.split():
            owner, _, attribute = field.rpartition(".")
            setattr(getattr(params, owner) if owner else params, attribute, value)
    if not params.model.path:
        raise UsageError("no model is named", "-m model.gguf")
    return params


def main(arguments: Sequence[str]) -> NoReturn:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python's own handler would wait until the model is loaded
    try:
        serve(arguments)
    except InferTUIError as err:
        print(f"{_PROGRAM}: {err}", file=sys.stderr)
        sys.exit(err.exit_code)


def serve(arguments: Sequence[str]) -> NoReturn:
    try:
        engine = import_module("xllamacpp")
    except ImportError as err:
        raise UsageError(f"the package xllamacpp cannot be used: {err}", "pip install 'infertui[llama]'") from err
    params = parameters(engine, arguments)
    try:
        server = engine.Server(params)
    except RuntimeError as err:
        raise InferTUIError(f"{params.model.path} cannot be served", f"the lines above say why: {err}") from err
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)  # a signal may reach any of the server's threads, and only this wakes this one
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    print(f"{_PROGRAM}: ready at {server.listening_address}", file=sys.stderr, flush=True)
    os.read(reader, 1)
    os._exit(0)  # without waiting for the streams under way


if __name__ == "__main__":
    main(sys.argv[1:])
