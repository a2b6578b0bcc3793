"""Where things are kept, and what the environment says about them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

DB_NAME = "results.db"


def checkout() -> Path | None:
    """The folder of the source tree that this package runs from, if it does."""
    root = Path(__file__).resolve().parent.parent
    return root if (root / "pyproject.toml").is_file() else None


def data_folder() -> Path:
    """Where this user's programs keep what they make."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "infertui"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "infertui"


def database(flag: str | None = None) -> Path:
    """The database: --db, else INFERTUI_DB, else a results.db here, else the checkout's, else the user's."""
    named = flag or os.environ.get("INFERTUI_DB")
    if named:
        return Path(named).expanduser()
    here = Path.cwd() / DB_NAME
    if here.is_file():
        return here
    root = checkout()
    return (root or data_folder()) / DB_NAME
