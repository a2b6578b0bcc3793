"""Whose processes a server is made of: ours, whoever listens, or nobody's that may be looked into."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from infertui.profile import Profile
from infertui.server import server, whereabouts
from infertui.server.base import Server
from infertui.server.model import Model
from infertui.server.record import Record


def attached(url: str) -> Server:
    return server(Profile(kind="openai", name="there", address=url, start=False, model="m"))


@pytest.fixture
def port() -> Iterator[int]:
    """On which this process listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        yield one.getsockname()[1]


def test_who_listens_at_the_address_is_the_server(port: int) -> None:
    where = whereabouts.whereabouts(attached(f"http://127.0.0.1:{port}"))
    assert where.roots == (os.getpid(),)
    assert not where.elsewhere
    assert where.reason == ""


def test_a_server_that_we_started_is_its_recorded_process_and_its_supervisor_adopts() -> None:
    mine = attached("http://127.0.0.1:1")
    mine.known = Record(
        id="a", name="n", kind="openai", model="m", url="u", log="", token="t", profile="p", pid=4242, supervisor=4241
    )
    where = whereabouts.whereabouts(mine)
    assert (where.roots, where.adopters) == ((4242,), (4241,))


def test_a_server_on_another_machine_says_so() -> None:
    where = whereabouts.whereabouts(attached("http://192.0.2.7:8080"))  # an address for documents, nobody's
    assert where.elsewhere
    assert where.roots == ()
    assert where.reason == "there is on another machine: what it uses cannot be seen"


def test_an_address_of_this_machine_other_than_loopback_is_here() -> None:
    assert whereabouts._here("localhost")
    assert whereabouts._here("0.0.0.0")
    assert not whereabouts._here("no such host")


def test_a_server_of_another_user_or_in_a_container_is_here_and_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    there = attached("http://127.0.0.1:8080")
    monkeypatch.setattr(whereabouts, "listeners", lambda port: [])
    where = whereabouts.whereabouts(there)
    assert (where.roots, where.elsewhere) == ((), False)
    assert where.reason == "who listens on port 8080 is not told: there belongs to another user"
    monkeypatch.setattr(whereabouts, "listeners", lambda port: [(7, "com.docker.backend")])
    where = whereabouts.whereabouts(there)
    assert (where.roots, where.elsewhere) == ((), False)
    assert where.reason == "there is reached through com.docker.backend: what it uses cannot be seen"


@pytest.mark.parametrize(
    ("kind", "command", "mapped"),
    [
        ("llama-server", ("llama-server", "-m", "x.gguf"), 5),
        ("llama-server", ("llama-server", "-m", "x.gguf", "--no-mmap"), 0),
        ("llama-cpp-python", ("python", "--use_mmap", "false"), 0),
        ("llama-cpp-python", ("python", "--use_mmap=false"), 0),
        ("mlx-lm", ("mlx_lm.server",), 0),
        ("openai", ("vllm",), None),
        ("llama-server", None, None),  # attached to: its flags are not known
    ],
)
def test_weights_that_are_mapped_are_known_by_the_servers_kind_and_command(
    tmp_path: Path, kind: str, command: tuple[str, ...] | None, mapped: int | None
) -> None:
    file = tmp_path / "x.gguf"
    file.write_bytes(b"12345")
    found = server(Profile(kind=kind, name="n", model=str(file)))
    found._model = Model(name="x", place=str(file))
    if command is not None:
        known = Record(id="a", name="n", kind=kind, model="m", url="u", log="", token="t", profile="p")
        found.known = msgspec.structs.replace(known, command=command)
    assert found.mapped_bytes() == mapped


@pytest.mark.parametrize(("name", "elsewhere"), [("ssh", True), ("kubectl", True), ("nginx", False)])
def test_a_tunnel_or_a_proxy_is_not_taken_for_the_server(
    name: str, elsewhere: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whereabouts, "listeners", lambda port: [(7, name)])
    where = whereabouts.whereabouts(attached("http://127.0.0.1:8080"))
    assert (where.roots, where.elsewhere) == ((), elsewhere)
    assert where.reason == f"there is reached through {name}: what it uses cannot be seen"


def test_an_address_is_here_if_any_of_its_addresses_is(monkeypatch: pytest.MonkeyPatch) -> None:
    known = [(socket.AF_INET, 1, 6, "", ("192.0.2.7", 0)), (socket.AF_INET, 1, 6, "", ("127.0.0.1", 0))]
    monkeypatch.setattr(whereabouts.socket, "getaddrinfo", lambda *_, **__: known)
    assert whereabouts._here("both")
