"""The app's colours: its own two themes, and the user's out of the folder `themes` of the config folder."""

from __future__ import annotations

import msgspec
from rich.terminal_theme import TerminalTheme
from textual.color import Color, ColorParseError
from textual.theme import Theme

from infertui.errors import UsageError
from infertui.settings import config_folder

DARK = Theme(
    name="infertui-dark",
    primary="#5aa9e6",
    secondary="#c792ea",
    accent="#f4a259",
    success="#7fc96b",
    warning="#e8c547",
    error="#ef6f6c",
    foreground="#d7dde4",
    background="#0f1419",
    surface="#151b22",
    panel="#1d2630",
    variables={
        "block-cursor-text-style": "none",
        "footer-background": "#151b22",
        "input-selection-background": "#5aa9e6 35%",
    },
)
LIGHT = Theme(
    name="infertui-light",
    primary="#1f6fb2",
    secondary="#8a3ab9",
    accent="#c2571a",
    success="#2f7d32",
    warning="#8f6a00",
    error="#b3261e",
    foreground="#1c2329",
    background="#fbfaf7",
    surface="#f1efe9",
    panel="#e5e2d9",
    dark=False,
    variables={"block-cursor-text-style": "none"},
)
OWN = (DARK, LIGHT)


def sixteen(theme: Theme) -> TerminalTheme:
    """What the names of a terminal's colours mean in a theme: reports that are drawn for terminals have its colours."""

    def rgb(named: str | None) -> tuple[int, int, int]:
        return Color.parse(named or theme.primary).rgb

    names = (theme.panel, theme.error, theme.success, theme.warning, theme.primary, theme.secondary, theme.primary)
    colours = [*map(rgb, names), rgb(theme.foreground)]
    return TerminalTheme(rgb(theme.background), rgb(theme.foreground), colours, colours)


class ThemeFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """themes/NAME.toml: colours as #rrggbb or by their names; what is left out follows from the others."""

    primary: str
    secondary: str | None = None
    accent: str | None = None
    success: str | None = None
    warning: str | None = None
    error: str | None = None
    foreground: str | None = None
    background: str | None = None
    surface: str | None = None
    panel: str | None = None
    dark: bool = True


def of_user() -> tuple[list[Theme], list[UsageError]]:
    """The user's themes, and what is wrong with those that cannot be used."""
    from infertui.config import read, wrong

    found: list[Theme] = []
    errors: list[UsageError] = []
    for path in sorted((config_folder() / "themes").glob("*.toml")):
        try:
            told = msgspec.structs.asdict(read(path, ThemeFile))
            for key, value in told.items():
                if isinstance(value, str):
                    try:
                        Color.parse(value)
                    except ColorParseError:
                        raise wrong(path, key, f"no colour: {value!r}", "write #rrggbb") from None
            found.append(Theme(name=path.stem, **told))
        except UsageError as error:
            errors.append(error)
    return found, errors
