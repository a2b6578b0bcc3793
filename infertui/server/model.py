"""The model that a profile names, as it lies on this machine."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

Form = Literal["gguf", "folder", "any"]


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """`name` is shown and, where a server lets us choose, asked for; `place` is what it is started with."""

    name: str
    place: str
    random: bool = False


class NotHere(Exception):
    """There is no such model on this machine; the hint says what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def find(named: str, form: Form) -> Model:
    """A model by its file, folder or repository, or the random one, which is made at its first use."""
    if named == "embedded" or named.startswith("embedded:"):
        from infertui.embedded.model import made

        mine = made(named.partition(":")[2] or "tiny")
        return Model(name=mine.name, place=str(mine.gguf if form == "gguf" else mine.folder), random=True)
    place = Path(os.path.expanduser(named))
    ours = re.fullmatch(r"random-[\d.]+M", place.stem if form == "gguf" else place.name) is not None
    if form == "gguf":
        if os.path.isdir(place):
            raise NotHere(f"{named!r} is a folder", "this server reads GGUF files")
        if not os.path.isfile(place):  # no name is too long to be asked for
            raise NotHere(f"there is no file {named!r}", "give the path of a GGUF file")
        return Model(name=place.stem, place=os.path.abspath(place), random=ours)
    if form == "folder" and os.path.isdir(place):
        if not (place / "config.json").is_file():
            raise NotHere(f"{named!r} holds no config.json", "give a folder in Hugging Face's form")
        return Model(name=place.name, place=os.path.abspath(place), random=ours)
    if form == "folder" and os.path.isfile(place):
        raise NotHere(f"{named!r} is a file", "this server reads folders in Hugging Face's form")
    if form == "folder" and not _cached(named):
        repository = named.count("/") == 1 and named[0] not in "./~"
        raise NotHere(f"{named!r} is not on this machine", f"hf download {named}" if repository else "give its folder")
    return Model(name=named, place=named)


def hub_cache(environment: Mapping[str, str] = os.environ) -> Path:
    """Where Hugging Face's libraries keep what they have downloaded."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if environment.get(name):
            return Path(environment[name])
    home = environment.get("HF_HOME") or Path(environment.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(os.path.expanduser(home)) / "hub"


def _cached(repository: str) -> bool:
    return os.path.isdir(hub_cache() / f"models--{repository.replace('/', '--')}" / "snapshots")
