"""A server profile: what one is, where profiles are kept, and how one is found, read and checked."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from infertui import settings
from infertui.config import Place, near, read, unlike, wrong
from infertui.errors import UsageError
from infertui.text import plain

ENDING = ".toml"
LIST = "`infertui list profiles` shows all"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HOST = re.compile(r"[\w.-]+|[0-9A-Fa-f:.]+(%\w+)?")  # a name, or an address of version 6
# Secrets are kept out of profiles, as a profile is kept with every run. Flags of servers that take one …
_SECRET_FLAG = re.compile(
    r"--?(?:.+-)?(?:api-?keys?|(?:hf|auth|api|access|bearer)-token|password|passwd|secret)|--token|-hft", re.IGNORECASE
)
_SECRET_NAME = re.compile(r".*(?:KEY|TOKEN|SECRET|PASSWORD)", re.IGNORECASE)  # … variables that hold one …
_SECRET = re.compile(r"sk-.*|(?:hf|gsk|ghp)_[A-Za-z0-9]{16,}|bearer", re.IGNORECASE)  # … and secrets themselves.
_KEY_HINT = 'name the variable that holds it: api_key_env = "NAME"'

Whole = Annotated[int, Meta(ge=1)]


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One server as it is to be started or found: a file FOLDER/NAME.toml."""

    kind: Annotated[str, Meta(description="Which server it is: what knows how to start it, ask it and stop it.")]
    name: Annotated[str, Meta(description="The file's name without its ending.")] = ""
    file: Annotated[str, Meta(description="The file it was read from.")] = ""
    about: Annotated[str, Meta(description="One line for lists.")] = ""
    address: Annotated[
        str, Meta(description="http://HOST:PORT where it runs or will run; left out, a free port on 127.0.0.1.")
    ] = ""
    start: Annotated[bool, Meta(description="false: never start it, only measure what runs at the address.")] = True
    command: Annotated[
        tuple[str, ...],
        Meta(
            description="List: program and first arguments in place of those found; "
            'for "openai" all, {host} {port} {model}.'
        ),
    ] = ()
    model: Annotated[
        str, Meta(description='File, folder or repository; "embedded" or "embedded:SIZE" is made on the spot.')
    ] = ""
    slots: Annotated[
        Annotated[int, Meta(ge=1, le=1024)] | None, Meta(description="Requests that it serves at the same time.")
    ] = None
    context: Annotated[
        Annotated[int, Meta(ge=128)] | None,
        Meta(description="Tokens that each slot holds, prompt and answer together."),
    ] = None
    threads: Annotated[Whole | None, Meta(description="CPU threads.")] = None
    gpu_layers: Annotated[
        Annotated[int, Meta(ge=-1)] | None, Meta(description="Layers of the model on the GPU; 0 for none, -1 for all.")
    ] = None
    flags: Annotated[
        tuple[str, ...], Meta(description="List of arguments that are added to the command as they are.")
    ] = ()
    env: Annotated[
        dict[str, str], Meta(description="Environment variables of the server; kept with each run, so never a secret.")
    ] = msgspec.field(default_factory=dict)
    api: Annotated[
        Literal["chat", "completions", "native"],
        Meta(description="What is spoken: chat, completions, or native, which is the server's own."),
    ] = "chat"
    api_key_env: Annotated[
        str, Meta(description="Environment variable that holds the API key; never the key itself.")
    ] = ""
    temperature: Annotated[
        Annotated[float, Meta(ge=0, le=10)] | None, Meta(description="Of the sampling; 0 always takes the likeliest.")
    ] = None
    top_p: Annotated[
        Annotated[float, Meta(gt=0, le=1)] | None,
        Meta(description="Share of the likeliest tokens that the sampling draws from."),
    ] = None
    max_tokens: Annotated[Whole | None, Meta(description="Longest answer, in tokens.")] = None
    trust_remote_code: Annotated[
        bool, Meta(description="true: let it run code that comes with the model; only for a source you trust.")
    ] = False
    ready_s: Annotated[float, Meta(gt=0, le=86400, description="Longest wait for it to be ready, in seconds.")] = 300.0
    stop_s: Annotated[
        float, Meta(ge=0, le=600, description="Time that it has to stop by itself, in seconds, before it is ended.")
    ] = 10.0


def folders() -> list[Path]:
    """Where profiles are looked for: the user's, which go first, and those that come with InferTUI."""
    root = settings.checkout()
    shipped = root / "profiles" if root else Path(__file__).resolve().parent / "profiles"
    return [settings.config_folder() / "profiles", shipped]


def load(name: str, kinds: Sequence[str]) -> Profile:
    """The profile of that name, or in that file."""
    if os.sep in name or name.endswith(ENDING):
        return _read(Path(os.path.expanduser(name)), kinds)
    found, errors = _found()
    if errors:
        raise errors[0]
    if name not in found:
        hint = near(name, list(found))
        raise UsageError(f"no profile `{plain(name, 60)}`", f"{hint} {LIST}" if hint else LIST)
    return _read(found[name], kinds)


def available(kinds: Sequence[str]) -> tuple[list[Profile], list[UsageError]]:
    """All profiles by name, and what is wrong with those that cannot be used."""
    profiles: list[Profile] = []
    found, errors = _found()
    for _, path in sorted(found.items()):
        try:
            profiles.append(_read(path, kinds))
        except UsageError as error:
            errors.append(error)
    return profiles, errors


def _found() -> tuple[dict[str, Path], list[UsageError]]:
    """The files by the names of their profiles, and what is wrong with folders."""
    found: dict[str, Path] = {}
    errors: list[UsageError] = []
    for folder in reversed(folders()):
        try:
            names = os.listdir(folder)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            errors.append(wrong(folder, "", f"cannot be read: {plain(error.strerror or str(error))}"))
            continue
        # hidden files are an editor's or the system's own (a Mac leaves ._NAME.toml on foreign disks)
        files = (name for name in names if name.endswith(ENDING) and not name.startswith("."))
        found.update({name.removesuffix(ENDING): folder / name for name in files})
    return found, errors


def _read(path: Path, kinds: Sequence[str]) -> Profile:
    path = path.absolute()
    profile = read(path, Profile, name=path.stem, file=str(path))
    _check(profile, path, kinds)
    return msgspec.structs.replace(
        profile,
        model=_resolved(profile.model, path, "model"),
        command=(*(_resolved(program, path, "command") for program in profile.command[:1]), *profile.command[1:]),
    )


def _resolved(text: str, path: Path, key: str) -> str:
    """A path that begins with ./, ../ or ~ as one that is the same from every folder; anything else is a name."""
    first = text.partition("/")[0]
    if first in (".", ".."):
        return os.path.abspath(path.parent / text)  # no links followed: a cache's blobs have names that say nothing
    if not first.startswith("~"):
        return text
    expanded = os.path.expanduser(text)
    if expanded == text:
        raise wrong(path, key, f"{plain(first, 40)} is nobody's home", "write the whole path")
    return expanded


# What no type says. Values are shown only where they cannot be a secret.


def _check(profile: Profile, path: Path, kinds: Sequence[str]) -> None:
    if not _NAME.fullmatch(profile.name):
        raise wrong(path, "", "a profile's name has letters, digits and . _ - only", "rename the file")
    try:
        profile.file.encode()
    except UnicodeEncodeError:
        raise wrong(path, "", "the folder's name is not UTF-8", "rename the folder") from None
    for key, text in _texts(profile):
        if set(text) & set("\0\r\n"):
            raise wrong(path, key, "no line end and no NUL is expected in it")
    if profile.kind not in kinds:
        raise wrong(path, "kind", *unlike(profile.kind, kinds))
    _check_address(profile, path)
    for key, text in _texts(profile):
        if key[0] == "command" and not text.strip():
            raise wrong(path, key, "a program or an argument is expected, not the text ''")
        if key[0] in ("command", "flags") and (secret := next(filter(None, map(_secret, text.split())), "")):
            raise wrong(path, key, f"{secret} is no argument to keep in a profile", _KEY_HINT)
    _check_env(profile, path)
    key_env = profile.api_key_env
    if key_env and (not _VARIABLE.fullmatch(key_env) or _SECRET.fullmatch(key_env)):
        message = "the name of an environment variable is expected, and this looks like something else"
        raise wrong(path, "api_key_env", message, "keys are never kept: export NAME=KEY, and write NAME here")


def _texts(profile: Profile) -> Iterator[tuple[Place, str]]:
    """Every text that the file sets, by its place in the file."""
    for key in Profile.__struct_fields__:
        match getattr(profile, key):
            case str() if key in ("name", "file"):
                pass
            case str(text):
                yield (key,), text
            case tuple(items):
                yield from (((key, number), item) for number, item in enumerate(items))
            case dict(values):
                yield from (((key, name), name + value) for name, value in values.items())


def _secret(word: str) -> str:
    """What of a word of a command is, holds or announces a secret; empty if nothing does."""
    word = word.strip("\"'")
    name, sign, _ = word.partition("=")
    if _SECRET_FLAG.fullmatch(name.replace("_", "-")):
        return plain(name, 40)
    if sign and _VARIABLE.fullmatch(name) and _SECRET_NAME.fullmatch(name):
        return f"{plain(name, 40)}=…"
    return "what looks like a key" if _SECRET.fullmatch(word) else ""


def _check_address(profile: Profile, path: Path) -> None:
    address = profile.address
    if not address:
        if not profile.start:
            hint = 'write address = "http://HOST:PORT"'
            raise wrong(path, "start", "false means that it runs somewhere, and no address is set", hint)
        return
    example = "write http://HOST:PORT"
    if "@" in address:
        raise wrong(path, "address", "a name or a password stands in it", _KEY_HINT)
    told = f"an address is expected, not the text '{plain(address, 60)}'"
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
        host.encode("idna")
    except ValueError:
        raise wrong(path, "address", told, example) from None
    named = parts.scheme in ("http", "https") and _HOST.fullmatch(host) and port != 0
    sent = re.fullmatch("[!-~]*", parts.path) and not parts.query and not parts.fragment
    if not named or not sent or min(address) <= " ":  # urlsplit drops blanks and controls, other programs do not
        raise wrong(path, "address", told, example)
    if profile.start and port is None:
        raise wrong(path, "address", "a port is expected, as the server is to be started there", example)


def _check_env(profile: Profile, path: Path) -> None:
    for name, value in profile.env.items():
        here = ("env", name)
        if name in Profile.__struct_fields__:  # TOML: what follows [env] is in it
            raise wrong(path, here, "that is a key of the profile, and no variable", f"{name} stands above [env]")
        if not _VARIABLE.fullmatch(name):
            raise wrong(path, here, "no name that a variable can have", "letters, digits and _ only")
        if _SECRET_NAME.fullmatch(name) or _SECRET.fullmatch(value):
            hint = f"use api_key_env, or export {plain(name, 40)} before you start InferTUI"
            raise wrong(path, here, "a secret is not kept in a profile", hint)
