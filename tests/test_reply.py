"""What is wrong with a reply: fast nonsense is found, and fair text of all kinds passes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infertui.metric import CallRecord
from infertui.reply import Flag, flags, run_flags, said, shares, warning, worst

FAIR = {
    "a label": "coding",
    "a short answer": "No. The second one is cheaper.",
    "a number": "42",
    "json label": '{"route": "coding", "confidence": 0.93}',
    "prose": (
        "A server that handles one request at a time makes everybody else wait, so the time to the first token grows "
        "with the number of callers. A server with several slots batches them: each stream gets a little slower, and "
        "all of them together get much faster. Which of the two is better depends on how many agents you run, and on "
        "how long a person is willing to look at an empty line before the first word appears."
    ),
    "steps": "\n".join(
        f"{n}. {verb} the {thing} and write down what you see."
        for n, (verb, thing) in enumerate(
            [("Stop", "server"), ("Clear", "cache"), ("Start", "server"), ("Send", "prompt"), ("Read", "log")], 1
        )
    ),
    "code": """def merge(left: list[int], right: list[int]) -> list[int]:
    result = []
    i = j = 0
    while i < len(left) and j < len(right):
        if left[i] <= right[j]:
            result.append(left[i])
            i += 1
        else:
            result.append(right[j])
            j += 1
    result.extend(left[i:])
    result.extend(right[j:])
    return result
""",
    "code with repeated lines": """int main(void) {
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < n; j++) {
            for (int k = 0; k < n; k++) {
                if (a[i][j] > b[j][k]) {
                    printf("found\\n");
                    break;
                }
            }
        }
    }
    printf("\\n");
    printf("\\n");
    printf("\\n");
    free(a);
    free(b);
    return 0;
}
""",
    "the old code and the new": (
        "The bug is the comparison.\n```python\ndef first(values):\n    for value in values:\n        if value is 0:\n"
        "            continue\n        return value\n    raise LookupError('nothing in it')\n```\nIt has to be:\n"
        "```python\ndef first(values):\n    for value in values:\n        if value == 0:\n            continue\n"
        "        return value\n    raise LookupError('nothing in it')\n```\n"
    ),
    "tests": "\n".join(f"    assert fib({n}) == {v}" for n, v in enumerate([0, 1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89])),
    "a matrix in code": (
        "board = [\n" + "    [0, 0, 0, 0, 0, 0],\n" * 4 + "]\n\ndef place(row, column):\n    board[row][column] = 1\n"
        "    for other in range(6):\n        if other != row and board[other][column]:\n            return False\n"
        "    return True\n\nprint('there are', sum(place(n, n) for n in range(4)), 'queens on it')\n"
    ),
    "markdown table": (
        "| Server | Streams | Usage | Slots |\n|---|---|---|---|\n| llama-server | yes | yes | 4 |\n"
        "| mlx-lm | yes | yes | – |\n| Ollama | yes | yes | 1 |\n| vLLM | yes | yes | 256 |\n"
        "| LM Studio | yes | no | 1 |\n"
        "| MAX | yes | yes | 64 |\n"
    ),
    "table of yes": "| case | a | b | c |\n|------|---|---|---|\n"
    + "".join(f"| {name} | yes | yes | yes |\n" for name in ("one", "two", "three", "four", "five", "six", "seven")),
    "frame": (
        "+----------------------+----------+\n| name                 | value    |\n"
        "+----------------------+----------+\n"
        "| time to first token  | 19.8 ms  |\n| end to end           | 130.0 ms |\n"
        "| decode speed         | 2,779    |\n"
        "+----------------------+----------+\n"
    ),
    "wide rule": "Result\n"
    + "=" * 120
    + "\n"
    + "The first of them wins by a small margin, and the third is out.\n" * 1,
    "json list": "["
    + ", ".join(
        f'{{"id": {n}, "name": "{name}", "ready": true, "slots": {n % 4 + 1}}}'
        for n, name in enumerate(("ada", "bob", "cyd", "dan", "eve", "fay", "gus", "hal", "ivy", "jon"), 1)
    )
    + "]",
    "csv": "day,calls,errors\n" + "".join(f"2026-03-{n:02},{n * 37 % 101},{n * 7 % 5}\n" for n in range(1, 25)),
    "numbers": ", ".join(str(n * n) for n in range(1, 60)),
    "primes with words": " ".join(f"{n} is prime," for n in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47)),
    "poem with a refrain": (
        "The lamps are lit along the quay,\nand all the boats are home but one;\nO bring my sailor back to me,\n"
        "before the turning of the sun.\n\nThe gulls have gone beyond the bay,\nthe nets are dry, the work is done;\n"
        "O bring my sailor back to me,\nbefore the turning of the sun.\n\nThe tide has washed the steps away,\n"
        "the fishermen sleep one by one;\nO bring my sailor back to me,\nbefore the turning of the sun.\n"
    ),
    "song": (
        "Row, row, row your boat,\ngently down the stream.\nMerrily, merrily, merrily, merrily,\nlife is but a dream.\n"
        "Row, row, row your boat,\ngently down the brook.\nIf you see a little fish,\nlet it off the hook.\n"
    ),
    "Chinese": (
        "首个词元的延迟取决于提示的长度和服务器的负载。如果服务器一次只处理一个请求，其他人就必须等待。"
        "批处理可以让多个请求同时进行，但每个请求会稍微慢一些。因此，选择服务器时应该考虑同时运行的代理数量。"
    ),
    "Japanese with Latin words": (
        "PythonでAPIを呼び出すときは、HTTPのタイムアウトを必ず設定してください。サーバーが応答しない場合、"
        "プログラムは永遠に待ち続けます。httpxならtimeout引数で指定できます。JSONの解析にはmsgspecが速いです。"
    ),
    "Russian": (
        "Сервер, который обрабатывает запросы по одному, заставляет всех остальных ждать. Время до первого "
        "токена растёт вместе с числом клиентов, а общая скорость почти не меняется. "
        "API сервера при этом остаётся тем же."
    ),
    "Arabic": "الخادم الذي يعالج طلبا واحدا في كل مرة يجعل الجميع ينتظرون، ويزداد زمن أول رمز مع عدد العملاء.",
    "German": "Der Server beantwortet Anfragen nacheinander; »große« Prompts ändern nichts. Für Übergrößen auch.",
    "greetings": "Hello, bonjour, hola, Привет, こんにちは, 你好, مرحبا, שלום, नमस्ते, 안녕하세요, γεια σου, olá!",
    "formulas": "With λ = 3 and μ₁ = 5 the load is ρ = λ/μ₁ = 0.6, so Lq = ρ²/(1−ρ) = 0.9, Wq = Lq/λ = 0.3 s.",
    "emoji": "Done ✅ The build passed 🎉👩\u200d💻 and the release is out 🚀🚀🚀 – thanks to all who helped! 🙏🏽",
    "shell": "$ ls -la --color=never ./*.db | awk '{print $5, $9}' | sort -n\n$ git log -n 5 && git status -s\n",
    "a path list": "\n".join(f"/usr/lib/python3/dist-packages/package_{name}/__init__.py" for name in "abcdefghij"),
    "a hash": "The checksum is 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 as printed above.",
    "a tool call": 'get_weather{"city": "Köln", "unit": "celsius"}',
    "regex": r"^(?:[a-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*|\"[^\"]+\")@[a-z0-9.-]+$",
}

LOOPS = {
    "one word": "the " * 60,
    "one word cut in its middle": "nothing " * 40 + "noth",
    "a phrase at the end": FAIR["prose"] + " and so on and on" * 30,
    "a sentence": "I am sorry, I cannot help with that. " * 12,
    "a sentence after a start": "Here is the plan for your server. " + "First, restart the server. " * 20,
    "two lines in turn": "Yes, that is right.\nNo, that is wrong.\n" * 15,
    "signs": "!" * 300,
    "rules": "=" * 300,
    "without blanks": "ha" * 120,
    "Chinese": "我不知道。" * 20,
    "a paragraph twice": 2 * (FAIR["prose"] + "\n\n"),
    "code": "    x = x + 1\n    y = y - 1\n" * 25,
    "zeros alone": "0, " * 100,
    "a loop and then words": "and then it was there " * 30
    + "until it was not, which is how all of this came to its end.",
    "phrases in any order": " ".join(
        ("i am here with you now", "we are all in this place", "it is the way of things")[(n * n + n // 3) % 3]
        for n in range(60)
    ),
}

GARBLED = {
    "undecodable": "The \ufffd\ufffd server \ufffd answers \ufffd\ufffd\ufffd slowly",
    "controls": "ok\x00\x01\x02 then\x07 \x1b[2J more",
    "private": "a \ue000\ue001\ue002 b",
    "raw tokens": "TheĠserverĠanswersĠslowlyĠandĠthen",
    "raw pieces": "▁The▁server▁answers▁slowly",
    "raw bytes": "<0xE2><0x80><0x99> it is",
    "wrong encoding": "Itâ€™s a cafÃ© and itâ€™s Ã¼ber",
    "alphabets in words": "thе serвer ansшers qиickly anд wiтh moяe woрds thaн noт aнd",
}


def kinds(text: str, finish: str = "stop", thought: str = "", n_output: int | None = None) -> list[str]:
    return [flag.kind for flag in flags(text, thought, finish, n_output)]


@pytest.mark.parametrize("name", FAIR)
def test_fair_text_passes(name: str) -> None:
    assert flags(FAIR[name], "", "stop", None) == ()
    assert flags(FAIR[name], "I think.", "stop", 3 * len(FAIR[name])) == ()


@pytest.mark.parametrize("name", FAIR)
def test_a_fair_text_that_was_cut_is_only_cut(name: str) -> None:
    text = FAIR[name]
    for end in range(1, len(text), 7):
        assert kinds(text[:end], "length") in (["cut"], ["empty", "cut"]), text[:end]


@pytest.mark.parametrize("name", LOOPS)
def test_loops_are_found(name: str) -> None:
    assert kinds(LOOPS[name]) == ["looping"]


@pytest.mark.parametrize("name", GARBLED)
def test_what_is_no_text_is_found(name: str) -> None:
    assert kinds(GARBLED[name]) == ["garbled"]


def test_the_reason_names_the_phrase() -> None:
    (flag,) = flags("Yes and no. " * 30, "", "stop", None)
    assert flag == Flag("looping", "it repeats `yes and no .`")


def test_the_reason_is_safe_to_show() -> None:
    (flag, *_) = flags("go \x1b[2J " * 60, "", "stop", None)
    assert "\x1b" not in flag.why


@pytest.mark.parametrize(
    ("text", "thought", "n_output", "why"),
    [
        ("", "", None, "no text"),
        (" \n\t", "", 0, "no text"),
        ("\u200b\u2060", "", 7, "no text, though 7 tokens are counted"),
        ("", "Let me see.", 20, "no answer, only a thought"),
    ],
)
def test_a_reply_without_visible_text_is_empty(text: str, thought: str, n_output: int | None, why: str) -> None:
    assert flags(text, thought, "stop", n_output) == (Flag("empty", why),)


def test_half_a_character_at_the_end_of_a_cut_text_is_fair() -> None:
    assert kinds("It costs 5 \ufffd\ufffd", "length") == ["cut"]
    assert kinds("\ufffd") == []  # nothing else is there to judge it by


@pytest.mark.parametrize("finish", ["length", "limit"])
def test_an_end_at_the_limit_is_said_and_no_fault(finish: str) -> None:
    (flag,) = flags("A fair start of", "", finish, 4)
    assert flag.kind == "cut"
    assert worst((flag,)) is None
    assert shares([(flag,), ()]) == {"fine": 2}


def test_short_answers_are_never_loops() -> None:
    for text in ("no no no", "yes " * 10, "ha" * 20, "a, a, a, a"):
        assert kinds(text) == []


def test_shares_count_each_reply_once() -> None:
    loop, garbled, empty = Flag("looping", ""), Flag("garbled", ""), Flag("empty", "")
    counts = shares([(), (loop,), (loop, garbled), (garbled,), (empty,), ()])
    assert counts == {"fine": 2, "empty": 1, "looping": 2, "garbled": 1}
    assert said(counts) == "2 fine, 1 empty, 2 looping, 1 garbled"


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"fine": 12}, ""),
        ({}, ""),
        ({"fine": 10, "looping": 2}, "2 of 12 replies of B loop: their speed says little"),
        ({"fine": 11, "garbled": 1}, "1 of 12 replies of B is garbled: their speed says little"),
        ({"empty": 1, "looping": 2}, "1 of 3 replies of B is empty, 2 loop: their speed says little"),
    ],
)
def test_a_run_with_flagged_replies_is_warned_of(counts: dict[str, int], expected: str) -> None:
    assert warning(counts, "B") == expected


def call(name: str, role: str = "measured", outcome: str = "ok") -> CallRecord:
    asked = {"round": 1, "lane": 0, "kind": "router", "prompt_id": "p", "prompt_hash": "h", "max_tokens": 8}
    return CallRecord(name=name, role=role, outcome=outcome, sched_ns=0, finish="stop", n_output=8, **asked)  # type: ignore[arg-type]


def test_only_measured_replies_that_came_well_are_judged() -> None:
    found = run_flags(
        [
            (call("warmup-001", role="warmup"), "", ""),
            (call("r1-001"), "fine", ""),
            (call("r1-002"), "", "hm"),
            (call("r1-003", outcome="reset"), "", ""),
        ]
    )
    assert found == {"r1-001": (), "r1-002": (Flag("empty", "no answer, only a thought"),)}


@given(st.text(), st.text(max_size=20), st.one_of(st.none(), st.integers(0, 10**6)))
def test_any_text_can_be_judged(text: str, thought: str, n_output: int | None) -> None:
    for flag in flags(text, thought, "stop", n_output):
        assert flag.why.isprintable()
