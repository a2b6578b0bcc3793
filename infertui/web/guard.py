"""Who may talk to the site: the user's own browser, from the site's own page, with the token that was printed.

A page of another site that the browser shows could else open our websocket and press keys in the app, which starts
programs; and so could whoever else has an account on this machine.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable

from aiohttp import web

ONCE_S = 60.0
NO_STRANGERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "font-src 'self'; connect-src 'self' ws://{host}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Guard:
    """Lets requests to the site at this port pass, or says why not."""

    def __init__(self, port: int) -> None:
        names = ("127.0.0.1", "localhost", "[::1]")
        self._hosts = {f"{name}:{port}" for name in names} | ({*names} if port == 80 else set())
        self._cookie = f"infertui-{port}"  # cookies know no ports: one of another port is left alone
        self.token = secrets.token_urlsafe(24)
        self._once: dict[str, float] = {}  # tokens that are good for one request, until then

    def token_once(self) -> str:
        """For an address that others may see: as the argument of a command that opens it, for one."""
        token = secrets.token_urlsafe(24)
        self._once[token] = time.monotonic() + ONCE_S
        return token

    @web.middleware
    async def pass_on(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if wrong := self._foreign(request):
            raise web.HTTPForbidden(text=f"{wrong}\n")
        invited = self._invited(request.query.get("token", ""))
        if not invited and not self._is(request.cookies.get(self._cookie, ""), self.token):
            raise web.HTTPForbidden(text="open the address that `infertui web` has printed, with its token\n")
        response = await handler(request)
        if invited and not response.prepared:
            response.set_cookie(self._cookie, self.token, httponly=True, samesite="Strict", path="/")
        return response

    async def label(self, request: web.Request, response: web.StreamResponse) -> None:
        """Say with each answer that it is for nobody else, and that it may load nothing from elsewhere."""
        response.headers.update(NO_STRANGERS)
        if not self._foreign(request):
            response.headers["Content-Security-Policy"] = POLICY.format(host=request.headers["Host"])

    def _foreign(self, request: web.Request) -> str:
        """Whether it comes by another name, which is how a name that was bent to 127.0.0.1 is told, or of a page
        that is not ours."""
        host = request.headers.getall("Host", [])
        if len(host) != 1 or host[0].lower() not in self._hosts:
            return "this is not the name of a site on this machine"
        origins = request.headers.getall("Origin", [])
        if any(origin.lower() != f"http://{host[0].lower()}" for origin in origins):
            return "another site has no business here"
        if "Upgrade" in request.headers and not origins:
            return "only a page of this site may connect"
        return ""

    def _invited(self, token: str) -> bool:
        if self._is(token, self.token):
            return True
        return self._once.pop(token, 0.0) > time.monotonic()

    @staticmethod
    def _is(said: str, token: str) -> bool:
        return secrets.compare_digest(said.encode("utf-8", "replace"), token.encode())
