"""What one file of /sys says. They are read whole, hold one value, and may fail at any time as the device does."""

from __future__ import annotations

from pathlib import Path


def text(path: Path) -> str:
    """Empty: it is not there, or does not tell now."""
    try:
        return path.read_text("utf-8", "replace").strip()
    except OSError:
        return ""


def number(path: Path) -> int | None:
    """A whole number that is not below zero."""
    said = text(path)
    return int(said) if said.isascii() and said.isdecimal() else None
