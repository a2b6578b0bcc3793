"""What can be dialled: timing, shape and faults of the mock's replies."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from infertui.errors import UsageError

FAULTS: dict[str, str] = {
    "refuse": "The connection is reset, and new ones are refused for refuse_ms.",
    "reset": "After fault_after tokens the connection is reset (RST).",
    "reset-early": "The connection is reset (RST) before any byte of the reply.",
    "close": "After fault_after tokens the connection ends cleanly (FIN) in mid-reply, as when the server is killed.",
    "stall": "After fault_after tokens nothing more is sent; the connection stays open until the client leaves.",
    "stall-first": "Headers (and a role-only chunk, if dialled), then never a token.",
    "silent": "Never a byte; the connection stays open until the client leaves.",
    "500": "Status 500 with a JSON error.",
    "429": "Status 429 with a JSON error and Retry-After: 1.",
    "503": "Status 503 with llama.cpp's `Loading model`.",
    "400": "Status 400 with a JSON error.",
    "html": "Status 502 with an HTML page.",
    "html-200": "Status 200 with an HTML page.",
    "half-utf8": "Multi-byte text; HTTP chunks and TCP sends end in mid-character, and nothing may be lost.",
    "half-utf8-json": "Multi-byte text; a JSON chunk ends in half a character, raw, and the next begins with the rest.",
    "giant-line": "After fault_after tokens one line of 32 MiB, which holds the next token.",
    "error-in-stream": "After fault_after tokens an error object under status 200, then the end.",
    "no-done": "The finish chunk comes, the end marker ([DONE]; natively the last line) does not.",
    "no-finish": "The end marker comes without any finish_reason.",
    "no-usage": "No token counts, whatever is asked.",
    "bad-json": "After fault_after tokens one line that is not JSON, then the rest.",
    "bad-chunk": "After fault_after tokens an invalid HTTP chunk size, then the end (nothing under HTTP/1.0).",
    "slow-drip": "Each byte of the first two tokens' lines is its own TCP send, 1 ms apart; later tokens wait.",
    "empty": "Status 200, finish_reason stop at once, and no token.",
    "header-flood": "2 MiB of response headers, then a good reply.",
}

_DAY_MS = 86_400_000
Ms = Annotated[float, Meta(ge=0, le=_DAY_MS)]
Count = Annotated[int, Meta(ge=0, le=10_000_000)]
Positive = Annotated[int, Meta(ge=1, le=10_000_000)]


def says(sentence: str) -> Meta:
    return Meta(description=sentence)


class Dials(msgspec.Struct, frozen=True, kw_only=True):
    ttft_ms: Annotated[Ms, says("From the slot's start to the first token.")] = 100.0
    gap_ms: Annotated[Ms, says("From one chunk to the next.")] = 10.0
    tokens: Annotated[Count, says("The answer's length; the request's max_tokens (or its like) caps it.")] = 64
    per_chunk: Annotated[Positive, says("Tokens in a chunk; the last may hold fewer.")] = 1
    role_first: Annotated[bool, says("A role-only chunk as soon as the slot is taken.")] = True
    role_null: Annotated[bool, says("That chunk's content is null, not an empty text.")] = False
    reasoning: Annotated[Count, says("This many tokens of reasoning come before the answer (chat only).")] = 0
    reasoning_field: Annotated[
        Literal["reasoning_content", "reasoning"], says("The field reasoning comes in (Ollama's is always `thinking`).")
    ] = "reasoning_content"
    usage: Annotated[
        Literal["late", "with_finish", "none"],
        says("Token counts: in a chunk of their own if asked for, in the finish chunk always, or never."),
    ] = "late"
    usage_delay_ms: Annotated[Ms, says("From the last token to a late usage chunk.")] = 0.0
    comments: Annotated[Count, says("This many comment lines, spread evenly before the first token.")] = 0
    slots: Annotated[Count, says("Requests answered at a time, the rest wait in their order; 0: no limit.")] = 0
    headers: Annotated[
        Literal["start", "at_once", "first_token"],
        says("Response headers: when the slot is taken, on arrival, or with the first token (then without comments)."),
    ] = "start"
    http10: Annotated[bool, says("Reply by HTTP/1.0: no chunks, the end of the connection is the end.")] = False
    keepalive_s: Annotated[
        float, Meta(ge=0, le=86_400), says("Idle connections are closed after this; 0: after each reply.")
    ] = 5.0
    faults: Annotated[tuple[str, ...], says("Faults, which take turns.")] = ()
    fault_every: Annotated[Positive, says("Every so many requests one gets a fault.")] = 1
    fault_after: Annotated[Count, says("Tokens sent before a fault in mid-reply.")] = 5
    refuse_ms: Annotated[Ms, says("How long the fault `refuse` refuses.")] = 300.0
    reject: Annotated[tuple[str, ...], says("Fields of the request that are answered with status 400.")] = ()
    model: Annotated[str, says("The model's name.")] = "mock"
    context: Annotated[Positive, says("A prompt of more tokens (words) is answered with status 400.")] = 8192
    cached_tokens: Annotated[Count, says("Prompt tokens said to come from the cache.")] = 0
    timings: Annotated[bool, says("llama.cpp's `timings` beside the token counts, from the schedule.")] = False
    tool_call: Annotated[bool, says("The answer is the arguments of a tool call (chat only).")] = False
    api_key: Annotated[str, says("Requests without this bearer get status 401.")] = ""
    ollama: Annotated[bool, says("GET /api/version answers, as Ollama's does.")] = False

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            _converted(name, getattr(self, name), strict=True)
        for fault in self.faults:
            if fault not in FAULTS:
                raise UsageError(f"mock: no fault is called {_short(fault)}", _nearest(fault, FAULTS))


def dial(base: Dials, settings: Mapping[str, object]) -> Dials:
    """`base` with `settings` over it: values of the right type, or text (`"50"`, `"true"`, `"reset,close"`)."""
    types = _types()
    changed: dict[str, object] = {}
    for name, value in settings.items():
        if name not in types:
            raise UsageError(f"mock: no dial is called {_short(name)}", _nearest(name, types))
        if isinstance(value, str) and isinstance(getattr(base, name), tuple):
            value = [part.strip() for part in value.split(",") if part.strip()]
        changed[name] = _converted(name, value, strict=not isinstance(value, str))
    return msgspec.structs.replace(base, **changed)


def sentences() -> dict[str, str]:
    """Each dial's name and what it does."""
    return {
        name: next(meta.description for meta in typing.get_args(type_)[::-1] if meta.description)
        for name, type_ in _types().items()
    }


def _types() -> dict[str, object]:
    if not _known_types:
        _known_types.update(typing.get_type_hints(Dials, include_extras=True))
    return _known_types


_known_types: dict[str, object] = {}


def _converted(name: str, value: object, *, strict: bool) -> object:
    try:
        return msgspec.convert(value, typing.cast(typing.Any, _types()[name]), strict=strict)
    except msgspec.ValidationError:
        raise UsageError(f"mock: {name}={_short(value)} is not {_wanted(name)}", sentences()[name]) from None


def _wanted(name: str) -> str:
    kind, *metas = typing.get_args(_types()[name])
    if typing.get_origin(kind) is Literal:
        return "one of " + ", ".join(typing.get_args(kind))
    text = _KINDS[typing.get_origin(kind) or kind]
    low = next((meta.ge for meta in metas if meta.ge is not None), None)
    high = next((meta.le for meta in metas if meta.le is not None), None)
    return text if low is None else f"{text} from {low} to {high}"


_KINDS = {float: "a number", int: "a whole number", bool: "true or false", str: "a text", tuple: "a list of names"}


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"


def _nearest(name: str, known: Mapping[str, object]) -> str:
    import difflib  # only a mistake needs it

    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"one of: {', '.join(sorted(known))}"
