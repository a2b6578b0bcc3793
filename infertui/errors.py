"""The tree of errors a user can meet. Each is one line: what is wrong, where, and what to do.

InferTUIError           exit 1
  UsageError            exit 2   a flag, a file or a name that cannot be used
    StoreError          exit 2   the database: foreign, newer, read-only, full, damaged
  ServerError           exit 3   the server refused, died or answered nothing usable
  Interrupted           exit 130 stopped by the user; what was measured is kept
"""

from __future__ import annotations


class InferTUIError(Exception):
    """Something the user can act on. `hint` says how."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(InferTUIError):
    exit_code = 2


class StoreError(UsageError):
    pass


class ServerError(InferTUIError):
    exit_code = 3


class Interrupted(InferTUIError):
    exit_code = 130
