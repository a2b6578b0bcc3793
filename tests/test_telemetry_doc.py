"""docs/TELEMETRY.md tells of every key that settings.toml may hold, and of every default as it is."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from infertui.condition import Tolerated
from infertui.usage import Cost, Saturated

TEXT = (Path(__file__).parent.parent / "docs" / "TELEMETRY.md").read_text()


@pytest.mark.parametrize(
    ("table", "default"), [("conditions", Tolerated()), ("saturation", Saturated()), ("cost", Cost())]
)
def test_every_key_stands_in_the_table_with_its_default(table: str, default: msgspec.Struct) -> None:
    for key, value in msgspec.structs.asdict(default).items():
        shown = f"{value:g}" if isinstance(value, int | float) else "none"
        assert f"| `[{table}] {key}` | {shown} | " in TEXT
