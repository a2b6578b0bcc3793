"""Where things are kept, and what the user and the environment say about them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from infertui.condition import Tolerated
from infertui.usage import Cost, Saturated

DB_NAME = "results.db"


class Face(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[app] of the settings: how the app looks, and which keys it has."""

    theme: Annotated[str, Meta(description="Its colours; left out, the one that was chosen last in the app.")] = ""
    chart: Annotated[
        Literal["braille", "block", "ascii"],
        Meta(description="What lines are drawn with; ascii where a font has no other signs."),
    ] = "braille"
    notify_s: Annotated[
        float, Meta(ge=0, le=86400, description="A run that took longer rings the bell and tells the desktop.")
    ] = 30.0
    keys: Annotated[
        dict[str, str], Meta(description="Keys by the names of what they do: `infertui keys` lists them.")
    ] = msgspec.field(default_factory=dict)


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the user wants where nothing else is said: settings.toml in the config folder."""

    servers: Annotated[
        tuple[Annotated[str, Meta(min_length=1)], ...],
        Meta(min_length=1, description="Profiles that `infertui run` takes when none is named."),
    ] = ("embedded-llama", "embedded-mlx")
    baseline: Annotated[str, Meta(description="Profile that the others are compared with.")] = ""
    fallback: Annotated[str, Meta(description="Profile that takes the place of one that does not start.")] = ""
    app: Annotated[Face, Meta(description="How the app looks, and its keys.")] = Face()
    conditions: Annotated[Tolerated, Meta(description="What a machine may be like to be measured on.")] = Tolerated()
    saturation: Annotated[Saturated, Meta(description="From where on something is called a run's limit.")] = Saturated()
    cost: Annotated[Cost, Meta(description="Prices, for the cost of a million tokens.")] = Cost()


def checkout() -> Path | None:
    """The folder of the source tree that this package runs from, if it does."""
    root = Path(__file__).resolve().parent.parent
    return root if (root / "pyproject.toml").is_file() else None


def data_folder() -> Path:
    """Where this user's programs keep what they make."""
    return home_folder() or _folder("XDG_DATA_HOME", ".local/share", "Application Support")


def config_folder() -> Path:
    """Where this user's programs look for what the user has written."""
    return home_folder() or _folder("XDG_CONFIG_HOME", ".config", "Application Support")


def cache_folder() -> Path:
    """Where this user's programs keep what can be made again."""
    home = home_folder()
    return home / "cache" if home else _folder("XDG_CACHE_HOME", ".cache", "Caches")


def state_folder() -> Path:
    """Where this user's programs keep what they have to know the next time: what runs, what was looked at."""
    home = home_folder()
    return home / "state" if home else _folder("XDG_STATE_HOME", ".local/state", "Application Support")


def user() -> Settings:
    """The user's settings, from settings.toml where there is one."""
    path = config_folder() / "settings.toml"
    if not os.path.lexists(path):
        return Settings()
    from infertui.config import read

    return read(path, Settings)


def database(flag: str | None = None) -> Path:
    """The database: --db, else INFERTUI_DB, else a results.db here, else the checkout's, else the user's."""
    named = flag or os.environ.get("INFERTUI_DB")
    if named:
        return Path(os.path.expanduser(named))
    here = Path.cwd() / DB_NAME
    if here.is_file():
        return here
    root = checkout()
    return (root or data_folder()) / DB_NAME


def home_folder() -> Path | None:
    """INFERTUI_HOME: one folder for everything, for tests and for several set-ups beside each other."""
    named = os.environ.get("INFERTUI_HOME")
    return Path(os.path.expanduser(named)).absolute() if named else None


def _folder(variable: str, usual: str, library: str) -> Path:
    if sys.platform == "darwin":
        return Path.home() / "Library" / library / "infertui"
    named = os.environ.get(variable, "")
    # The XDG specification: a path that is not absolute counts as not set.
    return (Path(named) if os.path.isabs(named) else Path.home() / usual) / "infertui"
