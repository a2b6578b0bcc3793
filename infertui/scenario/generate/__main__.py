"""`python -m infertui.scenario.generate [--check] [PATH]`: writes the corpus, or compares it."""

from __future__ import annotations

import sys
from pathlib import Path

from infertui.scenario.generate import TARGET, check, generate


def main(arguments: list[str]) -> int:
    paths = [argument for argument in arguments if argument != "--check"]
    if len(paths) > 1 or any(path.startswith("-") for path in paths):
        print("usage: python -m infertui.scenario.generate [--check] [PATH]", file=sys.stderr)
        return 2
    path = Path(paths[0]) if paths else TARGET
    if "--check" not in arguments:
        path.write_bytes(generate())
        print(f"{path}: written")
        return 0
    problem = check(path)
    print(problem or f"{path}: up to date", file=sys.stderr if problem else sys.stdout)
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
