"""Exports: a run, runs or a comparison as a text in a format, and that text as a whole file or none."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

from infertui.compare import Comparison
from infertui.errors import UsageError
from infertui.report import markdown, sheet
from infertui.report.data import Whole, comparison_text, wholes_text

Format = Literal["md", "csv", "json"]
FORMATS: tuple[Format, ...] = get_args(Format)


def exported(what: Comparison | Sequence[Whole], format: Format, at: datetime | None = None) -> str:
    """Figures as they are in every other format: rounded for reading in Markdown, in full elsewhere."""
    time = f"{(at or datetime.now(UTC)).astimezone(UTC):%Y-%m-%d %H:%M}"
    if isinstance(what, Comparison):
        if format == "md":
            return markdown.comparison_page(what, time)
        return sheet.comparison_sheet(what) if format == "csv" else f"{comparison_text(what)}\n"
    if format == "md":
        return markdown.runs_page(what, time)
    return sheet.calls_sheet(what) if format == "csv" else f"{wholes_text(what)}\n"


def format_of(place: str) -> Format | None:
    """The format that a file's ending asks for."""
    ending = Path(place).suffix.lower().removeprefix(".")
    return next((format for format in FORMATS if ending in (format, {"md": "markdown"}.get(format))), None)


def save(text: str, place: Path, force: bool = False) -> None:
    """Write a file whole or not at all. One that is there already is kept, unless `force`."""
    data = text.encode("utf-8", "replace")
    try:
        mode = os.stat(place).st_mode
    except FileNotFoundError:
        mode = 0
    except (OSError, ValueError) as error:
        raise _unwritable(place, error) from None
    if stat.S_ISDIR(mode):
        raise UsageError(f"{place} is a folder", "name a file")
    if mode and not stat.S_ISREG(mode):  # a pipe, a terminal: there is nothing in it to lose
        try:
            place.write_bytes(data)
        except OSError as error:
            raise _unwritable(place, error) from None
        return
    if mode and not force:
        raise _there(place)
    target = place.resolve() if mode else place  # a link stays one
    beside = target.with_name(f".{target.name[:80]}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666), "wb") as file:
            file.write(data)
        if mode:  # who may read it stays as it was
            os.chmod(beside, stat.S_IMODE(mode))
        if force:
            os.replace(beside, target)
        else:
            _link(beside, target)
    except FileExistsError:
        raise _there(place) from None
    except OSError as error:
        raise _unwritable(place, error) from None
    finally:
        with contextlib.suppress(OSError):
            os.unlink(beside)


def _link(beside: Path, target: Path) -> None:
    """Give the file its name, where nobody has taken it meanwhile."""
    try:
        os.link(beside, target)
    except FileExistsError:
        raise
    except OSError:  # a disk that knows no links
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        os.replace(beside, target)


def _there(place: Path) -> UsageError:
    return UsageError(f"{place} is there already", "--force writes over it")


def _unwritable(place: Path, error: Exception) -> UsageError:
    said = error.strerror if isinstance(error, OSError) else str(error)
    return UsageError(f"{place} cannot be written: {said or error}", "name another place")
