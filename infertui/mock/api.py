"""The bytes of each API: OpenAI's two, llama.cpp's own and Ollama's two."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec

from infertui.mock.reply import Refusal, count_words, error, words

if TYPE_CHECKING:
    from infertui.mock.reply import Answer

_encode = msgspec.json.encode


def _open(fields: dict[str, object]) -> bytes:
    """A JSON object left open for more."""
    return _encode(fields)[:-1]


class Api:
    """OpenAI's chat completions; the others differ from it."""

    chat = True  # it can reason
    tools = True
    kind = "text/event-stream"
    opening = b"data: "
    closing = b"\n\n"
    done = b"data: [DONE]\n\n"
    comments = True
    counted = False  # each chunk tells how many tokens there were so far
    tool_at_once = False
    streams_unasked = False
    id_prefix = "chatcmpl-mock-"
    noun = "chat.completion"

    def error(self, status: int, message: str, type_: str = "invalid_request_error", **more: object) -> Refusal:
        return error(status, message, type_, **more)

    def prompt_tokens(self, fields: dict[str, Any]) -> int:
        messages = fields.get("messages")
        if not isinstance(messages, list) or not messages:
            raise self.error(400, "'messages' is required")
        return count_words(messages)

    def limit(self, fields: dict[str, Any]) -> int | None:
        return self._limit(fields, "max_completion_tokens", "max_tokens")

    def _limit(self, fields: dict[str, Any], *names: str) -> int | None:
        for name in names:
            value = fields.get(name)
            if value is not None:
                if not isinstance(value, int) or isinstance(value, bool):
                    raise self.error(400, f"'{name}' is no whole number")
                return value if value >= 0 else None
        return None

    def line(self, fields: dict[str, object]) -> bytes:
        return self.opening + _encode(fields) + self.closing

    def tail(self) -> bytes:
        """What ends a chunk after its stamps."""
        return b"}" + self.closing

    def envelope(self, answer: Answer, noun: str = "") -> dict[str, object]:
        return {
            "id": answer.id,
            "object": noun or f"{self.noun}.chunk",
            "created": answer.created,
            "model": answer.ask.model,
            "system_fingerprint": "infertui-mock",
        }

    def role(self, answer: Answer) -> bytes:
        """The role-only chunk, where the API has one."""
        content = None if answer.ask.dials.role_null else ""
        return self._delta(answer, {"role": "assistant", "content": content}, None)

    def _delta(self, answer: Answer, delta: dict[str, object], finish: str | None, **more: object) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return self.line({"choices": [choice], **self.envelope(answer), **more})

    def around(self, answer: Answer, channel: str, first: bool) -> tuple[bytes, bytes]:
        """The bytes before and after a token's JSON text; the latter end where the stamp `sent_ns` goes."""
        role = b'"role":"assistant",' if first and not answer.ask.dials.role_first else b""
        right = b""
        if channel == "reasoning":
            field = b'"%b":' % answer.ask.dials.reasoning_field.encode()
        elif channel == "tool":
            call = {"index": 0, "id": f"call-{answer.id}", "type": "function"}
            name = _encode(answer.ask.tool)
            field = b'"tool_calls":[%b,"function":{"name":%b,"arguments":' % (_open(call), name)
            right = b"}}]"
        elif channel == "tool-more":
            field, right = b'"tool_calls":[{"index":0,"function":{"arguments":', b"}}]"
        else:
            field = b'"content":'
        end = b'%b},"finish_reason":null}],%b,"sent_ns":' % (right, _open(self.envelope(answer))[1:])
        return b'data: {"choices":[{"index":0,"delta":{%b%b' % (role, field), end

    def finish(self, answer: Answer, more: dict[str, object]) -> bytes:
        """The line that says why the answer ended."""
        return b"" if answer.finish is None else self._delta(answer, {}, answer.finish, **more)

    def late_usage(self, answer: Answer, counts: dict[str, object]) -> bytes:
        return self.line({"choices": [], **self.envelope(answer), **counts})

    def whole(self, answer: Answer) -> bytes:
        """The reply to a request that asked for no stream, up to where `sent_ns` goes."""
        message: dict[str, object] = {"role": "assistant", "content": self.text(answer)}
        if answer.reasoning:
            message[answer.ask.dials.reasoning_field] = words(answer.reasoning, wide=answer.wide)
        if answer.tool_call:
            arguments = _encode({"text": message["content"]}).decode()
            function = {"name": answer.ask.tool, "arguments": arguments}
            message["content"] = None
            message["tool_calls"] = [{"id": f"call-{answer.id}", "type": "function", "function": function}]
        choice = {"index": 0, "message": message, "finish_reason": answer.finish}
        return _open({"choices": [choice], **self.envelope(answer, self.noun), **answer.counts()}) + b',"sent_ns":'

    def text(self, answer: Answer) -> str:
        return words(answer.answer, wide=answer.wide)

    def stream_error(self) -> bytes:
        return (
            self.opening
            + self.error(500, "mock: an error in the stream, as dialled", "server_error").body
            + self.closing
        )


class Completion(Api):
    """OpenAI's completions: text after a text."""

    chat = False
    tools = False
    id_prefix = "cmpl-mock-"
    noun = "text_completion"

    def prompt_tokens(self, fields: dict[str, Any]) -> int:
        if not isinstance(fields.get("prompt"), (str, list)):
            raise self.error(400, "'prompt' is required")
        return count_words(fields["prompt"])

    def envelope(self, answer: Answer, noun: str = "") -> dict[str, object]:
        return super().envelope(answer, self.noun)

    def role(self, answer: Answer) -> bytes:
        return b""

    def around(self, answer: Answer, channel: str, first: bool) -> tuple[bytes, bytes]:
        end = b',"logprobs":null,"finish_reason":null}],%b,"sent_ns":' % _open(self.envelope(answer))[1:]
        return b'data: {"choices":[{"index":0,"text":', end

    def finish(self, answer: Answer, more: dict[str, object]) -> bytes:
        if answer.finish is None:
            return b""
        choice = {"index": 0, "text": "", "logprobs": None, "finish_reason": answer.finish}
        return self.line({"choices": [choice], **self.envelope(answer), **more})

    def whole(self, answer: Answer) -> bytes:
        choice = {"index": 0, "text": self.text(answer), "logprobs": None, "finish_reason": answer.finish}
        return _open({"choices": [choice], **self.envelope(answer), **answer.counts()}) + b',"sent_ns":'


class Native(Completion):
    """llama.cpp's own completion: no [DONE]; the last chunk has `stop`, the counts and the timings."""

    done = b""
    counted = True

    def limit(self, fields: dict[str, Any]) -> int | None:
        return self._limit(fields, "n_predict", "max_tokens")

    def around(self, answer: Answer, channel: str, first: bool) -> tuple[bytes, bytes]:
        end = b',"tokens":[],"stop":false,"id_slot":-1,"tokens_evaluated":%d,"sent_ns":' % answer.ask.prompt_tokens
        return b'data: {"index":0,"content":', end

    def _last(self, answer: Answer, text: str) -> dict[str, object]:
        fields: dict[str, object] = {"index": 0, "content": text, "tokens": [], "stop": True, "model": answer.ask.model}
        if answer.fault != "no-usage" and answer.ask.dials.usage != "none":
            fields |= {"tokens_predicted": answer.tokens, "tokens_evaluated": answer.ask.prompt_tokens}
            fields |= {"tokens_cached": answer.cached, "timings": answer.timings()}
        if answer.finish:
            fields |= {"stop_type": "limit" if answer.finish == "length" else "eos", "stopping_word": ""}
        return fields

    def finish(self, answer: Answer, more: dict[str, object]) -> bytes:
        return self.line(self._last(answer, ""))

    def whole(self, answer: Answer) -> bytes:
        return _open(self._last(answer, self.text(answer))) + b',"sent_ns":'


class OllamaChat(Api):
    """Ollama's own chat: a JSON object a line, durations in nanoseconds, `done` in the last."""

    kind = "application/x-ndjson"
    opening = b""
    closing = b"\n"
    done = b""
    comments = False
    tool_at_once = True
    streams_unasked = True

    def error(self, status: int, message: str, type_: str = "", **more: object) -> Refusal:
        return Refusal(status, _encode({"error": message}))

    def limit(self, fields: dict[str, Any]) -> int | None:
        options = fields.get("options")
        return self._limit(options, "num_predict") if isinstance(options, dict) else None

    def envelope(self, answer: Answer, noun: str = "") -> dict[str, object]:
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(answer.created))
        return {"model": answer.ask.model, "created_at": created}

    def role(self, answer: Answer) -> bytes:
        return b""

    def around(self, answer: Answer, channel: str, first: bool) -> tuple[bytes, bytes]:
        left = b'%b,"message":{"role":"assistant","content":' % _open(self.envelope(answer))
        if channel == "reasoning":
            return left + b'"","thinking":', b'},"done":false,"sent_ns":'
        if channel == "tool":
            left += b'"","tool_calls":[{"function":{"name":%b,"arguments":' % _encode(answer.ask.tool)
            return left, b'}}]},"done":false,"sent_ns":'
        return left, b'},"done":false,"sent_ns":'

    def said(self, answer: Answer, text: str, thinking: str) -> dict[str, object]:
        message: dict[str, object] = {"role": "assistant", "content": text}
        if thinking:
            message["thinking"] = thinking
        if text and answer.tool_call:
            message["content"] = ""
            message["tool_calls"] = [{"function": {"name": answer.ask.tool, "arguments": {"text": text}}}]
        return {"message": message}

    def _last(self, answer: Answer, text: str, thinking: str) -> dict[str, object]:
        fields = {**self.envelope(answer), **self.said(answer, text, thinking), "done": True}
        if answer.finish:
            fields["done_reason"] = "length" if answer.finish == "length" else "stop"
        if answer.fault == "no-usage" or answer.ask.dials.usage == "none":
            return fields
        prompt_ns, eval_ns = round(answer.ask.dials.ttft_ms * 1e6), round(answer.decode_ms * 1e6)
        return fields | {
            "total_duration": answer.queued_ns + prompt_ns + eval_ns,
            "load_duration": 0,
            "prompt_eval_count": answer.ask.prompt_tokens,
            "prompt_eval_duration": prompt_ns,
            "eval_count": answer.tokens,
            "eval_duration": eval_ns,
        }

    def finish(self, answer: Answer, more: dict[str, object]) -> bytes:
        return self.line(self._last(answer, "", ""))

    def whole(self, answer: Answer) -> bytes:
        thinking = words(answer.reasoning, wide=answer.wide)
        return _open(self._last(answer, self.text(answer), thinking)) + b',"sent_ns":'


class OllamaGenerate(OllamaChat):
    """Ollama's own completion."""

    tools = False

    def prompt_tokens(self, fields: dict[str, Any]) -> int:
        if not isinstance(fields.get("prompt"), str):
            raise self.error(400, "'prompt' is required")
        return count_words(fields["prompt"])

    def around(self, answer: Answer, channel: str, first: bool) -> tuple[bytes, bytes]:
        left = _open(self.envelope(answer))
        field = b',"response":"","thinking":' if channel == "reasoning" else b',"response":'
        return left + field, b',"done":false,"sent_ns":'

    def said(self, answer: Answer, text: str, thinking: str) -> dict[str, object]:
        fields: dict[str, object] = {"response": text}
        return fields | ({"thinking": thinking} if thinking else {})


APIS: dict[bytes, Api] = {
    b"/v1/chat/completions": Api(),
    b"/v1/completions": Completion(),
    b"/completion": Native(),
    b"/api/chat": OllamaChat(),
    b"/api/generate": OllamaGenerate(),
}
