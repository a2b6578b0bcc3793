"""llama-cpp-python's server on the llama.cpp library that xllamacpp's wheel exports: nothing is compiled.

For tests alone. Its bindings and that library have to lay out their structs alike, so that both versions are pinned by
their locks.
"""

import ctypes
import importlib.util
import os
import runpy
import sys
import tempfile
from pathlib import Path
from typing import Any

PREFIXES = ("llama_", "ggml_", "mtmd_", "clip_", "llava_")


class Library(ctypes.CDLL):
    """A symbol that the other library does not have is an error when it is called, not when it is declared."""

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if not name.startswith(PREFIXES):
                raise

        def missing(*_: object) -> None:
            raise NotImplementedError(f"{name} is not in the library")

        return missing


def main() -> None:
    found = importlib.util.find_spec("xllamacpp")
    assert found is not None
    assert found.submodule_search_locations is not None
    library = next(Path(found.submodule_search_locations[0]).glob("*.so"))
    plain = ctypes.CDLL
    with tempfile.TemporaryDirectory() as folder:
        for name in ("libllama.so", "libllama.dylib"):
            os.symlink(library, Path(folder, name))
        os.environ["LLAMA_CPP_LIB_PATH"] = folder
        ctypes.CDLL = Library  # type: ignore[misc]
        try:
            import llama_cpp  # noqa: F401
        finally:
            ctypes.CDLL = plain  # type: ignore[misc]
    sys.argv[0] = "llama_cpp.server"
    runpy.run_module("llama_cpp.server", run_name="__main__")


if __name__ == "__main__":
    main()
