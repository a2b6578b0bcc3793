"""The proof that a server serves: an answer of one token, whatever it says of its health."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from infertui.server import http
from infertui.text import plain

if TYPE_CHECKING:
    from infertui.server.base import Server


def one_token(server: Server, timeout_s: float, on_headers: Callable[[int], None]) -> http.Answer:
    body: dict[str, Any] = {"model": server.asked(), "max_tokens": 1, "temperature": 0, "stream": True}
    if server.profile.api == "completions":
        path, body["prompt"] = "/v1/completions", "Say yes."
    else:
        path, body["messages"] = "/v1/chat/completions", [{"role": "user", "content": "Say yes."}]
    return http.post(server.url, path, body, server.key(), timeout_s, on_headers)


def refusal(answer: http.Answer) -> str:
    return f"a one-token request gets {answer.status}: {plain(answer.text, 200) or 'nothing'}"


def proves(answer: http.Answer) -> bool:
    """Whether a streamed answer holds one, and not only the form of it."""
    met = False
    for line in answer.text.splitlines():
        with contextlib.suppress(ValueError):
            value = json.loads(line.removeprefix("data:")) if line.startswith("data:") else None
            if isinstance(value, dict):
                if value.get("error"):
                    return False
                met = met or bool(value.get("choices"))
    return answer.status == 200 and met
