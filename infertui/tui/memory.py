"""What the app remembers from one start to the next: its theme, and what was chosen at the last launch."""

from __future__ import annotations

import contextlib
import os

import msgspec

from infertui.settings import state_folder


class Memory(msgspec.Struct, kw_only=True):
    theme: str = ""
    servers: list[str] = []
    addresses: list[str] = []  # attached to, the newest first
    scenario: str = ""
    parameters: dict[str, dict[str, str]] = {}  # by scenario, as they were typed
    models: dict[str, str] = {}  # by profile or address, where one was named in the app
    seen_help: bool = False


def recalled() -> Memory:
    """What was kept; nothing, where that cannot be read."""
    try:
        return msgspec.json.decode((state_folder() / "app.json").read_bytes(), type=Memory)
    except (OSError, msgspec.MsgspecError):
        return Memory()


def keep(memory: Memory) -> None:
    """Whole or not at all; without a place for it nothing else is lost."""
    place = state_folder() / "app.json"
    with contextlib.suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = place.with_suffix(f".{os.getpid()}")
        draft.write_bytes(msgspec.json.encode(memory))
        os.replace(draft, place)
