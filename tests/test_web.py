"""The app in a browser: who may connect, that a session ends with its tab, and the whole of it in Chromium."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import psutil
import pytest

from infertui.cli.app import web
from infertui.errors import UsageError
from infertui.mock import Server
from tests import chromium
from tests.conftest import Command
from tests.terminal import Picture

Serve = Callable[..., Server]
PAGE = Path(__file__).parent.parent / "infertui" / "web" / "page"


class Site:
    """A running `infertui web`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self.process = process
        self.address = process.stdout.readline().strip()
        self.token = self.address.partition("token=")[2]
        self.at = urlsplit(self.address).netloc
        self.port = int(self.at.partition(":")[2])
        self.cookie = f"infertui-{self.port}={self.token}"

    def get(self, path: str, **headers: str) -> http.client.HTTPResponse:
        """The answer to a request as anybody could write it."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        with contextlib.closing(connection):
            connection.putrequest("GET", path, skip_host=True)
            for name, value in {"Host": self.at, **headers}.items():
                connection.putheader(name, value)
            connection.endheaders()
            answer = connection.getresponse()
            answer.read()
            return answer

    def connect(self, path: str = "/ws?width=100&height=30", **headers: str) -> int:
        """The status with which a websocket is taken (101) or refused."""
        handshake = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
        return self.get(path, **handshake, **{"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}, **headers).status

    def apps(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()


@pytest.fixture
def site(infertui: Command) -> Iterator[Site]:
    with infertui.start("web", "--port", "0", stderr=None) as process:
        try:
            yield Site(process)
        finally:
            process.terminate()
            process.wait(30)


def until(true: Callable[[], bool], within_s: float = 30) -> None:
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


# Who may connect.


def test_only_the_token_that_was_printed_opens_the_page(site: Site) -> None:
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{32}", site.address)
    assert site.get("/").status == 403
    assert site.get("/?token=").status == 403
    assert site.get("/?token=x" + site.token[1:]).status == 403
    assert site.get("/?token=%C3%A9").status == 403
    for path in ("/static/js/textual.js", "/page/page.js", "/download/0", "/nothing"):
        assert site.get(path).status == 403
    answer = site.get(f"/?token={site.token}")
    assert answer.status == 200
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith(f"infertui-{site.port}={site.token};")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    assert site.get("/", Cookie=site.cookie).status == 200
    assert site.get("/static/js/textual.js", Cookie=site.cookie).status == 200
    assert site.get("/", Cookie=f"infertui-{site.port}=other").status == 403
    assert site.get("/nothing", Cookie=site.cookie).status == 404
    assert site.get("/static/../guard.py", Cookie=site.cookie).status in (403, 404)


def test_the_browser_that_is_opened_gets_a_token_that_is_good_once(infertui: Command, tmp_path: Path) -> None:
    opened = tmp_path / "opened"
    for name in ("open", "xdg-open"):
        opener = tmp_path / name
        opener.write_text(f'#!/bin/sh\necho "$1" > {opened}.new; mv {opened}.new {opened}\n')
        opener.chmod(0o755)
    infertui.environment["PATH"] = f"{tmp_path}:{os.environ['PATH']}"
    with infertui.start("web", "--port", "0", "--open", stderr=None) as process:
        site = Site(process)
        until(opened.exists)
        query = urlsplit(opened.read_text().strip()).query
        assert site.token not in query  # everybody on this machine can see the arguments of a command
        assert site.get(f"/?{query}").headers["Set-Cookie"].startswith(site.cookie)
        assert site.get(f"/?{query}").status == 403
        assert site.get(f"/?token={site.token}").status == 200
        process.terminate()


def test_a_name_that_was_bent_to_this_machine_is_refused(site: Site) -> None:
    path = f"/?token={site.token}"
    for host in ("evil.example", f"evil.example:{site.port}", "127.0.0.1", f"127.0.0.1:{site.port + 1}", ""):
        assert site.get(path, Host=host, Cookie=site.cookie).status == 403
    for host in (f"localhost:{site.port}", f"[::1]:{site.port}", f"LOCALHOST:{site.port}"):
        assert site.get(path, Host=host).status == 200


def test_a_page_of_another_site_is_refused(site: Site) -> None:
    own = f"http://{site.at}"
    for origin in ("http://evil.example", "null", f"http://127.0.0.1:{site.port + 1}", f"https://{site.at}", ""):
        assert site.get("/", Cookie=site.cookie, Origin=origin).status == 403
        assert site.connect(Cookie=site.cookie, Origin=origin) == 403
    assert site.get("/", Cookie=site.cookie, Origin=own).status == 200
    assert site.connect(Cookie=site.cookie) == 403  # a browser always says of which page it is
    assert site.connect(Origin=own) == 403
    assert site.apps() == []


def test_no_page_may_frame_it_or_read_it_and_it_names_no_other_host(site: Site) -> None:
    headers = site.get("/", Cookie=site.cookie).headers
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Referrer-Policy"] == "no-referrer"
    for file in PAGE.iterdir():
        assert not re.search(r"""https?:|["'(]//""", file.read_text()), file


def test_it_listens_on_this_machine_alone(site: Site) -> None:
    held = [each.laddr for each in psutil.Process(site.process.pid).net_connections() if each.status == "LISTEN"]
    assert [(each.ip, each.port) for each in held] == [("127.0.0.1", site.port)]


# Ports.


def test_a_port_that_is_taken_is_named_with_its_holder(infertui: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = infertui("web", "--port", str(port))
    assert ran.returncode == 2
    assert re.match(rf"infertui: port {port} is in use by .+ \(pid {os.getpid()}\) ", ran.stderr)
    assert ran.stdout == ""


def test_without_a_port_the_next_free_one_is_taken(site: Site, infertui: Command) -> None:
    with infertui.start("web", stderr=None) as one, infertui.start("web", stderr=None) as other:
        ports = {Site(each).port for each in (one, other)}
        one.terminate()
        other.terminate()
    assert len(ports | {site.port}) == 3


def test_without_textual_serve_one_line_says_what_adds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("infertui.web")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "textual_serve", None)
    with pytest.raises(UsageError) as told:
        web.callback(None, False, None)  # type: ignore[misc]
    assert told.value.hint == "pip install 'infertui[web]'"


# Sessions.


@contextlib.asynccontextmanager
async def tab(site: Site) -> aiohttp.ClientWebSocketResponse:  # type: ignore[misc]
    """What the page does, without a browser."""
    headers = {"Cookie": site.cookie, "Origin": f"http://{site.at}"}
    url = f"http://{site.at}/ws?width=120&height=30"
    async with aiohttp.ClientSession() as session, session.ws_connect(url, headers=headers) as connection:
        await connection.send_json(["focus"])
        yield connection


async def seen(connection: aiohttp.ClientWebSocketResponse, picture: Picture, what: str) -> list[str]:
    """What else came until the picture shows that (a pattern), or it came itself; it must."""
    others: list[str] = []
    async with asyncio.timeout(40):
        while not re.search(what, "\n".join((picture.text, *others))):
            message = await connection.receive()
            assert message.type in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT), picture.text
            if message.type == aiohttp.WSMsgType.BINARY:
                picture.feed(message.data)
            else:
                others.append(message.data)
    return others


def test_a_session_is_an_app_of_its_own_and_ends_with_its_tab(site: Site) -> None:
    async def flow() -> None:
        picture = Picture(120, 30)
        async with tab(site) as one, tab(site) as other:
            await seen(one, picture, "Launch")
            await seen(other, Picture(120, 30), "Launch")
            assert len(site.apps()) == 2
        async with tab(site) as third:
            await third.send_str("no JSON")
            message = await third.receive()
            while message.type == aiohttp.WSMsgType.BINARY:
                message = await third.receive()
            assert message.type == aiohttp.WSMsgType.CLOSE

    asyncio.run(flow())
    until(lambda: not site.apps())
    assert site.get("/", Cookie=site.cookie).status == 200


@pytest.mark.parametrize("how", ["tab closed", "site stopped"])
def test_a_run_stops_with_its_tab_and_is_kept(site: Site, infertui: Command, served: Serve, how: str) -> None:
    url = served(tokens=4).address
    place = Path(infertui.environment["INFERTUI_HOME"], "state", "app.json")
    place.parent.mkdir(parents=True, exist_ok=True)
    chosen = {"scenario": "single", "parameters": {"single": {"rounds": "1000", "max_tokens": "4"}}}
    place.write_text(json.dumps({"servers": [url], "addresses": [url], **chosen}))

    async def flow() -> list[psutil.Process]:
        picture = Picture(120, 30)
        async with tab(site) as one:
            await seen(one, picture, f"--attach {re.escape(url)}")
            await one.send_json(["stdin", "r"])
            await seen(one, picture, r"● [1-9]\d+/")
            (app,) = site.apps()
            if how == "site stopped":
                site.process.terminate()
            return [app, *app.children(recursive=True)]

    family = asyncio.run(flow())
    assert len(family) >= 2
    until(lambda: not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in family))
    (run,) = infertui.json("list", "runs")["runs"]
    assert run["status"] == "stopped"
    assert len(infertui.json("show", str(run["id"]))["runs"][0]["call_list"]) >= 10


def test_a_screenshot_is_downloaded(site: Site) -> None:
    async def flow() -> None:
        picture = Picture(120, 30)
        async with tab(site) as one:
            await seen(one, picture, "Launch")
            await one.send_json(["stdin", "\x10"])
            await seen(one, picture, "Search for commands")
            await one.send_json(["stdin", "screenshot"])
            await seen(one, picture, "Save an SVG")
            await one.send_json(["stdin", "\r"])
            told = [text for text in await seen(one, picture, "deliver_file_start") if "deliver" in text]
            key = re.findall(r'"([^"]+)"', told[-1])[1]
            url = f"http://{site.at}/download/{key}"
            async with aiohttp.ClientSession(headers={"Cookie": site.cookie}) as session, session.get(url) as answer:
                assert answer.status == 200
                assert re.search(r"filename=InferTUI\S+\.svg", answer.headers["Content-Disposition"])
                assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
                assert (await answer.text()).startswith("<svg")

    asyncio.run(flow())


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_no_app_outlives_the_site(site: Site, kind: signal.Signals) -> None:
    apps: list[psutil.Process] = []

    async def flow() -> None:
        async with tab(site) as one:
            await seen(one, Picture(120, 30), "Launch")
            apps.extend(site.apps())
            site.process.send_signal(kind)
            message = await one.receive()
            while message.type == aiohttp.WSMsgType.BINARY:
                message = await one.receive()

    asyncio.run(flow())
    assert site.process.wait(30) == (-9 if kind == signal.SIGKILL else 0)
    assert len(apps) == 1
    until(lambda: not any(app.is_running() and app.status() != psutil.STATUS_ZOMBIE for app in apps))


# In a real browser.


@pytest.mark.skipif(not chromium.program(), reason="no Chromium here")
def test_it_works_in_chromium(site: Site, tmp_path: Path) -> None:
    async def flow() -> None:
        async with chromium.browser(tmp_path / "profile") as page:
            await page.open(site.address)
            await page.wait_for("Launch")
            assert await page.value("location.href") == f"http://{site.at}/"  # the token does not stay in sight
            assert await page.value("document.cookie") == ""
            assert await page.value("document.title") == "InferTUI"
            await page.wait_for("space Mark")  # the list of servers has the keys
            await page.press("3")
            await page.wait_for("No runs yet")
            photograph = await page.photograph()
            assert photograph[:8] == b"\x89PNG\r\n\x1a\n"
            assert int.from_bytes(photograph[16:20], "big") == 1280
            assert page.said == []
            await page.press("q")
            while "-closed" not in await page.value("document.body.className"):
                await asyncio.sleep(0.05)
            assert await page.value("document.activeElement.id") == "again"
            await page.press("\r")
            await page.wait_for("Launch")
            hosts = {urlsplit(address).netloc for address in page.asked if not address.startswith("data:")}
            assert hosts == {site.at}

    asyncio.run(flow())
    until(lambda: not site.apps())
