"""What a request asks for, and its answer: counts, text and chunks. Their bytes are `api`'s, their times `script`'s."""

from __future__ import annotations

import time
import urllib.parse
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from infertui.errors import UsageError
from infertui.mock.dials import Dials, dial

if TYPE_CHECKING:
    from infertui.mock.api import Api

# Token i of an answer is word i modulo their number: a prime, so that a lost or doubled stretch shows.
# fmt: off
WORDS = (
    " the", " model", " reads", " a", " long", " prompt", " and", " then", " writes", " one", " word", " after",
    " another", " while", " we", " count", " each", " of", " them", " in", " its", " own", " time",
)
# fmt: on
WIDE_WORDS = (" größe", " 模型", " naïve", " 🙂", " plain", " время", " café")

_encode = msgspec.json.encode


def words(count: int, *, wide: bool = False) -> str:
    """The text of an answer of `count` tokens (`wide`: under the two half-utf8 faults)."""
    cycle = WIDE_WORDS if wide else WORDS
    return "".join(cycle) * (count // len(cycle)) + "".join(cycle[: count % len(cycle)])


class Refusal(Exception):
    """A reply that is not an answer: a status and a body, at once."""

    def __init__(
        self, status: int, body: bytes, *, headers: Sequence[str] = (), kind: str = "application/json"
    ) -> None:
        super().__init__(status)
        self.status = status
        self.body = body
        self.headers = headers
        self.kind = kind


def error(status: int, message: str, type_: str = "invalid_request_error", **more: object) -> Refusal:
    return Refusal(status, _encode({"error": {"message": message, "type": type_, "code": status, **more}}))


_PAGE = b"<!DOCTYPE html>\n<html><head><title>%b</title></head><body><h1>%b</h1></body></html>\n"

# Faults that are a whole reply of their own.
REFUSALS = {
    "500": error(500, "mock: an internal error, as dialled", "server_error"),
    "503": error(503, "Loading model", "unavailable_error"),
    "400": error(400, "mock: a bad request, as dialled"),
    "429": Refusal(
        429, error(429, "mock: too many requests, as dialled", "rate_limit_error").body, headers=["Retry-After: 1"]
    ),
    "html": Refusal(502, _PAGE % (b"502 Bad Gateway", b"502 Bad Gateway"), kind="text/html"),
    "html-200": Refusal(200, _PAGE % (b"Sign in", b"Sign in to the network"), kind="text/html"),
}


class Ask(msgspec.Struct):
    """One valid request for an answer."""

    api: Api
    dials: Dials
    model: str
    stream: bool
    include_usage: bool
    limit: int | None  # of tokens
    prompt_tokens: int
    tool: str


def ask(api: Api, body: bytes, dials: Dials) -> Ask:
    """What `body` asks for, under `dials` and those it brings along; raises Refusal."""
    try:
        fields = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise api.error(400, f"malformed JSON: {problem}") from None
    if not isinstance(fields, dict):
        raise api.error(400, "the body is no JSON object")
    model = fields.get("model", dials.model)
    if not isinstance(model, str):
        raise api.error(400, "'model' is no text")
    try:
        dials = _dialled(dials, model, fields.get("mock"))
    except UsageError as problem:
        raise api.error(400, str(problem)) from None
    for name in dials.reject:
        if name in fields:
            raise api.error(400, f"Unrecognized request argument supplied: {name}", param=name)
    try:
        prompt_tokens = api.prompt_tokens(fields)
    except RecursionError:
        raise api.error(400, "the prompt is nested too deeply") from None
    if prompt_tokens > dials.context:
        raise api.error(
            400,
            f"request ({prompt_tokens} tokens) exceeds the available context size ({dials.context} tokens)",
            "exceed_context_size_error",
            n_prompt_tokens=prompt_tokens,
            n_ctx=dials.context,
        )
    options = fields.get("stream_options")
    return Ask(
        api=api,
        dials=dials,
        model=model,
        stream=bool(fields.get("stream", api.streams_unasked)),
        include_usage=isinstance(options, dict) and bool(options.get("include_usage")),
        limit=api.limit(fields),
        prompt_tokens=prompt_tokens,
        tool=_tool(fields),
    )


def _dialled(dials: Dials, model: str, own: object) -> Dials:
    _, _, query = model.partition("?")
    if query:
        pairs = urllib.parse.parse_qsl(query, keep_blank_values=True)
        if len(pairs) != len(dict(pairs)):
            raise UsageError("mock: a dial is named twice in the model's name")
        dials = dial(dials, dict(pairs))
    if own is None:
        return dials
    if not isinstance(own, dict):
        raise UsageError("mock: the field `mock` is no object of dials")
    return dial(dials, own)


def _tool(fields: dict[str, Any]) -> str:
    try:
        return str(fields["tools"][0]["function"]["name"])
    except (KeyError, IndexError, TypeError):
        return "lookup"


def count_words(content: object) -> int:
    if isinstance(content, str):
        return len(content.split())
    if isinstance(content, dict):
        return count_words(content.get("text") or content.get("content"))
    if isinstance(content, list):
        return sum(1 if isinstance(part, int) else count_words(part) for part in content)
    return 0


class Chunk(NamedTuple):
    step: int  # due at ttft + step * gap
    left: bytes
    text: bytes  # JSON
    right: bytes
    tokens: int


class Answer:
    """One answer: its counts, its text in chunks, and the numbers that end it."""

    def __init__(self, ask: Ask, fault: str, number: int) -> None:
        dials = ask.dials
        self.ask = ask
        self.api = ask.api
        self.fault = fault
        self.created = int(time.time())
        self.queued_ns = 0
        self.id = f"{ask.api.id_prefix}{number}"
        limit = 0 if fault == "empty" else dials.reasoning + dials.tokens if ask.limit is None else ask.limit
        self.reasoning = min(dials.reasoning, limit) if ask.api.chat else 0
        self.answer = min(dials.tokens, limit - self.reasoning)
        self.tokens = self.reasoning + self.answer
        self.tool_call = dials.tool_call and ask.api.tools and self.answer > 0
        self.steps = -(-self.reasoning // dials.per_chunk) - (-self.answer // dials.per_chunk)
        self.wide = fault in ("half-utf8", "half-utf8-json")
        reached = fault != "empty" and ask.limit is not None and self.tokens == ask.limit
        self.finish = (
            None if fault == "no-finish" else "tool_calls" if self.tool_call else "length" if reached else "stop"
        )

    def chunks(self) -> Iterator[Chunk]:
        step = 0
        first = True
        for channel, count in (("reasoning", self.reasoning), ("tool" if self.tool_call else "answer", self.answer)):
            texts = self._texts(count)
            if channel == "tool":
                if self.api.tool_at_once:
                    step += -(-count // self.ask.dials.per_chunk) - 1
                    left, right = self.api.around(self, "tool", first)
                    yield Chunk(step, left, _encode({"text": words(count)}), right, count)
                    return
                texts = self._fragments(texts, count)
            sent = self.tokens - self.answer if channel != "reasoning" else 0
            left, right = self.api.around(self, channel, first)
            opening = True
            for text, tokens in texts:
                sent += tokens
                after = b',"tokens_predicted":%d%b' % (sent, right) if self.api.counted else right
                yield Chunk(step, left, text, after, tokens)
                step += 1
                if opening:
                    opening = first = False
                    left, right = self.api.around(self, "tool-more" if channel == "tool" else channel, False)

    def _texts(self, count: int) -> Iterator[tuple[bytes, int]]:
        cycle = _WIDE_BYTES if self.wide else _BYTES
        size = self.ask.dials.per_chunk
        cut = self.fault == "half-utf8-json"
        rest = b""
        for at in range(0, count, size):
            tokens = min(size, count - at)
            raw = (
                cycle[at % len(cycle)]
                if tokens == 1
                else b"".join(cycle[i % len(cycle)] for i in range(at, at + tokens))
            )
            if cut:
                end = None if at + tokens == count else inside(raw, last=True)
                raw, rest = rest + raw[:end], raw[end:] if end is not None else b""
            yield b'"%b"' % raw, tokens

    def _fragments(self, texts: Iterator[tuple[bytes, int]], count: int) -> Iterator[tuple[bytes, int]]:
        """The same texts as the pieces of a tool call's arguments: a JSON object within a JSON text."""
        done = 0
        for text, tokens in texts:
            piece = (b'{\\"text\\":\\"' if done == 0 else b"") + text[1:-1]
            done += tokens
            yield b'"%b%b"' % (piece, b'\\"}' if done == count else b""), tokens

    def usage(self) -> dict[str, object]:
        usage: dict[str, object] = {
            "prompt_tokens": self.ask.prompt_tokens,
            "completion_tokens": self.tokens,
            "total_tokens": self.ask.prompt_tokens + self.tokens,
            "prompt_tokens_details": {"cached_tokens": self.cached},
        }
        if self.reasoning:
            usage["completion_tokens_details"] = {"reasoning_tokens": self.reasoning}
        return usage

    @property
    def cached(self) -> int:
        return min(self.ask.dials.cached_tokens, self.ask.prompt_tokens)

    @property
    def decode_ms(self) -> float:
        return max(0, self.steps - 1) * self.ask.dials.gap_ms

    def timings(self) -> dict[str, object]:
        """By the schedule, as llama.cpp gives them: a rate counts the tokens after the first chunk."""
        prompt, ms = self.ask.prompt_tokens - self.cached, self.ask.dials.ttft_ms
        later = self.tokens - min(self.tokens, self.ask.dials.per_chunk)
        return {
            "cache_n": self.cached,
            "prompt_n": prompt,
            "prompt_ms": ms,
            "prompt_per_token_ms": ms / prompt if prompt else 0.0,
            "prompt_per_second": 1e3 * prompt / ms if ms else 0.0,
            "predicted_n": self.tokens,
            "predicted_ms": self.decode_ms,
            "predicted_per_token_ms": self.decode_ms / later if later else 0.0,
            "predicted_per_second": 1e3 * later / self.decode_ms if self.decode_ms else 0.0,
        }

    def counts(self) -> dict[str, object]:
        """The fields that carry token counts, if this answer may have them."""
        if self.fault == "no-usage" or self.ask.dials.usage == "none":
            return {}
        counts: dict[str, object] = {"usage": self.usage()}
        return counts | ({"timings": self.timings()} if self.ask.dials.timings else {})


def inside(text: bytes, *, last: bool = False) -> int | None:
    """Where `text` can be split in the middle of its first (or last) multi-byte character."""
    places = [at for at in range(len(text)) if text[at] & 0xC0 == 0x80 and text[at - 1] & 0xC0 == 0xC0]
    return places[-1 if last else 0] if places else None


_BYTES = tuple(word.encode() for word in WORDS)
_WIDE_BYTES = tuple(word.encode() for word in WIDE_WORDS)
