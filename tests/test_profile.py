"""Profiles and settings: what is read, and for each thing that can be wrong the one line that says so."""

from __future__ import annotations

import datetime
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from infertui import config, profile
from infertui import settings as ours
from infertui.errors import UsageError
from infertui.profile import Profile

KINDS = ("llama-server", "mlx-lm", "llama-cpp-python", "openai")
KEYS = (
    "kind, about, address, start, command, model, slots, context, threads, gpu_layers, flags, env, api, api_key_env, "
    "temperature, top_p, max_tokens, trust_remote_code, ready_s, stop_s"
)
CHECKOUT = Path(__file__).parent.parent


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """INFERTUI_HOME, which is the current folder as well: so errors name files in few words."""
    monkeypatch.setenv("INFERTUI_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "profiles").mkdir()
    return tmp_path


def said(home: Path, text: str | bytes, name: str = "x.toml") -> str:
    """What a user is told about a profile of that text."""
    (home / name).write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(UsageError) as caught:
        profile.load(name, KINDS)
    return str(caught.value)


def loaded(home: Path, text: str) -> Profile:
    (home / "x.toml").write_text('kind = "mlx-lm"\n' + text)
    return profile.load("x.toml", KINDS)


# What stands below `kind = "mlx-lm"`, which is line 1; what is said after `x.toml:`.
WRONG = {
    "unknown key": ('about = ""\n\n slot = 4', "4: unknown key `slot` (did you mean slots?)"),
    "unknown key in other letters": ("GPU-Layers = 4", "2: unknown key `GPU-Layers` (did you mean gpu_layers?)"),
    "unknown key far from all": ("zzz = 1", f"2: unknown key `zzz` (there are {KEYS})"),
    "unknown key of the loader's": ('name = "n"', "2: `name` is not for this file to set (remove the line)"),
    "the key itself": ('api_key = "hush"', "2: unknown key `api_key` (did you mean api_key_env?)"),
    "unknown table": ("[envs]\nA = 'b'", "2: unknown key `envs` (did you mean env?)"),
    "unknown key with an escape": (r'"sl\u001b[2Jot" = 1', "2: unknown key `sl␛[2Jot` (did you mean slots?)"),
    "empty key": ('"" = 1', f'2: unknown key `""` (there are {KEYS})'),
    "text for a whole number": ("slots = 'four'", "2: slots: a whole number is expected, not the text 'four'"),
    "quoted whole number": (
        "slots = '4'",
        "2: slots: a whole number is expected, not the text '4' (without quotes)",
    ),
    "fraction for a whole number": ("slots = 4.5", "2: slots: a whole number is expected, not the number 4.5"),
    "truth for a whole number": ("slots = true", "2: slots: a whole number is expected, not true"),
    "list for a whole number": ("slots = [4]", "2: slots: a whole number is expected, not a list"),
    "date for a whole number": ("slots = 2026-01-01", "2: slots: a whole number is expected, not a date or a time"),
    "text for a number": ("top_p = '.5'", "2: top_p: a number is expected, not the text '.5'"),
    "quoted number": ("top_p = '0.5'", "2: top_p: a number is expected, not the text '0.5' (without quotes)"),
    "no number": ("ready_s = nan", "2: ready_s: a number is expected, not the number nan"),
    "number without end": ("ready_s = inf", "2: ready_s: a number is expected, not the number inf"),
    "number for a text": ("model = 7", "2: model: text is expected, not the number 7 (put it in quotes)"),
    "text for a list": ("flags = '-v'", "2: flags: a list is expected, not the text '-v' (write it as [\"…\"])"),
    "number in a list": (
        "flags = [\n'-t', # threads\n8]",
        "2: flags, item 2: text is expected, not the number 8 (put it in quotes)",
    ),
    "text for truth": ("start = 'yes'", "2: start: true or false is expected, not the text 'yes'"),
    "quoted truth": ("start = 'true'", "2: start: true or false is expected, not the text 'true' (without quotes)"),
    "text for a table": ("env = 'A=1'", "2: env: a table is expected, not the text 'A=1' (write [env] above its keys)"),
    "number in a table": (
        "slots = 4\n[env]\nA = '1'\nB = 2",
        "5: env.B: text is expected, not the number 2 (put it in quotes)",
    ),
    "number in a dotted key": ("env.B = 2", "2: env.B: text is expected, not the number 2 (put it in quotes)"),
    "number in a table in a line": (
        "slots = 1\nenv = { A = 'x', B = 2 }",
        "3: env.B: text is expected, not the number 2 (put it in quotes)",
    ),
    "long text": ("slots = '" + "a" * 99 + "'", f"2: slots: a whole number is expected, not the text '{'a' * 39}…'"),
    "text with controls": (
        r"slots = " + '"a\\u001b]0;b\\u0007\\u202e"',
        "2: slots: a whole number is expected, not the text 'a␛]0;b␇<202E>'",
    ),
    "too few": ("slots = 0", "2: slots: at least 1 is expected, not 0"),
    "too many": ("slots = 1025", "2: slots: at most 1024 is expected, not 1025"),
    "no more than": ("ready_s = 0", "2: ready_s: more than 0 is expected, not 0"),
    "beyond 64 bits": (f"context = {1 << 64}", "2: context: a number of 64 bits is expected, not a longer number"),
    "beyond all digits": (
        f"slots = 0x{'f' * 9999}",
        "2: slots: at most 1024 is expected, not a longer number",
    ),
    "small context": ("context = 12", "2: context: at least 128 is expected, not 12"),
    "layers": ("gpu_layers = -2", "2: gpu_layers: at least -1 is expected, not -2"),
    "share": ("top_p = 1.5", "2: top_p: at most 1 is expected, not 1.5"),
    "choice": (
        "api = 'completion'",
        "2: api: completions, chat or native is expected, not the text 'completion' (did you mean completions?)",
    ),
    "choice of another type": ("api = 1", "2: api: chat, completions or native is expected, not the number 1"),
    "no quotes": (
        "model = qwen",
        "2: not valid TOML: invalid value at column 9 (text stands in quotes; true and false are written small)",
    ),
    "no equals sign": (
        "model",
        "2: not valid TOML: expected '=' after a key in a key/value pair (write KEY = VALUE)",
    ),
    "open text": (
        'model = "qwen\n',
        r"2: not valid TOML: illegal character '\n' at column 14 (text ends on the line on which it begins)",
    ),
    "open text in single quotes": (
        "model = 'qwen\nslots = 'a'",
        r"2: not valid TOML: found invalid character '\n' at column 14 (text ends on the line on which it begins)",
    ),
    "half an escape": (
        r'model = "a\qb"',
        "2: not valid TOML: unescaped '\\' in a string at column 13 (in double quotes a \\ is written twice)",
    ),
    "open text of many lines": ("\nmodel = '''a\nb\n\n", "4: not valid TOML: expected \"'''\""),
    "escape in the file": (
        "model = '\x1b[2J'",
        r"2: not valid TOML: found invalid character '\x1b' at column 10",
    ),
    "set twice": ("slots = 1\nslots = 2\n", "3: not valid TOML: a key is set twice"),
    "table twice": ("[env]\nA='1'\n[env]\n", "4: not valid TOML: the table 'env' is begun twice"),
    "address of no scheme": (
        "address = '127.0.0.1:80'",
        "2: address: an address is expected, not the text '127.0.0.1:80' (write http://HOST:PORT)",
    ),
    "address of a file": (
        "address = 'file:///etc'",
        "2: address: an address is expected, not the text 'file:///etc' (write http://HOST:PORT)",
    ),
    "address without host": (
        "address = 'http://:80'",
        "2: address: an address is expected, not the text 'http://:80' (write http://HOST:PORT)",
    ),
    "address with a port beyond": (
        "address = 'http://a:99999'",
        "2: address: an address is expected, not the text 'http://a:99999' (write http://HOST:PORT)",
    ),
    "address with the port 0": (
        "address = 'http://a:0'",
        "2: address: an address is expected, not the text 'http://a:0' (write http://HOST:PORT)",
    ),
    "address with a query": (
        "address = 'http://a:1/?b'",
        "2: address: an address is expected, not the text 'http://a:1/?b' (write http://HOST:PORT)",
    ),
    "address with a space": (
        "address = 'http://a:1/ b'",
        "2: address: an address is expected, not the text 'http://a:1/ b' (write http://HOST:PORT)",
    ),
    "address with a blank before": (
        "address = ' http://a:1'",
        "2: address: an address is expected, not the text 'http://a:1' (write http://HOST:PORT)",
    ),
    "address of half brackets": (
        "address = 'http://[::1'",
        "2: address: an address is expected, not the text 'http://[::1' (write http://HOST:PORT)",
    ),
    "address with a password": (
        "address = 'http://me:hush@a:1'",
        '2: address: a name or a password stands in it (name the variable that holds it: api_key_env = "NAME")',
    ),
    "address without port": (
        "address = 'http://localhost'",
        "2: address: a port is expected, as the server is to be started there (write http://HOST:PORT)",
    ),
    "nowhere to attach": (
        "start = false",
        '2: start: false means that it runs somewhere, and no address is set (write address = "http://HOST:PORT")',
    ),
    "empty program": ("command = ['']", "2: command, item 1: a program or an argument is expected, not the text ''"),
    "empty argument": (
        "command = ['sh', '']",
        "2: command, item 2: a program or an argument is expected, not the text ''",
    ),
    "blank program": (
        r'command = ["\u2028"]',
        "2: command, item 1: a program or an argument is expected, not the text ''",
    ),
    "line end": (r'model = "a\nb"', "2: model: no line end and no NUL is expected in it"),
    "line end in about": ('about = """\na\nb"""', "2: about: no line end and no NUL is expected in it"),
    "NUL in a list": (r'flags = ["a", "\u0000"]', "2: flags, item 2: no line end and no NUL is expected in it"),
    "NUL in a variable": ('[env]\nA = "1"\nB = "\\u0000"', "4: env.B: no line end and no NUL is expected in it"),
    "variable of no name": (
        "env = { '' = 'b' }",
        '2: env."": no name that a variable can have (letters, digits and _ only)',
    ),
    "variable that is no name": (
        "[env]\n'A=B' = 'b'",
        "3: env.A=B: no name that a variable can have (letters, digits and _ only)",
    ),
    "key in the table": (
        "[env]\nmodel = 'm'",
        "3: env.model: that is a key of the profile, and no variable (model stands above [env])",
    ),
    "key of another type in the table": (
        "[env]\nslots = 4",
        "3: env.slots: text is expected, not the number 4 (slots stands above [env])",
    ),
    "home of nobody": ("model = '~nobody.here/m'", "2: model: ~nobody.here is nobody's home (write the whole path)"),
}


@pytest.mark.parametrize(("text", "line"), WRONG.values(), ids=WRONG)
def test_each_thing_that_is_wrong_is_one_line_with_its_place(home: Path, text: str, line: str) -> None:
    assert said(home, f"kind = 'mlx-lm'\n{text}") == f"x.toml:{line}"


def test_a_kind_that_is_none_is_told_the_kinds(home: Path) -> None:
    assert said(home, "\nkind = 'MLXLM'") == (
        "x.toml:2: kind: mlx-lm, llama-server, llama-cpp-python or openai is expected, not the text 'MLXLM' "
        "(did you mean mlx-lm?)"
    )


SECRETS = {
    "flags = ['-v', '--api-key', 'hush']": "flags, item 2: --api-key",
    "flags = ['--api-key=hush']": "flags, item 1: --api-key",
    "flags = ['--API_KEY=hush']": "flags, item 1: --API_KEY",
    "flags = ['-hft', 'hush']": "flags, item 1: -hft",
    "flags = ['--hf-token', 'hush']": "flags, item 1: --hf-token",
    "flags = ['sk-hush']": "flags, item 1: what looks like a key",
    r'flags = ["--\u001b-api-key"]': "flags, item 1: --␛-api-key",
    "command = ['server', '--admin-password', 'hush']": "command, item 2: --admin-password",
    "command = ['sh', '-c', \"server '--api-key=hush'\"]": "command, item 3: --api-key",
    "command = ['env', 'MY_API_KEY=hush', 'server']": "command, item 2: MY_API_KEY=…",
    "command = ['server', '-H', 'Authorization: Bearer hush']": "command, item 3: what looks like a key",
}


@pytest.mark.parametrize("text", SECRETS)
def test_a_secret_among_the_arguments_is_refused_and_never_shown(home: Path, text: str) -> None:
    line = said(home, f"kind = 'mlx-lm'\n{text}")
    hint = '(name the variable that holds it: api_key_env = "NAME")'
    assert line == f"x.toml:2: {SECRETS[text]} is no argument to keep in a profile {hint}"


@pytest.mark.parametrize("flag", ["--max-tokens", "--api-key-file", "--ssl-key-file", "--eos-token", "--keep", "-k"])
def test_flags_that_only_look_like_secrets_are_let_through(home: Path, flag: str) -> None:
    assert loaded(home, f"flags = ['{flag}', '1', '--override-kv', 'add_bos.token=bool:false', '']").flags[0] == flag


@pytest.mark.parametrize("key", ["sk-hush", "a key", "hush.hush", "1hush", "hf_abcdefghijklmnopqrstuvwx", "$NAME", ""])
def test_an_api_key_is_not_a_name_and_is_never_shown(home: Path, key: str) -> None:
    if not key:
        assert loaded(home, "api_key_env = ''").api_key_env == ""
        return
    assert said(home, f"kind = 'mlx-lm'\napi_key_env = '{key}'") == (
        "x.toml:2: api_key_env: the name of an environment variable is expected, and this looks like something else "
        "(keys are never kept: export NAME=KEY, and write NAME here)"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [("API_KEY", "h"), ("HF_TOKEN", "h"), ("secret", "h"), ("PGPASSWORD", "h"), ("OTHER", "sk-h")],
)
def test_a_secret_among_the_variables_is_refused(home: Path, name: str, value: str) -> None:
    assert said(home, f"kind = 'mlx-lm'\n[env]\n{name} = '{value}'") == (
        f"x.toml:3: env.{name}: a secret is not kept in a profile "
        f"(use api_key_env, or export {name} before you start InferTUI)"
    )


def test_a_file_that_is_none(home: Path) -> None:
    def told(name: str) -> str:
        with pytest.raises(UsageError) as caught:
            profile.load(name, KINDS)
        return str(caught.value)

    assert told("absent.toml") == "absent.toml: no such file"
    assert told("./absent") == "absent: no such file"
    assert told("profiles/") == "profiles: a folder, where a file is expected"
    assert told("a\0b.toml") == "a␀b.toml: not a name that a file can have"
    assert told("a\x1b[2J\n.toml") == "a␛[2J .toml: no such file"
    assert told(f"{'a' * 300}.toml") == f"{'a' * 300}.toml: cannot be read: File name too long"
    (home / "file").write_text("")
    assert told("file/x.toml") == "file/x.toml: cannot be read: Not a directory"
    os.mkfifo("pipe.toml")
    assert told("pipe.toml") == "pipe.toml: not a file, where a file is expected"
    (home / "loop.toml").symlink_to("loop.toml")
    assert told("loop.toml").startswith("loop.toml: cannot be read: ")
    if os.getuid():
        (home / "shut.toml").touch(mode=0)
        assert told("shut.toml") == "shut.toml: cannot be read: Permission denied"


def test_a_file_that_is_no_text(home: Path) -> None:
    assert said(home, b"kind = 'mlx-lm'\n\nabout = '\xff'") == "x.toml:3: not UTF-8 text (save the file as UTF-8)"
    assert said(home, b"#" * 1_000_001) == "x.toml: larger than 1 MB, which no file of settings is"
    without_measure = "x.toml: not valid TOML: a number or a nesting without measure"
    assert said(home, "a = " + "[" * 20_000) == without_measure
    assert said(home, "a = " + "9" * 5_000) == without_measure
    assert said(home, "") == (
        "x.toml: the key `kind` is missing (Which server it is: what knows how to start it, ask it and stop it.)"
    )


def test_a_byte_order_mark_and_line_ends_of_windows_are_no_harm(home: Path) -> None:
    (home / "x.toml").write_bytes(b"\xef\xbb\xbfkind = 'mlx-lm'\r\nabout = '''a'''\r\n")
    assert profile.load("x.toml", KINDS).about == "a"
    assert said(home, b"\xef\xbb\xbfkind = 'mlx-lm'\r\n\r\nslots = 0\r\n").startswith("x.toml:3: slots: ")


def test_a_file_elsewhere_is_named_from_home_or_in_full(
    home: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path_factory.mktemp("other") / "x.toml"
    with pytest.raises(UsageError, match=f"^{re.escape(str(other))}: no such file$"):
        profile.load(str(other), KINDS)
    monkeypatch.setenv("HOME", str(other.parent))
    with pytest.raises(UsageError, match=r"^~/x\.toml: no such file$"):
        profile.load("~/x.toml", KINDS)


def test_names_of_profiles(home: Path) -> None:
    text = "kind = 'mlx-lm'"
    for name in ("my profile.toml", "-v.toml", "ä.toml"):
        assert (
            said(home, text, name) == f"{name}: a profile's name has letters, digits and . _ - only (rename the file)"
        )
    (home / "a.b_C-1.toml").write_text(text)
    assert profile.load("a.b_C-1.toml", KINDS).name == "a.b_C-1"


def test_a_name_that_no_profile_has(home: Path) -> None:
    def told(name: str) -> str:
        with pytest.raises(UsageError) as caught:
            profile.load(name, KINDS)
        return str(caught.value)

    everything = "`infertui list profiles` shows all"
    assert told("llama_sever") == f"no profile `llama_sever` (did you mean llama-server? {everything})"
    assert told("zzz\x1b") == f"no profile `zzz␛` ({everything})"
    (home / "profiles" / "a\x1bbcd.toml").touch()
    assert told("abcd") == f"no profile `abcd` (did you mean a␛bcd? {everything})"
    assert told("") == f"no profile `` ({everything})"


def test_everything_that_can_be_set_is_read(home: Path) -> None:
    whole = loaded(
        home,
        """
about = "mine"
address = "https://example.org/api"
start = false
command = ["./bin/serve", "-v"]
model = "../m.gguf"
slots = 2
context = 4096
threads = 3
gpu_layers = -1
flags = ["--x", "\u00e4"]
env = { A = "1" }
api = "native"
api_key_env = "MY_KEY"
temperature = 1
top_p = 0.9
max_tokens = 7
trust_remote_code = true
ready_s = 1
stop_s = 0
""",
    )
    assert whole == Profile(
        kind="mlx-lm",
        name="x",
        file=str(home / "x.toml"),
        about="mine",
        address="https://example.org/api",
        start=False,
        command=(str(home / "bin/serve"), "-v"),
        model=str(home.parent / "m.gguf"),
        slots=2,
        context=4096,
        threads=3,
        gpu_layers=-1,
        flags=("--x", "ä"),
        env={"A": "1"},
        api="native",
        api_key_env="MY_KEY",
        temperature=1.0,
        top_p=0.9,
        max_tokens=7,
        trust_remote_code=True,
        ready_s=1.0,
        stop_s=0.0,
    )


def test_only_paths_that_say_so_are_resolved(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    for text, resolved in {
        "": "",
        "embedded:small": "embedded:small",
        "org/name": "org/name",
        "m.gguf": "m.gguf",
        "/m.gguf": "/m.gguf",
        ".hidden": ".hidden",
        "./m": str(home / "m"),
        "../m/./n": str(home.parent / "m" / "n"),
        "..": str(home.parent),
        "~/m": "/home/me/m",
        "~": "/home/me",
    }.items():
        assert loaded(home, f"model = '{text}'").model == resolved


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "http://[::1]:8080/v1", "http://my-mac.local:1234/"])
def test_addresses_that_can_be_used(home: Path, address: str) -> None:
    assert loaded(home, f"address = '{address}'").address == address


def test_the_users_profile_goes_before_the_shipped_one(home: Path) -> None:
    assert profile.load("llama-server", KINDS).file == str(CHECKOUT / "profiles" / "llama-server.toml")
    (home / "profiles" / "llama-server.toml").write_text("kind = 'mlx-lm'\nabout = 'mine'")
    (home / "profiles" / "mine.toml").write_text("kind = 'openai'\nslots = 0")
    (home / "profiles" / "llama.toml").write_text("kind = 'lama'")
    (home / "profiles" / ".hidden.toml").write_text("kind = 1")
    (home / "profiles" / "notes.txt").write_text("kind = 1")
    assert profile.load("llama-server", KINDS).about == "mine"
    profiles, errors = profile.available(KINDS)
    assert [each.name for each in profiles] == [
        "embedded-llama",
        "embedded-mlx",
        "llama-cpp-python",
        "llama-server",
        "mlx-lm",
    ]
    assert profiles[3].about == "mine"
    assert [str(error).partition(" is expected")[0] for error in errors] == [
        "profiles/llama.toml:1: kind: llama-server, mlx-lm, llama-cpp-python or openai",
        "profiles/mine.toml:2: slots: at least 1",
    ]


def test_a_folder_of_profiles_that_is_none(home: Path) -> None:
    (home / "profiles").rmdir()
    assert len(profile.available(KINDS)[0]) == 5
    (home / "profiles").write_text("")
    assert len(profile.available(KINDS)[0]) == 5
    (home / "profiles").unlink()
    (home / "profiles").symlink_to("profiles")
    profiles, (error,) = profile.available(KINDS)
    assert len(profiles) == 5
    assert str(error).startswith("profiles: cannot be read: ")
    with pytest.raises(UsageError, match=r"^profiles: cannot be read: "):
        profile.load("llama-server", KINDS)


@pytest.mark.parametrize("path", sorted((CHECKOUT / "profiles").iterdir()), ids=lambda path: path.name)
def test_every_shipped_profile_is_loaded(path: Path) -> None:
    shipped = profile.load(str(path), KINDS)
    assert shipped.about
    assert ("random weights" in shipped.about) == (shipped.model == "embedded") == shipped.name.startswith("embedded-")


def test_the_list_of_keys_is_the_structs() -> None:
    fields: Any = msgspec.inspect.type_info(Profile)
    sentences = {
        field.name: field.type.extra_json_schema["description"]
        for field in fields.fields
        if field.name not in ("name", "file")
    }
    text = (CHECKOUT / "profiles" / "llama-server.toml").read_text()
    assert dict(re.findall(r"^# ([a-z_]+) +(\S.*)$", text.partition("comes last):\n")[2], re.MULTILINE)) == sentences


def test_a_wheel_holds_the_profiles() -> None:
    hatch = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
    assert hatch["wheel"]["force-include"] == {"profiles": "infertui/profiles"}
    assert "/profiles" in hatch["sdist"]["include"]


def test_outside_a_checkout_the_packages_profiles_are_used(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ours, "checkout", lambda: None)
    assert profile.folders() == [home / "profiles", CHECKOUT / "infertui" / "profiles"]


# Settings.


def test_settings_are_read_where_there_are_some(home: Path) -> None:
    assert ours.user() == ours.Settings(servers=("embedded-llama", "embedded-mlx"), baseline="", fallback="")
    (home / "settings.toml").write_text("servers = ['a', 'b']\nbaseline = 'a'\nfallback = 'c'")
    assert ours.user() == ours.Settings(servers=("a", "b"), baseline="a", fallback="c")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("servers = []", "settings.toml:1: servers: at least 1 item is expected, not none"),
        ("\nservers = ['']", "settings.toml:2: servers, item 1: at least 1 character is expected, not none"),
        (
            "servers = 'a'",
            "settings.toml:1: servers: a list is expected, not the text 'a' (write it as [\"…\"])",
        ),
        ("base = 'a'", "settings.toml:1: unknown key `base` (did you mean baseline?)"),
        (
            "x = 1",
            "settings.toml:1: unknown key `x` "
            "(there are servers, baseline, fallback, app, conditions, saturation, cost)",
        ),
        ("[conditions]\nwait = 3", "settings.toml:2: unknown key `conditions.wait` (did you mean wait_s?)"),
        (
            "[conditions]\nforeign_cpu_percent = 0",
            "settings.toml:2: conditions.foreign_cpu_percent: more than 0 is expected, not 0",
        ),
        (
            "[cost.price_per_token_usd]\n'M4 Max' = -1.0",
            "settings.toml:2: cost.price_per_token_usd.M4 Max: at least 0 is expected, not -1.0",
        ),
    ],
)
def test_wrong_settings_are_one_line(home: Path, text: str, line: str) -> None:
    (home / "settings.toml").write_text(text)
    with pytest.raises(UsageError) as caught:
        ours.user()
    assert str(caught.value) == line


def test_one_folder_for_everything(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for platform in ("linux", "darwin"):
        monkeypatch.setattr(sys, "platform", platform)
        assert (ours.config_folder(), ours.data_folder()) == (home, home)
        assert (ours.cache_folder(), ours.state_folder()) == (home / "cache", home / "state")
    monkeypatch.setenv("INFERTUI_HOME", "here")
    assert ours.config_folder() == home / "here"
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("INFERTUI_HOME", "~/there")
    assert ours.config_folder() == Path("/home/me/there")


def test_the_usual_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    def all_four() -> list[str]:
        folders = (ours.config_folder(), ours.data_folder(), ours.cache_folder(), ours.state_folder())
        return [str(folder) for folder in folders]

    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("INFERTUI_HOME", "")
    parts = ("CONFIG", "DATA", "CACHE", "STATE")
    for part in parts:
        monkeypatch.setenv(f"XDG_{part}_HOME", f"/x/{part}")
    monkeypatch.setattr(sys, "platform", "linux")
    assert all_four() == [f"/x/{part}/infertui" for part in parts]
    for part in parts:
        monkeypatch.setenv(f"XDG_{part}_HOME", "not/absolute")
    usual = [".config", ".local/share", ".cache", ".local/state"]
    assert all_four() == [f"/home/me/{folder}/infertui" for folder in usual]
    monkeypatch.setattr(sys, "platform", "darwin")
    library = ["Application Support", "Application Support", "Caches", "Application Support"]
    assert all_four() == [f"/home/me/Library/{folder}/infertui" for folder in library]


def test_light_commands_do_not_load_what_reads_toml() -> None:
    code = "import sys, infertui.settings; print({'tomllib', 'infertui.config', 'difflib'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert ran.stdout == "set()\n"


# The reader by itself.


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    must: Annotated[int, msgspec.Meta(description="A number.")]
    many: list[int] = []


class Outer(msgspec.Struct):
    inner: Inner
    day: datetime.date | None = None
    mixed: int | str = 0
    name: str = ""


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "x.toml: the key `inner` is missing"),
        ("[inner]", "x.toml: the key `inner.must` is missing (A number.)"),
        ("[inner]\nmust = 1\nmuts = 2", "x.toml:3: unknown key `inner.muts` (did you mean must?)"),
        (
            "[inner]\nmust = 1\nmany = [1, 'a']",
            "x.toml:3: inner.many, item 2: a whole number is expected, not the text 'a'",
        ),
        ("name = ''\n[inner]\nmust = 1", "x.toml:1: `name` is not for this file to set (remove the line)"),
        ("mixed = []\n[inner]\nmust = 1", "x.toml: Expected `int | str`, got `array` - at `$.mixed`"),
    ],
)
def test_tables_are_checked_as_the_file_is(home: Path, text: str, line: str) -> None:
    (home / "x.toml").write_text(text)
    with pytest.raises(UsageError) as caught:
        config.read(Path("x.toml"), Outer, name="given")
    assert str(caught.value) == line


def test_what_the_caller_gives_is_set(home: Path) -> None:
    (home / "x.toml").write_text("day = 2026-01-02\nmixed = 'a'\ninner.must = 1")
    outer = Outer(Inner(1), datetime.date(2026, 1, 2), "a", "given")
    assert config.read(Path("x.toml"), Outer, name="given") == outer


def test_lines_are_those_of_the_keys(home: Path) -> None:
    text = '''# kind = 1
title = """
kind = 2 \\"""
[env]""""
list = [ # ]
  "]", [ '[' ],
]

kind = "a # b"
in.line = { a = 1, "b.c" = { d = "}" } }
[env] # a table
A = "1"
"B.C" = \'\'\'
A = 2\'\'\'
[env.deep.er]
kind = 1
[[tables]]
a = 1
[[tables]]
b = 1
'''
    (home / "x.toml").write_text(text)
    assert tomllib.loads(text)
    expected: dict[config.Key, int | None] = {
        "title": 2,
        "list": 5,
        "kind": 9,
        "in": 10,
        ("in", "line", "b.c", "d"): 10,
        "env": 11,
        ("env", "A"): 12,
        ("env", "B.C"): 13,
        ("env", "deep"): 15,
        ("env", "deep", "er", "kind"): 16,
        "tables": 17,
        ("tables", "b"): 20,
        "A": None,
        "": None,
        (): None,
    }
    assert {key: config.line_of(Path("x.toml"), key) for key in expected} == expected
    assert config.line_of(Path("absent.toml"), "kind") is None
    assert str(config.wrong(Path("x.toml"), ("env", "A"), "no", "yes")) == "x.toml:12: env.A: no (yes)"
    assert str(config.wrong(Path("x.toml"), "", "no")) == "x.toml: no"


# Any file at all.

QUICK = settings(max_examples=150, deadline=None, database=None)
KEY = st.sampled_from([*Profile.__struct_fields__, "env.A", "'slo t'", '"\\u001b"', "[env]\nA", "[x.y]\na", "[[a]]\nb"])
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SCALAR = st.one_of(
    st.booleans().map(lambda value: str(value).lower()),
    st.integers(-(1 << 70), 1 << 70).map(str),
    st.floats().map(str),
    st.sampled_from(
        ["2026-01-01", "07:00:00", "1e999", '"sk-x"', '"~/m"', '"http://a:1"', '"mlx-lm"', '"""\n"""', "{}"]
    ),
    st.builds(lambda text: '"' + "".join(f"\\U{ord(char):08x}" for char in text) + '"', TEXT),
)
VALUE = st.one_of(SCALAR, st.lists(SCALAR, max_size=3).map(lambda items: f"[\n{', '.join(items)}]"))
STATEMENTS = st.lists(st.tuples(KEY, VALUE).map(" = ".join), max_size=6).map("\n".join)


@QUICK
@given(
    st.one_of(TEXT, STATEMENTS, STATEMENTS.map("kind = 'mlx-lm'\n".__add__)).map(str.encode) | st.binary(max_size=40)
)
@example(b"kind = 'mlx-lm'\nmodel = '~'")
@example(b"kind = 'mlx-lm'\naddress = 'http://\xe2\x84\x80:1'")
def test_no_file_whatsoever_is_more_than_one_plain_line(text: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.toml"
        path.write_bytes(text)
        try:
            profile.load(str(path), KINDS)
        except UsageError as error:
            told = str(error)
            assert re.match(r".*x\.toml(:\d+)?: \S", told)
            assert not re.search("[\x00-\x1f\x7f-\x9f\u2028-\u202e]", told)


PIECES = st.sampled_from(
    [
        "# a = [",
        "",
        "{} = '''\n[x]\n'''",
        '{} = """a\\\n"""',
        "{} = [ # ]\n '{{', ]",
        "{} = '\"'",
        "{}.b = 1",
        "{} = {{ c = '#' }}",
    ]
)


@QUICK
@given(st.lists(PIECES, max_size=8), st.sampled_from(["\n", "\r\n"]))
def test_a_line_is_found_whatever_stands_around_it(pieces: list[str], end: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.toml"
        statements = [piece.format(f"key{number}") for number, piece in enumerate(pieces)]
        path.write_bytes("\n".join([*statements, "last = 1"]).replace("\n", end).encode())
        line = 1
        for number, statement in enumerate(statements):
            assert config.line_of(path, f"key{number}") == (line if statement.startswith("key") else None)
            line += statement.count("\n") + 1
        assert config.line_of(path, "last") == line
