"""A word to the desktop, by the system's own program, where there is one."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from html import escape

WAIT_S = 5.0


def command(title: str, message: str) -> list[str]:
    """What would tell it; nothing where nothing can."""
    if sys.platform == "darwin" and shutil.which("osascript"):
        quoted = (f'"{text.replace(chr(92), "").replace(chr(34), "")}"' for text in (message, title))
        return ["osascript", "-e", "display notification {} with title {}".format(*quoted)]
    if shutil.which("notify-send"):
        return ["notify-send", "--app-name=InferTUI", "--", title, escape(message, quote=False)]  # its body is markup
    return []


def notify(title: str, message: str) -> None:
    if told := command(title, message):
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(told, timeout=WAIT_S, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
