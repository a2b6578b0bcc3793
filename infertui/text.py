"""Text from elsewhere (servers, models, files) made safe to show: it is data, never markup or escape codes."""

from __future__ import annotations

import re

# C0 and C1 controls, line and paragraph separators, and everything that reorders or hides text around it.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


def _shown(match: re.Match[str]) -> str:
    char = match.group()
    if char < "\x20":
        return chr(0x2400 + ord(char))  # the "control pictures": ␛ for escape, ␊ for line feed
    return f"<{ord(char):04X}>"


def lines(text: str) -> str:
    """A longer text, as it is but for what could act on a terminal."""
    return "\n".join(_UNSAFE.sub(_shown, line.replace("\t", "    ")) for line in text.splitlines())


def plain(text: str, limit: int = 300) -> str:
    """One line of at most `limit` characters in which nothing can act on a terminal or on the text around it."""
    shown = _UNSAFE.sub(_shown, re.sub(r"[ \t\r\n]+", " ", text[: 64 * limit]).strip())
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
