"""Whom calls are sent to: everything about a server that is not timed."""
