"""The app in a browser, on this machine alone: each tab is an app of its own, and ends with it."""

from infertui.web.site import serve

__all__ = ["serve"]
