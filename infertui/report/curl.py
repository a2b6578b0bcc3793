"""A call of a run as the shell command that sends the very same request again."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec

from infertui.client.api import CHAT, COMPLETIONS, NATIVE, Api, Ask
from infertui.client.wire import Target
from infertui.errors import UsageError
from infertui.metric import CallRecord
from infertui.result import Report, stored
from infertui.scenario.plan import Message, begun, nonce
from infertui.store import Store

# What could act on a terminal, or hide what a command does: in JSON it means the same as an escape.
_UNSAFE = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_REFUSED = re.compile(r"the server refuses `(\w+)`")


class Curl(NamedTuple):
    """A command in one line, and what to know before it is run: empty if nothing."""

    command: str
    note: str


def of_call(store: Store, run: str, name: str) -> Curl:
    """The command for a call in the database."""
    row = store.run(run)
    call = next((each for each in store.calls(row.id) if each.name == name), None)
    if call is None:
        raise UsageError(f"run {row.id} has no call {name!r}", f"`infertui show {row.id}` lists them")
    messages = store.prompt(call.prompt_hash)
    if not messages:
        raise UsageError(f"the prompt of call {name!r} is not in the database any more")
    return curl(stored(store, str(row.id)), call, messages, store.uid(row.experiment_id), store.address(row.id))


def curl(report: Report, call: CallRecord, messages: Sequence[Message], uid: str, started_at: str = "") -> Curl:
    """`uid`: of the run's experiment, for the nonce. `started_at`: the address at which its server was started."""
    address = report.url or started_at or _of_command(report)
    if not address:
        raise UsageError(f"run {report.id} does not say where its server was", "it was started by hand on a free port")
    target, api = Target(address), _api(report, call)
    parts = ["curl", "-sN", shlex.quote(target.url + api.path), "-H 'Content-Type: application/json'"]
    key = _profile(report, "api_key_env") or ""
    if _VARIABLE.fullmatch(key):
        parts.append(f'-H "Authorization: Bearer ${key}"')
    body = _UNSAFE.sub(lambda match: f"\\u{ord(match.group()):04x}", request_body(report, call, messages, uid).decode())
    parts.append(f"-d {shlex.quote(body)}")
    return Curl(" ".join(parts), "" if report.url else f"{target.netloc} is the free port that the server had then")


def request_body(report: Report, call: CallRecord, messages: Sequence[Message], uid: str) -> bytes:
    """What was sent, byte for byte: with the nonce of this experiment, and without what the server refused."""
    setup = report.setup
    ask = Ask(
        model=_model(report),
        max_tokens=call.max_tokens,
        stream=setup.get("stream", True),
        temperature=setup.get("temperature", 0.0),
        top_p=setup.get("top_p"),
        seed=setup.get("sampling_seed"),
        cache=setup.get("cache", "cold"),
    )
    words = nonce(uid, call.name) if ask.cache == "cold" else ""
    body = _api(report, call).body(ask, begun(tuple(messages), words), _refused(report, call))
    return msgspec.json.encode(body)


def _profile(report: Report, key: str) -> Any:
    return report.facts.get("profile", {}).get(key)


def _api(report: Report, call: CallRecord) -> Api:
    """What was spoken. Whose native API it was, an address alone does not say: llama.cpp ends in its own words."""
    name = report.setup.get("api", "chat")
    if name != "native":
        return COMPLETIONS if name == "completions" else CHAT
    native = report.facts.get("can", {}).get("native")
    if native not in NATIVE:
        llama = call.finish in ("limit", "eos", "word", "none") or "llama.cpp" in str(report.facts.get("header"))
        native = "llama.cpp" if llama else "ollama"
    return NATIVE[native]


def _model(report: Report) -> str:
    """As it was asked for: mlx_lm.server loads its model again under any name but one."""
    if _profile(report, "kind") != "mlx-lm":
        return report.model
    place = str(report.facts.get("model", ""))
    unsure = report.facts.get("attached") and not report.facts.get("command") and not place.startswith("/")
    return place if unsure else "default_model"


def _refused(report: Report, call: CallRecord) -> set[str]:
    """Body fields that were left out from the first warm-up call on that was refused because of them."""
    if call.role == "warmup" and call.status in (400, 422):
        return set()
    return {match[1] for warning in report.summary.warnings if (match := _REFUSED.match(warning))}


def _of_command(report: Report) -> str:
    """Where a server listened that `infertui server start` had put on a free port."""
    command = [str(part) for part in report.facts.get("command") or ()]
    told = {flag: value for flag, value in pairwise(command) if flag in ("--host", "--port")}
    return f"http://{told.get('--host', '127.0.0.1')}:{told['--port']}" if "--port" in told else ""
