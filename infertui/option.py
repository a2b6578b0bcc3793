"""What is typed after `infertui run`, as what it means: servers, timeouts, targets."""

from __future__ import annotations

import os
import re
from difflib import get_close_matches
from math import isfinite
from typing import Any

from infertui.bench import Attached
from infertui.client.wire import Limits, Target
from infertui.errors import UsageError
from infertui.metric import METRICS, Bound


def attached(urls: tuple[str, ...], models: tuple[str, ...], api: str, key_env: str) -> tuple[Attached, ...]:
    """The servers named on the command line. What was left out (model, whose native API) the server itself is asked."""
    if not urls:
        raise UsageError("no server named", "infertui run --attach http://HOST:PORT --model M")
    if len(models) > 1 and len(models) != len(urls):
        raise UsageError(f"{len(models)} --model for {len(urls)} --attach", "give one for all, or one for each")
    key = os.environ.get(key_env, "") if key_env else ""
    servers = []
    for number, url in enumerate(urls):
        target = Target(url, key)
        model = models[number] if len(models) > 1 else models[0] if models else ""
        spoken: Any = api
        if not model or api == "native":
            from infertui.server import openai

            model = model or openai.only_model(target.url, key)
            spoken = openai.native(target.url, key) if api == "native" else api
            if spoken is None:
                raise UsageError(f"{target.url} speaks no native API that we know", "use --api chat or completions")
        twice = sum(other == url for other in urls) > 1
        name = f"{target.netloc}{target.prefix}" + (f" #{number + 1}" if twice else "")
        servers.append(Attached(name=name, url=target.url, model=model, api=spoken, api_key_env=key_env))
    return tuple(servers)


LONGEST_S = 4200  # stamps are kept as µs in 32 bits


def limits(timeouts: tuple[str, ...]) -> Limits:
    known = ("connect", "first-byte", "first-token", "idle", "total")
    values: dict[str, Any] = {}
    for text in timeouts:
        key, _, value = text.partition("=")
        try:
            seconds = float(value)
        except ValueError:
            seconds = 0.0
        if key not in known:
            raise UsageError(f"--timeout {text}: no such timeout", f"there are {', '.join(known)}")
        if not 0 < seconds <= LONGEST_S:
            raise UsageError(f"--timeout {text}: not a number of seconds up to {LONGEST_S}", "write total=600")
        values[f"{key.replace('-', '_')}_s"] = seconds
    return Limits(**values)


def bound(rule: str) -> Bound:
    """`ttft_ms<500` as a bound on a metric of calls."""
    match = re.fullmatch(r"\s*(\w+)\s*(<=|>=|<|>)\s*([\d.]+(?:e[+-]?\d+)?)\s*", rule)
    known = [key for key, metric in METRICS.items() if metric.per == "call"]
    if not match:
        raise UsageError(f"target {rule!r} is not a rule", "write METRIC<NUMBER, such as 'ttft_ms<500'")
    key, sign, value = match.groups()
    if key not in known:
        near = get_close_matches(key, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        raise UsageError(f"target {rule!r}: no metric {key!r} of calls", hint)
    if (METRICS[key].better == "lower") != sign.startswith("<"):
        better, turned = METRICS[key].better, ">" if sign.startswith("<") else "<"
        raise UsageError(f"target {rule!r}: {better} is better for {key}", f"turn the sign: {key}{turned}{value}")
    try:
        worst = float(value)
    except ValueError:
        worst = float("nan")
    if not isfinite(worst):
        raise UsageError(f"target {rule!r}: {value!r} is not a number", "write METRIC<NUMBER, such as 'ttft_ms<500'")
    return Bound(key, worst)
