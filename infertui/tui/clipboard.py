"""Copying: by the system's own program where there is one, since not every terminal takes OSC 52."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

WAIT_S = 3.0


def programs() -> list[list[str]]:
    """Those that can reach a clipboard from here."""
    if sys.platform == "darwin":
        found = [["pbcopy"]]
    elif os.environ.get("WAYLAND_DISPLAY"):
        found = [["wl-copy"]]
    elif os.environ.get("DISPLAY"):
        found = [["xclip", "-selection", "clipboard"], ["xsel", "--clipboard", "--input"]]
    else:
        found = []
    return [each for each in found if shutil.which(each[0])]


def copied(text: str) -> bool:
    """Whether a program of the system took it. Waits for it: not for the app's own loop."""
    for each in programs():
        try:
            done = subprocess.run(
                each, input=text.encode(), timeout=WAIT_S, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.returncode == 0:
            return True
    return False
