"""Random models for engines that read GGUF and for engines that read Hugging Face folders: one model, both files.

What it says means nothing, and what it costs is what a model of its size costs. Both files hold the same numbers, the
same vocabulary and the same chat template.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from importlib.resources import files
from pathlib import Path
from typing import BinaryIO, NamedTuple

from infertui.embedded.shape import SIZES, Shape, parameters
from infertui.errors import InferTUIError, UsageError

VERSION = 2  # of the generator: another one makes its models anew
_MAKING = ".making-"
_STALE_S = 3600.0


class Made(NamedTuple):
    name: str  # shown wherever a result is shown, so it says that the weights are random
    gguf: Path
    folder: Path
    parameters: int


def made(size: str = "tiny", root: Path | None = None) -> Made:
    """The model of this size, made if the cache does not hold it yet. Several processes may ask at once."""
    shape = _shape(size)
    place = _place(size, root)
    model = _described(shape, place)
    if not _whole(model):
        try:
            _make(shape, place)
        except OSError as err:
            raise InferTUIError(
                f"the random model {size!r} cannot be kept in {place.parent}: {err.strerror or err}",
                f"a folder is needed that can be written to, with {model.parameters * 8 // 10**6} MB of space",
            ) from err
    return model


def cached(size: str = "tiny", root: Path | None = None) -> bool:
    return _whole(_described(_shape(size), _place(size, root)))


def _shape(size: str) -> Shape:
    if size not in SIZES:
        raise UsageError(f"there is no random model of size {size!r}", f"sizes: {', '.join(SIZES)}")
    return SIZES[size]


def _place(size: str, root: Path | None) -> Path:
    """A folder named after everything that its content follows from."""
    if root is None:
        from infertui.settings import cache_folder

        root = cache_folder() / "models"
    corpus = files("infertui").joinpath("scenario", "prompts.jsonl").read_bytes()
    source = hashlib.blake2b(repr(SIZES[size]).encode() + corpus, digest_size=4).hexdigest()
    return root / f"{size}-{VERSION}-{source}"


def _described(shape: Shape, place: Path) -> Made:
    count = parameters(shape)
    name = f"random-{count / 1e6:.1f}M" if count < 10_000_000 else f"random-{count / 1e6:.0f}M"
    return Made(name, place / f"{name}.gguf", place / name, count)


def _whole(model: Made) -> bool:
    """Only whole models get a place; but what is in a cache may be cleared away, file by file."""
    return os.path.isfile(model.gguf) and os.path.isfile(model.folder / "model.safetensors")


def _make(shape: Shape, place: Path) -> None:
    """In a folder beside the place, which gets its name when it is whole and no other process was quicker."""
    root = place.parent
    root.mkdir(parents=True, exist_ok=True)
    _sweep(root)
    work = Path(tempfile.mkdtemp(prefix=_MAKING, dir=root))
    try:
        _write(shape, _described(shape, work))
        try:
            work.rename(place)
        except OSError:
            if not _whole(_described(shape, place)):
                shutil.rmtree(place)
                work.rename(place)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _sweep(root: Path) -> None:
    """Removes what makers left behind that were killed."""
    for left in root.glob(f"{_MAKING}*"):
        try:
            if time.time() - left.stat().st_mtime > _STALE_S:
                shutil.rmtree(left, ignore_errors=True)
        except FileNotFoundError:  # its maker has just finished
            continue


def _write(shape: Shape, model: Made) -> None:
    try:
        from infertui.embedded import gguf, safetensors, weights
    except ModuleNotFoundError as err:
        if err.name != "numpy":
            raise
        raise UsageError("a random model cannot be made without numpy", "pip install 'infertui[llama,mlx]'") from err
    from infertui.embedded import tokenizer

    vocabulary = tokenizer.learned()
    tensors = list(weights.tensors(shape, vocabulary))
    with model.gguf.open("wb") as file:
        gguf.write(file, model.name, shape, vocabulary, tensors)
        _keep(file)
    model.folder.mkdir()
    for name, content in safetensors.companions(shape, vocabulary).items():
        (model.folder / name).write_bytes(content)
    with (model.folder / "model.safetensors").open("wb") as file:
        safetensors.write(file, shape, tensors)
        _keep(file)


def _keep(file: BinaryIO) -> None:
    """On the disk before the folder gets its name, or a power cut could leave a whole folder with empty files."""
    file.flush()
    os.fsync(file.fileno())
