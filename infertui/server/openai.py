"""Any server that speaks OpenAI's API, known by nothing but its address."""

from __future__ import annotations

from typing import Any

import httpx

from infertui.errors import ServerError
from infertui.text import plain

TIMEOUT_S = 10.0


def get(url: str, path: str, api_key: str = "") -> httpx.Response:
    """A request outside any measurement. A ServerError says in a line why there is no answer."""
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    try:
        return httpx.get(url + path, headers=headers, timeout=TIMEOUT_S, trust_env=False)
    except httpx.ConnectError:
        raise ServerError(f"no server answers at {url}", "start it, or check the address given to --attach") from None
    except httpx.HTTPError as error:
        raise ServerError(f"{url}{path}: {plain(str(error)) or type(error).__name__}") from None


def models(url: str, api_key: str = "") -> list[str]:
    """The names of the models that a server offers, in its order."""
    response = get(url, "/v1/models", api_key)
    if response.status_code in (401, 403):
        raise ServerError(f"{url} wants a key (status {response.status_code})", "name its variable: --api-key-env NAME")
    try:
        listed: Any = response.json()
        names = [item["id"] for item in listed["data"]]
    except (ValueError, TypeError, KeyError):
        raise ServerError(f"{url}/v1/models does not list models (status {response.status_code})") from None
    return [name.encode("utf-8", "replace").decode() for name in names if isinstance(name, str)]


def only_model(url: str, api_key: str = "") -> str:
    """The model to use where none was named: the one that there is."""
    names = models(url, api_key)
    if len(names) == 1:
        return names[0]
    if not names:
        raise ServerError(f"{url} offers no model", "load one there, or name one with --model")
    shown = ", ".join(plain(name, 60) for name in names[:8]) + (" …" if len(names) > 8 else "")
    raise ServerError(f"{url} offers {len(names)} models", f"name one with --model: {shown}")


def native(url: str, api_key: str = "") -> str | None:
    """Whose own API this server speaks: llama.cpp's, Ollama's, or none that we know."""
    if "version" in _object(get(url, "/api/version", api_key)):
        return "ollama"
    if "build_info" in _object(get(url, "/props", api_key)):
        return "llama.cpp"
    return None


def _object(response: httpx.Response) -> dict[str, Any]:
    """The JSON object of a good response. Some servers answer 200 to whatever is asked."""
    if response.status_code != 200:
        return {}
    try:
        value = response.json()
    except ValueError:
        return {}
    return value if isinstance(value, dict) and "error" not in value else {}
