"""A TOML file read into a struct; what is wrong with it is one line: the file, the line, the key, what was expected."""

from __future__ import annotations

import contextlib
import operator
import os
import re
import stat
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher, get_close_matches
from math import isfinite
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import msgspec
from msgspec import inspect

from infertui.errors import UsageError
from infertui.text import plain

T = TypeVar("T", bound=msgspec.Struct)
Place = tuple[str | int, ...]  # the way down to a value: keys, and numbers of items from 0
Key = str | Place  # a key of the file's top level, or a place

LARGEST_BYTES = 1_000_000
_TOP = 1 << 63  # whole numbers from here on fit no database and no other program's JSON
# What can hold a bracket or a line end without being one, longest first; then brackets and line ends themselves.
_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}' r"|'''.*?'{3,5}" r'|"(?:\\.|[^"\\\n])*"' r"|'[^'\n]*'|#[^\n]*|[\[{]|[\]}]|\n", re.DOTALL
)
# What is behind most of what tomllib says, by the start of its words.
_HINTS = {
    "Invalid value": "text stands in quotes; true and false are written small",
    "Expected '=' after a key": "write KEY = VALUE",
    "Expected newline": "each key stands on a line of its own",
    "Illegal character '\\n'": "text ends on the line on which it begins",
    "Found invalid character '\\n'": "text ends on the line on which it begins",
    "Unescaped '\\'": "in double quotes a \\ is written twice",
}


class _Fault(Exception):
    """What is wrong with the value at a place."""

    def __init__(self, at: Place, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.at = at
        self.message = message
        self.hint = hint


def read(path: Path, type: type[T], **given: Any) -> T:
    """The file as a `type`. `given` are fields that the caller sets and the file may not."""
    text = _text(path)
    values = _parsed(path, text)
    try:
        _check_struct(values, inspect.type_info(type), (), given)
    except _Fault as fault:
        keys = _keys(fault.at)
        hint = fault.hint
        if len(keys) > 1 and keys[-1] in type.__struct_encode_fields__:
            hint = f"{keys[-1]} stands above [{_spelt(keys[:-1])}]"  # TOML: what follows a table's head is in the table
        raise UsageError(f"{shown(path, _line(text, keys))}: {fault.message}", hint) from None
    try:
        return msgspec.convert({**values, **given}, type)
    except msgspec.ValidationError as error:
        raise UsageError(f"{shown(path)}: {plain(str(error))}") from None


def line_of(path: Path, key: Key) -> int | None:
    """The line on which a key is set, if it is."""
    try:
        return _line(_text(path), _keys(key))
    except UsageError:
        return None


def wrong(path: Path, key: Key, message: str, hint: str = "") -> UsageError:
    """An error that points at a key in a file, or with the key "" at the file."""
    if not key:
        return UsageError(f"{shown(path)}: {message}", hint)
    at = (key,) if isinstance(key, str) else key
    return UsageError(f"{shown(path, line_of(path, at))}: {_spelt(at)}: {message}", hint)


def unlike(value: object, choices: Sequence[str]) -> tuple[str, str]:
    """The message and the hint about what is none of the choices: the nearest comes first."""
    word = _folded(value) if isinstance(value, str) else ""
    ordered = sorted(choices, key=lambda choice: -SequenceMatcher(None, word, _folded(choice)).ratio())
    listed = " or ".join(filter(None, (", ".join(ordered[:-1]), *ordered[-1:])))
    return f"{listed} is expected, not {_told(value)}", near(word, choices)


def near(word: str, known: Sequence[str]) -> str:
    """The hint that names the known word which is nearest, if one is near."""
    folded = {_folded(each): each for each in known}
    found = get_close_matches(_folded(word), folded, 1)
    return f"did you mean {plain(folded[found[0]], 60)}?" if found else ""


def _folded(word: str) -> str:
    return word[:100].lower().replace("-", "_")


def _keys(key: Key) -> tuple[str, ...]:
    return (key,) if isinstance(key, str) else tuple(each for each in key if isinstance(each, str))


# The file.


def _text(path: Path) -> str:
    place = shown(path)
    try:
        if not stat.S_ISREG(
            kind := path.stat().st_mode
        ):  # asked before it is opened: opening a pipe waits for a writer
            raise UsageError(f"{place}: {'a folder' if stat.S_ISDIR(kind) else 'not a file'}, where a file is expected")
        with path.open("rb") as file:
            data = file.read(LARGEST_BYTES + 1)
    except FileNotFoundError:
        raise UsageError(f"{place}: no such file") from None
    except OSError as error:
        raise UsageError(f"{place}: cannot be read: {plain(error.strerror or str(error))}") from None
    except ValueError:
        raise UsageError(f"{place}: not a name that a file can have") from None
    if len(data) > LARGEST_BYTES:
        raise UsageError(f"{place}: larger than 1 MB, which no file of settings is")
    data = data.removeprefix(b"\xef\xbb\xbf")  # some editors put it at the start, and TOML knows no such character
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{shown(path, line)}: not UTF-8 text", "save the file as UTF-8") from None


def _parsed(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _unparsed(path, text, str(error)) from None
    except (ValueError, RecursionError):  # a number of more digits than Python reads, brackets in brackets in …
        raise UsageError(f"{shown(path)}: not valid TOML: a number or a nesting without measure") from None


def _unparsed(path: Path, text: str, said: str) -> UsageError:
    what, _, where = said.rpartition(" (at ")
    column = ""
    if at := re.fullmatch(r"line (\d+), column (\d+)\)", where):
        line, column = int(at[1]), f" at column {at[2]}"
    else:
        line = text.rstrip().count("\n") + 1
    hint = next((hint for start, hint in _HINTS.items() if what.startswith(start)), "")
    if what == "Cannot overwrite a value":
        what, column = "a key is set twice", ""
    elif table := re.fullmatch(r"Cannot declare \((.*?),?\) twice", what):
        what, column = f"the table {table[1]} is begun twice", ""
    return UsageError(f"{shown(path, line)}: not valid TOML: {plain(what[:1].lower() + what[1:], 120)}{column}", hint)


def _line(text: str, keys: tuple[str, ...]) -> int | None:
    """tomllib keeps no lines: so the text is cut into its statements, and each is asked what it sets."""
    table: tuple[str, ...] = ()
    for line, statement in _statements(text) if keys else ():
        try:
            said: Any = tomllib.loads(statement)
        except (ValueError, RecursionError):
            return None
        if statement.lstrip().startswith("["):
            table = ()
            while said:
                key, said = next(iter(said.items()))
                said = said[-1] if isinstance(said, list) else said
                table += (key,)
            if table[: len(keys)] == keys:
                return line
        elif keys[: len(table)] == table and _holds(said, keys[len(table) :]):
            return line
    return None


def _statements(text: str) -> Iterator[tuple[int, str]]:
    text = text.replace("\r\n", "\n") + "\n"
    line, start, depth = 1, 0, 0
    for token in _TOKEN.finditer(text):
        if token[0] in "[{":
            depth += 1
        elif token[0] in "]}":
            depth -= 1
        elif token[0] == "\n" and depth <= 0:
            yield line, text[start : token.end()]
            line += text.count("\n", start, token.end())
            start = token.end()


def _holds(values: Any, keys: tuple[str, ...]) -> bool:
    for key in keys:
        if not isinstance(values, dict) or key not in values:
            return False
        values = values[key]
    return bool(keys)


# The values. msgspec would refuse them as well, but in words for programmers, and in the order of the struct.


def _check_struct(values: Mapping[str, Any], kind: inspect.Type, at: Place, given: Mapping[str, Any]) -> None:
    assert isinstance(kind, inspect.StructType)
    fields = {field.encode_name: field for field in kind.fields}
    open_keys = [key for key in fields if at or key not in given]
    for key, value in values.items():
        here = (*at, key)
        if key not in fields:
            hint = near(key, open_keys) or f"there are {', '.join(open_keys)}"
            raise _Fault(here, f"unknown key `{_spelt(here)}`", hint)
        if key not in open_keys:
            raise _Fault(here, f"`{_spelt(here)}` is not for this file to set", "remove the line")
        _check(value, fields[key].type, here)
    for key in open_keys:
        if fields[key].required and key not in values:
            said = fields[key].type
            about = said.extra_json_schema if isinstance(said, inspect.Metadata) else None
            hint = plain((about or {}).get("description", ""))
            raise _Fault((), f"the key `{_spelt((*at, key))}` is missing", hint)


def _check(value: Any, kind: inspect.Type, at: Place) -> None:
    while isinstance(kind, inspect.Metadata | inspect.UnionType):
        if isinstance(kind, inspect.Metadata):
            kind = kind.type
            continue
        options = [option for option in kind.types if not isinstance(option, inspect.NoneType)]  # TOML has no null
        if len(options) != 1:
            return
        kind = options[0]
    match kind:
        case inspect.StrType():
            if not isinstance(value, str):
                _refuse(at, "text", value, "put it in quotes" if isinstance(value, bool | int | float) else "")
            _check_size(value, kind, at, "character")
        case inspect.BoolType():
            if not isinstance(value, bool):
                _refuse(at, "true or false", value, "without quotes" if value in ("true", "false") else "")
        case inspect.IntType() | inspect.FloatType():
            _check_number(value, kind, at)
        case inspect.LiteralType(values=choices):
            if value not in choices:
                message, hint = unlike(value, [str(choice) for choice in choices])
                raise _Fault(at, f"{_spelt(at)}: {message}", hint)
        case inspect.VarTupleType() | inspect.ListType():
            if not isinstance(value, list):
                _refuse(at, "a list", value, 'write it as ["…"]' if isinstance(value, str) else "")
            _check_size(value, kind, at, "item")
            for number, item in enumerate(value):
                _check(item, kind.item_type, (*at, number))
        case inspect.DictType() | inspect.StructType():
            if not isinstance(value, dict):
                _refuse(at, "a table", value, f"write [{_spelt(at)}] above its keys")
            if isinstance(kind, inspect.StructType):
                _check_struct(value, kind, at, {})
                return
            for key, item in value.items():
                _check(item, kind.value_type, (*at, key))
        case _:
            pass  # it is msgspec's to check


def _check_number(value: Any, kind: inspect.IntType | inspect.FloatType, at: Place) -> None:
    whole = isinstance(kind, inspect.IntType)
    noun = "a whole number" if whole else "a number"
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        quoted = isinstance(value, str) and re.fullmatch(r"[+-]?\d[\d_]*" + (r"" if whole else r"(\.\d+)?"), value)
        _refuse(at, noun, value, "without quotes" if quoted else "")
    if isinstance(value, float) and not isfinite(value):
        _refuse(at, noun, value)
    for bound, words, kept in (
        (kind.ge, "at least", operator.ge),
        (kind.gt, "more than", operator.gt),
        (kind.le, "at most", operator.le),
        (kind.lt, "less than", operator.lt),
    ):
        if bound is not None and not kept(value, bound):
            raise _Fault(
                at, f"{_spelt(at)}: {words} {bound} is expected, not {_told(value).removeprefix('the number ')}"
            )
    if _beyond(value):
        _refuse(at, "a number of 64 bits", value)


def _check_size(value: Sequence[Any], kind: Any, at: Place, noun: str) -> None:
    if kind.min_length is not None and len(value) < kind.min_length:
        plural = "" if kind.min_length == 1 else "s"
        found = len(value) or "none"
        raise _Fault(at, f"{_spelt(at)}: at least {kind.min_length} {noun}{plural} is expected, not {found}")


def _refuse(at: Place, expected: str, value: Any, hint: str = "") -> NoReturn:
    raise _Fault(at, f"{_spelt(at)}: {expected} is expected, not {_told(value)}", hint)


# Words.


def _told(value: Any) -> str:
    match value:
        case str():
            return f"the text '{plain(value, 40)}'"
        case bool():
            return str(value).lower()
        case int() | float():
            return "a longer number" if _beyond(value) else f"the number {value}"
        case list():
            return "a list"
        case dict():
            return "a table"
    return "a date or a time"


def _beyond(value: object) -> bool:
    return isinstance(value, int) and not -_TOP <= value < _TOP


def _spelt(at: Place) -> str:
    """`env.HOME`, or `flags, item 2`."""
    names = ".".join(plain(key, 60) or '""' for key in at if isinstance(key, str))
    return names + "".join(f", item {key + 1}" for key in at if isinstance(key, int))


def shown(path: Path, line: int | None = None) -> str:
    """A file as a user knows it: from the current folder, or from home."""
    text = str(path)
    with contextlib.suppress(OSError, RuntimeError):  # the current folder is gone, or there is no home
        here, home = os.getcwd() + os.sep, str(Path.home()) + os.sep
        if text.startswith(here):
            text = text[len(here) :]
        elif text.startswith(home):
            text = f"~{os.sep}{text[len(home) :]}"
    return plain(text, 1000) + (f":{line}" if line else "")
