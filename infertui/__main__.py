"""The entry of the command: `infertui`, or `python -m infertui`."""

import sys


def main() -> None:
    try:
        from infertui.cli import main as command
    except KeyboardInterrupt:  # Ctrl-C while the command is still being loaded
        sys.exit(130)
    command()


if __name__ == "__main__":
    main()
