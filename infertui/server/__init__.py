"""Whom calls are sent to. A new kind of server is one file, and a line here."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from infertui.profile import Profile
    from infertui.server.base import Server

# kind in a profile -> where its adapter is
KINDS = {
    "llama-server": ("llama", "LlamaServer"),
    "mlx-lm": ("mlx", "MlxServer"),
    "llama-cpp-python": ("llama_cpp_python", "LlamaCppPython"),
    "openai": ("openai", "OpenAIServer"),
}


def adapter(kind: str) -> type[Server]:
    from importlib import import_module

    module, name = KINDS[kind]
    found: type[Server] = getattr(import_module(f"{__name__}.{module}"), name)
    return found


def server(profile: Profile) -> Server:
    """The server that a profile describes, whether it runs or not."""
    return adapter(profile.kind)(profile)
