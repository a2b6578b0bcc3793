"""The APIs that a call can speak: what its body holds, where it goes, and what the pieces of its reply mean.

`chat` and `completions` are OpenAI's; `native` is the server's own: llama.cpp's /completion or Ollama's /api/chat.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

import msgspec

from infertui.client.stream import BadStream, Reply, error_text
from infertui.scenario.plan import Message

Number = int | float


class Ask(msgspec.Struct, frozen=True):
    """What a body is built from. `seed` is sent only when asked for: it makes some servers serial."""

    model: str
    max_tokens: int
    stream: bool = True
    temperature: float | None = 0.0
    top_p: float | None = None
    seed: int | None = None
    cache: Literal["cold", "warm"] = "cold"

    def sampling(self) -> dict[str, float | int]:
        told = {"temperature": self.temperature, "top_p": self.top_p, "seed": self.seed}
        return {key: value for key, value in told.items() if value is not None}


class Usage(msgspec.Struct):
    prompt_tokens: Number | None = None
    completion_tokens: Number | None = None
    prompt_tokens_details: dict[str, Any] | None = None
    completion_tokens_details: dict[str, Any] | None = None


class Function(msgspec.Struct):
    name: str | None = None
    arguments: Any = None


class ToolCall(msgspec.Struct):
    function: Function | None = None


class Delta(msgspec.Struct):
    """A streamed delta, or the message of a reply that came whole."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    thinking: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None
    function_call: Function | None = None


class Choice(msgspec.Struct):
    delta: Delta | None = None
    message: Delta | None = None
    text: str | None = None
    finish_reason: str | None = None
    token_ids: list[int] | None = None
    index: int | None = 0


class OpenAIChunk(msgspec.Struct):
    choices: list[Choice] | None = None
    usage: Usage | None = None
    timings: dict[str, Any] | None = None  # llama.cpp
    metrics: dict[str, Any] | None = None  # vLLM with --enable-per-request-metrics
    stats: dict[str, Any] | None = None  # LM Studio
    error: Any = None
    id: Any = None
    system_fingerprint: Any = None
    sent_ns: int | None = None


class OpenAI:
    """Chat and text completions: the same envelope, a different body and a different place for the text."""

    type = OpenAIChunk
    framing: Literal["sse", "ndjson"] = "sse"

    def __init__(self, name: str, path: str) -> None:
        self.name = name
        self.path = path

    def body(self, ask: Ask, messages: Sequence[Message], without: Collection[str] = ()) -> dict[str, Any]:
        body: dict[str, Any] = {"model": ask.model}
        if self.name == "chat":
            body["messages"] = messages
        else:
            body["prompt"] = as_text(messages)
        body["stream"] = ask.stream
        body["max_tokens"] = ask.max_tokens
        body |= ask.sampling()
        if ask.stream:
            body["stream_options"] = {"include_usage": True}
        return trimmed(body, without)

    def take(self, chunk: OpenAIChunk, end: int, reply: Reply) -> None:
        if chunk.error:
            reply.error = error_text(msgspec.json.encode({"error": chunk.error}))
            return
        for choice in chunk.choices or ():
            said = choice.delta or choice.message
            size = len(choice.token_ids) if choice.token_ids else 0
            if said is not None:
                take_delta(said, end, reply, size, chunk.sent_ns)
            elif choice.text:
                reply.token("answer", choice.text, end, size, chunk.sent_ns)
            if choice.finish_reason:
                reply.finish = choice.finish_reason
        if chunk.usage is not None:
            take_usage(chunk.usage, reply)
        if chunk.timings:
            take_timings(chunk.timings, reply)
        if chunk.metrics and (queued := number(chunk.metrics.get("queue_time_ms"))) is not None:
            reply.server["queue_ms"] = float(queued)
        if not reply.response_id and isinstance(chunk.id, str):
            reply.response_id = chunk.id
        if not reply.fingerprint and isinstance(chunk.system_fingerprint, str):
            reply.fingerprint = chunk.system_fingerprint


def take_delta(said: Delta, end: int, reply: Reply, size: int, sent_ns: int | None) -> None:
    """Whatever a delta or a whole message holds, in the order in which a model says it: thoughts come first."""
    thought = said.reasoning_content or said.reasoning or said.thinking
    if thought:
        reply.token("reasoning", thought, end, size, sent_ns)
        size = 0  # the chunk's tokens are counted once, with its first piece
    if said.content:
        reply.token("answer", said.content, end, size, sent_ns)
    if said.tool_calls or said.function_call is not None:
        for call in (*(call.function for call in said.tool_calls or ()), said.function_call):
            if (told := call_text(call)) != "":
                reply.token("tool", told, end, 0 if said.content else size, sent_ns)
                size = 0
    if said.refusal:
        reply.token("answer", said.refusal, end, size, sent_ns)


def call_text(function: Function | None) -> str:
    """A piece of a tool call: its name, its arguments, or a part of these."""
    if function is None:
        return ""
    arguments = function.arguments
    if arguments is not None and not isinstance(arguments, str):
        arguments = msgspec.json.encode(arguments).decode()
    return (function.name or "") + (arguments or "")


MOST = 1 << 31  # of anything that a server counts or clocks


def number(value: object) -> float | None:
    """What a server says of an amount, where that can be one."""
    return value if isinstance(value, (int, float)) and 0 <= value < MOST else None


def count(value: object) -> int | None:
    amount = number(value)
    return None if amount is None else int(amount)


def take_usage(usage: Usage, reply: Reply) -> None:
    output = count(usage.completion_tokens)
    if output:  # Ollama's /v1/completions puts zeros on every piece
        reply.output = output
    elif output == 0 and reply.finish and reply.output is None and not reply.token_end:
        reply.output = 0
    reply.prompt = count(usage.prompt_tokens) or reply.prompt
    cached = count((usage.prompt_tokens_details or {}).get("cached_tokens"))
    reply.cached = reply.cached if cached is None else cached
    reasoned = count((usage.completion_tokens_details or {}).get("reasoning_tokens"))
    reply.reasoned = reply.reasoned if reasoned is None else reasoned


# llama.cpp's `timings`, in our words: new prompt tokens and their time, cached ones, generated ones and their time.
TIMINGS = {
    "prompt_n": "prompt_n",
    "prompt_ms": "prompt_ms",
    "cache_n": "cached_n",
    "predicted_n": "output_n",
    "predicted_ms": "decode_ms",
}


def take_timings(timings: Mapping[str, Any], reply: Reply) -> None:
    for theirs, ours in TIMINGS.items():
        if (value := number(timings.get(theirs))) is not None:
            reply.server[ours] = float(value)
    if "output_n" in reply.server:
        reply.server["decode_n"] = reply.server["output_n"] - 1  # its clock starts with the first token


class LlamaChunk(msgspec.Struct):
    content: str | None = None
    tokens: list[int] | None = None
    stop: bool = False
    stop_type: str | None = None
    tokens_predicted: Number | None = None
    tokens_evaluated: Number | None = None
    timings: dict[str, Any] | None = None
    error: Any = None
    sent_ns: int | None = None


class Llama:
    """llama.cpp's own /completion: the prompt as it is, no chat template, and no [DONE] at the end."""

    name = "native"
    path = "/completion"
    type = LlamaChunk
    framing: Literal["sse", "ndjson"] = "sse"

    def body(self, ask: Ask, messages: Sequence[Message], without: Collection[str] = ()) -> dict[str, Any]:
        body: dict[str, Any] = {"prompt": as_text(messages), "n_predict": ask.max_tokens, "stream": ask.stream}
        body |= ask.sampling()
        body["cache_prompt"] = ask.cache == "warm"
        return trimmed(body, without)

    def take(self, chunk: LlamaChunk, end: int, reply: Reply) -> None:
        if chunk.error:
            reply.error = error_text(msgspec.json.encode({"error": chunk.error}))
            return
        reply.token("answer", chunk.content or "", end, len(chunk.tokens or ()), chunk.sent_ns)
        if chunk.stop:
            reply.finish = chunk.stop_type or "stop"
            reply.done = True
            if (predicted := number(chunk.tokens_predicted)) is not None:
                reply.server["output_n"] = predicted
            reply.prompt = count(chunk.tokens_evaluated)
        if chunk.timings:
            take_timings(chunk.timings, reply)


class OllamaChunk(msgspec.Struct):
    message: Delta | None = None
    response: str | None = None
    thinking: str | None = None
    done: bool = False
    done_reason: str | None = None
    total_duration: Number | None = None
    load_duration: Number | None = None
    prompt_eval_count: Number | None = None
    prompt_eval_duration: Number | None = None
    eval_count: Number | None = None
    eval_duration: Number | None = None
    error: Any = None
    sent_ns: int | None = None


class Ollama:
    """Ollama's own /api/chat: lines of JSON, the last with its clocks in nanoseconds."""

    name = "native"
    path = "/api/chat"
    type = OllamaChunk
    framing: Literal["sse", "ndjson"] = "ndjson"

    def body(self, ask: Ask, messages: Sequence[Message], without: Collection[str] = ()) -> dict[str, Any]:
        options: dict[str, Any] = {"num_predict": ask.max_tokens}
        options |= ask.sampling()
        body = {"model": ask.model, "messages": messages, "stream": ask.stream, "options": trimmed(options, without)}
        return trimmed(body, without)

    def take(self, chunk: OllamaChunk, end: int, reply: Reply) -> None:
        if chunk.error:
            reply.error = error_text(msgspec.json.encode({"error": chunk.error}))
            return
        if chunk.message is not None:
            take_delta(chunk.message, end, reply, 0, chunk.sent_ns)
        if chunk.thinking:
            reply.token("reasoning", chunk.thinking, end, 0, chunk.sent_ns)
        if chunk.response:
            reply.token("answer", chunk.response, end, 0, chunk.sent_ns)
        if not chunk.done:
            return
        reply.done = True
        reply.finish = chunk.done_reason or "stop"
        reply.prompt = count(chunk.prompt_eval_count)
        told = {"output_n": number(chunk.eval_count), "decode_n": number(chunk.eval_count)}
        clocks = {"total_ms": chunk.total_duration, "load_ms": chunk.load_duration}
        clocks |= {"prompt_ms": chunk.prompt_eval_duration, "decode_ms": chunk.eval_duration}
        told |= {key: number(value / 1e6) for key, value in clocks.items() if value is not None}
        reply.server |= {key: value for key, value in told.items() if value is not None}
        if (total := told.get("total_ms")) is not None:
            # Fields that are zero are left out. What no other clock claims was spent waiting for a slot.
            waited = total - sum(told.get(key) or 0 for key in ("load_ms", "prompt_ms", "decode_ms"))
            reply.server["queue_ms"] = max(0.0, waited)


Api = OpenAI | Llama | Ollama

CHAT = OpenAI("chat", "/v1/chat/completions")
COMPLETIONS = OpenAI("completions", "/v1/completions")
NATIVE: dict[str, Api] = {"llama.cpp": Llama(), "ollama": Ollama()}


def as_text(messages: Sequence[Message]) -> str:
    return "\n\n".join(message.content for message in messages)


def trimmed(body: dict[str, Any], without: Collection[str]) -> dict[str, Any]:
    """The body without the fields that this server refused; the limit goes under its newer name."""
    if "max_tokens" in without and "max_tokens" in body:
        body["max_completion_tokens"] = body["max_tokens"]
    return {key: value for key, value in body.items() if key not in without}


def take_whole(api: Api, body: bytes | bytearray, reply: Reply) -> None:
    """A reply that came in one piece (or a server that does not stream though it was asked to)."""
    try:
        chunk: Any = msgspec.json.decode(body, type=api.type)
    except msgspec.ValidationError as error:
        raise BadStream(f"not a reply of this API ({error})") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadStream(f"not JSON: {bytes(body[:80])!r}"[:300]) from None
    api.take(chunk, len(body), reply)
    reply.done = True
