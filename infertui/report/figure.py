"""How a figure is written: the same everywhere. Unknown is –, never a zero."""

from __future__ import annotations

from infertui.metric import METRICS
from infertui.stats import Distribution

UNKNOWN = "–"


def number(value: float | None, unit: str = "") -> str:
    """Four digits at most before rounding hides something: 0.123, 12.3, 1,234."""
    if value is None:
        return UNKNOWN
    size = abs(value)
    digits = 0 if size >= 999.95 or not size else 1 if size >= 9.995 else 2 if size >= 0.9995 else 3
    text = f"{value:,.{digits}f}"
    return f"{text} {unit}" if unit else text


def size(value: float | None, beside: float | None = None) -> str:
    """Bytes, in the unit in which they are read best: they, or those beside them, whichever are more."""
    if value is None:
        return UNKNOWN
    most = max(abs(value), abs(beside or 0))
    for unit in ("B", "KiB", "MiB"):
        if most < 1024:
            return number(value, unit) if unit != "B" else f"{value:.0f} B"
        value, most = value / 1024, most / 1024
    return number(value, "GiB")


def percent(value: float | None) -> str:
    if value is None:
        return UNKNOWN
    return f"{100 * value:.0f} %" if value in (0, 1) else f"{100 * value:.1f} %"


def of_metric(key: str, value: Distribution | float | None) -> str:
    """A metric as one figure: a run's own number, or the median of many."""
    shown = value.p50 if isinstance(value, Distribution) else value
    if key == "success_rate":
        return percent(shown)
    return size(shown) if METRICS[key].unit == "B" else number(shown, METRICS[key].unit)


def seconds(value: float | None) -> str:
    if value is None:
        return UNKNOWN
    if value < 60:
        return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"
