"""Requests outside any measurement, to a server known by its address. httpx is imported with the first of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from infertui.errors import ServerError
from infertui.text import plain

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")
TIMEOUT_S = 10.0
MOST = 1 << 20  # bytes of an answer that are looked at


def _client(url: str, api_key: str, timeout_s: float) -> httpx.Client:
    import httpx

    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    # The certificates of all authorities take tens of milliseconds to read: only where there is something to check.
    checked = url.startswith("https:")
    return httpx.Client(headers=headers, timeout=timeout_s, trust_env=False, verify=checked)


def get(url: str, path: str, api_key: str = "", timeout_s: float = TIMEOUT_S) -> httpx.Response:
    """The answer, whatever its status. A ServerError says in a line why there is none."""
    return _asked(url, path, api_key, timeout_s, lambda client: client.get(url + path))


def post(url: str, path: str, body: object, api_key: str = "", timeout_s: float = TIMEOUT_S) -> httpx.Response:
    return _asked(url, path, api_key, timeout_s, lambda client: client.post(url + path, json=body))


def post_streamed(
    url: str, path: str, body: object, api_key: str, timeout_s: float, on_headers: Callable[[int], None]
) -> tuple[int, str]:
    """The status and the text of a streamed answer; `on_headers` gets the status as soon as it is known."""

    def asked(client: httpx.Client) -> tuple[int, str]:
        with client.stream("POST", url + path, json=body) as response:
            on_headers(response.status_code)
            text = b""
            for data in response.iter_bytes():
                text = (text + data)[:MOST]
            return response.status_code, text.decode("utf-8", "replace")

    return _asked(url, path, api_key, timeout_s, asked)


def _asked(url: str, path: str, api_key: str, timeout_s: float, ask: Callable[[httpx.Client], T]) -> T:
    import httpx

    try:
        with _client(url, api_key, timeout_s) as client:
            return ask(client)
    except httpx.ConnectError:
        raise ServerError(f"no server answers at {url}", "start it, or check its address") from None
    except httpx.TimeoutException:
        raise ServerError(f"{url}{path} did not answer within {timeout_s:.3g} s") from None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise ServerError(f"{url}{path}: {plain(str(error)) or type(error).__name__}") from None


def object_of(response: httpx.Response) -> dict[str, Any]:
    """The JSON object of a good response. Some servers answer 200, and an error, to whatever is asked."""
    if response.status_code != 200:
        return {}
    try:
        value = response.json()
    except ValueError:
        return {}
    return value if isinstance(value, dict) and "error" not in value else {}


def listed(response: httpx.Response, url: str) -> list[dict[str, Any]]:
    """What `/v1/models` lists."""
    if response.status_code in (401, 403):
        hint = "name the variable that holds it: --api-key-env NAME, or api_key_env in the profile"
        raise ServerError(f"{url} wants a key (status {response.status_code})", hint)
    try:
        items = response.json()["data"]
    except (ValueError, TypeError, KeyError):
        items = None
    if not isinstance(items, list):
        raise ServerError(f"{url}/v1/models does not list models (status {response.status_code})")
    return [item for item in items if isinstance(item, dict) and isinstance(item.get("id"), str)]
