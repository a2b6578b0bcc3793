"""What is typed after `infertui run`, as what it means: servers, timeouts, targets."""

from __future__ import annotations

import os
import re
from difflib import get_close_matches
from functools import partial
from math import isfinite
from typing import Any

import msgspec

from infertui.client.wire import Limits, Target
from infertui.errors import UsageError
from infertui.metric import METRICS, Bound
from infertui.profile import Profile, load
from infertui.server import KINDS, server
from infertui.settings import config_folder, user


def servers(
    names: tuple[str, ...], urls: tuple[str, ...], models: tuple[str, ...], api: str | None, key_env: str
) -> tuple[Profile, ...]:
    """The servers named on the command line: profiles, then addresses; without any, those of the settings."""
    chosen = not names and not urls
    if chosen:
        names = user().servers
    count = len(names) + len(urls)
    if len(models) > 1 and len(models) != count:
        raise UsageError(
            f"{len(models)} --model for {count} server{'s' if count > 1 else ''}", "give one for all, or one for each"
        )
    asked = models * count if len(models) == 1 else models or ("",) * count
    of = partial(of_settings, "servers") if chosen else profile
    found = [of(name, model, api, key_env) for name, model in zip(names, asked, strict=False)]
    if len({each.name for each in found}) < len(found):
        raise UsageError("a profile is named twice", "--rounds measures the same server again")
    for number, (url, model) in enumerate(zip(urls, asked[len(names) :], strict=True)):
        twice = f" #{number + 1}" if sum(other == url for other in urls) > 1 else ""
        found.append(_attached(url, model, api or "chat", key_env, twice))
    return tuple(found)


def of_settings(key: str, name: str, model: str = "", api: str | None = None, key_env: str = "") -> Profile:
    """A profile that the user's settings name; what is wrong with the name is said with its line there."""
    from infertui.config import wrong

    try:
        return profile(name, model, api, key_env)
    except UsageError as error:
        place = config_folder() / "settings.toml"
        if not error.message.startswith("no profile") or not place.exists():
            raise
        raise wrong(place, key, error.message, error.hint) from None


def profile(name: str, model: str = "", api: str | None = None, key_env: str = "") -> Profile:
    """A profile by its name, with what the command line says otherwise."""
    found = load(name, tuple(KINDS))
    changes: dict[str, Any] = {}
    if model:  # what is wrong with it is not the file's fault
        changes |= {"model": model if not os.path.exists(model) else os.path.abspath(model), "file": ""}
    if api:
        changes["api"] = api
    if key_env:
        changes["api_key_env"] = key_env
    found = msgspec.structs.replace(found, **changes)
    if found.api_key_env and not os.environ.get(found.api_key_env):
        raise UsageError(f"{name}: the variable {found.api_key_env} is not set", f"export {found.api_key_env}=…")
    return found


def _attached(url: str, model: str, api: Any, key_env: str, twice: str) -> Profile:
    """A server that runs, known by its address. What was left out (its model) the server itself is asked."""
    target = Target(url)
    name = f"{target.netloc}{target.prefix}{twice}"
    found = Profile(
        kind="openai", name=name, address=target.url, start=False, model=model, api=api, api_key_env=key_env
    )
    if not model or api == "native":
        endpoint = server(found).endpoint()
        found = msgspec.structs.replace(found, model=endpoint.model)
    return found


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
