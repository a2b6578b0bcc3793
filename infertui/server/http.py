"""Requests outside any measurement, to a server known by its address. httpx is imported with the first of them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from infertui.errors import ServerError
from infertui.text import plain

if TYPE_CHECKING:
    import httpx

TIMEOUT_S = 10.0
MOST = 1 << 20  # bytes of an answer that are looked at


class Answer(msgspec.Struct, frozen=True):
    """What came, whatever its status. `server` is how it calls itself."""

    status: int
    text: str
    server: str = ""

    def value(self) -> Any:
        try:
            return json.loads(self.text)
        except ValueError:
            return None

    def object(self) -> dict[str, Any]:
        """The JSON object of a good answer. Some servers answer 200, and an error, to whatever is asked."""
        value = self.value()
        return value if self.status == 200 and isinstance(value, dict) and "error" not in value else {}


def prepared() -> None:
    """What the first request would have to load: not in the time that is being taken."""
    import httpx  # noqa: F401


def get(url: str, path: str, api_key: str = "", timeout_s: float = TIMEOUT_S) -> Answer:
    """A ServerError says in a line why there is no answer."""
    return _asked("GET", url, path, None, api_key, timeout_s, lambda status: None)


def post(
    url: str, path: str, body: object, api_key: str, timeout_s: float, on_headers: Callable[[int], None]
) -> Answer:
    """`on_headers` gets the status as soon as it is known."""
    return _asked("POST", url, path, body, api_key, timeout_s, on_headers)


def _asked(
    method: str,
    url: str,
    path: str,
    body: object,
    api_key: str,
    timeout_s: float,
    on_headers: Callable[[int], None],
) -> Answer:
    """All of it within the time, however slowly it drips, and no more of it than is looked at."""
    import httpx

    until = time.monotonic() + timeout_s
    late = ServerError(f"{url}{path} did not answer within {timeout_s:.3g} s")
    try:
        with _client(url, api_key, timeout_s) as client, client.stream(method, url + path, json=body) as response:
            on_headers(response.status_code)
            text = b""
            for data in response.iter_bytes():
                text += data
                if len(text) > MOST:
                    break
                if time.monotonic() > until:
                    raise late
            shown = text[:MOST].decode("utf-8", "replace")
            return Answer(response.status_code, shown, response.headers.get("server", ""))
    except httpx.ConnectError as error:
        if "SSL" in str(error):
            raise ServerError(f"{url}: {plain(str(error), 200)}", "check its certificate and the address") from None
        raise ServerError(f"no server answers at {url}", "start it, or check its address") from None
    except httpx.TimeoutException:
        raise late from None
    except httpx.LocalProtocolError:  # its words would hold the key
        raise ServerError(f"{url}{path} cannot be asked: a header that no request can carry") from None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise ServerError(f"{url}{path}: {plain(str(error)) or type(error).__name__}") from None


def _client(url: str, api_key: str, timeout_s: float) -> httpx.Client:
    import httpx

    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    # The certificates of all authorities take tens of milliseconds to read: only where there is something to check.
    checked = url.startswith("https:")
    return httpx.Client(headers=headers, timeout=timeout_s, trust_env=False, verify=checked)


def listed(answer: Answer, url: str) -> list[str]:
    """The names that `/v1/models` lists."""
    if answer.status in (401, 403):
        hint = "name the variable that holds it: --api-key-env NAME, or api_key_env in the profile"
        raise ServerError(f"{url} wants a key (status {answer.status})", hint)
    value = answer.value()
    items = value.get("data") if isinstance(value, dict) else None
    if not isinstance(items, list):
        raise ServerError(f"{url}/v1/models does not list models (status {answer.status})")
    names = [item["id"] for item in items if isinstance(item, dict) and isinstance(item.get("id"), str)]
    return [name.encode("utf-8", "replace").decode() for name in names]
