"""The entry of the command: `infertui`, or `python -m infertui`."""

from infertui.cli import main

if __name__ == "__main__":
    main()
