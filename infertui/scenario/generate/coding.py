"""Templates of the kind "coding": functions to write, bugs to find, diffs to review, queries, shell, whole files."""

# ruff: noqa: E501  (sentences are easier to read and to change in one piece)

from __future__ import annotations

from infertui.scenario.generate import scenes
from infertui.scenario.generate.draw import Draft, Draw, Family, ask, block, family, length, listed
from infertui.scenario.generate.snippets import BUGS, EDITS, FAILURES, GO, PYTHON, SQL, TYPESCRIPT, imported, named

FAMILIES: list[Family] = []

_PERSONAS = [
    "",
    "",
    "You are a coding assistant. Answer with code first; explain only what is not obvious.",
    "You are a senior engineer. Be brief and exact.",
    "You work in a repository with strict linting. Follow the style of the code you are shown.",
    "You are a coding agent. Return complete files or unified diffs, nothing abbreviated.",
]


def _pose(draw: Draw, text: str, low: int, high: int) -> Draft:
    return ask(text, draw.between(low, high, 64), draw.one(_PERSONAS))


def _fence(code: str, language: str) -> str:
    return f"```{language}\n{code.strip(chr(10))}\n```"


_SPECS = block("""
merge_ranges(ranges): joins overlapping and touching ranges of integers | [(1, 3), (4, 6), (9, <10-20>)] gives [(1, 6), (9, ...)]
parse_duration(text): turns "1h30m", "45s" or "2d" into seconds and rejects everything else | "1h30m" gives 5400
format_bytes(count): a size in powers of 1024 with one decimal, no decimal for plain bytes | 1536 gives "1.5 KiB"
top_words(text, count): the most frequent words, case ignored, ties in alphabetical order | "b a a b c", 2 gives a, b
wrap(text, width): breaks lines at spaces; words longer than width get a line of their own | width <n=8-30>
roman(number): Roman numerals from 1 to 3999 and back | 1994 gives "MCMXCIV"
rate_limiter(limit, seconds): a sliding window that answers whether a call is allowed now | <3-20> calls in <2-60> seconds
flatten(value): nested objects to dotted keys, arrays with their index | {"a": {"b": [1]}} gives {"a.b.0": 1}
chunk(items, size): groups of equal size, the last one may be shorter; size 0 is an error | 7 items, size 3 gives 3, 3, 1
mask(text): hides all but the last <2-4> digits of every number with <8-12> or more digits | keeps spaces and dashes
next_weekday(date, day): the next date after `date` on the given day of the week | never the same date
parse_query(text): a query string to a map of lists; repeated keys keep their order | "a=1&b=2&a=3"
diff_keys(old, new): names of keys that were added, removed or changed, each list sorted | nested maps count as one value
retry(action, attempts, delay): repeats on errors with doubled delays, and raises the last error | at most <3-8> attempts
median(values): without sorting all of them when there are more than a million | even counts give the mean of the two middle ones
toposort(edges): an order of tasks, or the cycle that makes it impossible | [("a", "b"), ("b", "c")]
csv_line(fields): one line with quotes only where they are needed, quotes doubled | 'a"b' and 'c,d'
slug(title): lower case letters, digits and single dashes, at most <30-80> characters, never ending in a dash | "Hello,  World!"
balanced(text): whether (), [] and {} are balanced, ignoring those inside of quotes | 'f("(")' is balanced
lru(size): a cache with get and put in constant time that forgets the least recently used | size <2-64>
split_bill(cents, people): shares that differ by at most one cent and add up exactly | 1000, 3 gives 334, 333, 333
find_gaps(times, minutes): pairs of neighbouring times that lie further apart than `minutes` | times are not sorted
version_key(text): sorts 1.10.0 after 1.9.2 and 2.0.0-rc1 before 2.0.0 | build metadata is ignored
group_by_day(events, offset): events with UTC seconds grouped by local date | offset in minutes, may be negative
""")


@family(FAMILIES, 32, 90)
def function(draw: Draw, words: int) -> Draft:
    what, _, example = draw.fill(draw.one(_SPECS)).partition(" | ")
    language = draw.one(["Python", "TypeScript", "Go", "Rust", "Python", "Java", "Kotlin", "C"])
    name, _, about = what.partition(": ")
    text = f"Write {name} in {language}: {about}. Example: {example}."
    extras = draw.some(block("""
Use the standard library only.
Handle empty input.
State the running time.
Add type annotations and a short comment where the code is not obvious.
Include three tests, one of them for an error.
No regular expressions, please.
It is called about <10-900> thousand times a second, so avoid needless copies.
Input may be up to <2-60> MB.
The code must not change its arguments.
Return an error value instead of throwing.
"""), max(1, (words - 24) // 9))  # fmt: skip
    return _pose(draw, f"{text} {' '.join(draw.fill(extra) for extra in extras)}", 192, 576)


@family(FAMILIES, 60, 210)
def bug(draw: Draw, words: int) -> Draft:
    language, symptom, code = draw.one(BUGS)
    thing = draw.one(scenes.THINGS)
    symptom, shown = named(draw, symptom, thing), _fence(named(draw, code, thing), language)
    since = draw.fill(draw.one(["Since release <ver>", "Reported by <name>", "Seen on <day>", "From ticket <id>"]))
    text = draw.one([
        f"{symptom}\n\n{shown}\n\nFind the bug and fix it.",
        f"This code has a bug. {symptom}\n\n{shown}\n\nExplain it in two sentences and show the corrected lines only.",
        f"{shown}\n\n{symptom} Why? Give a fix and a test that fails without it.",
        f"{since}: {symptom}\n\n{shown}\n\nWhat is wrong, and is there more of that sort in this piece of code?",
    ])  # fmt: skip
    return _pose(draw, text, 160, 512)


_SHELL = block("""
finds the <5-30> largest files below a folder and prints size and path, also for names with spaces
renames all *.jpeg files in the current folder to *.jpg without overwriting anything
counts the requests for each status code in access.log; the code is the ninth field
deletes local git branches that were merged into main, except main itself and the current one
waits until port <3000-9000> answers, for at most <10-90> seconds, and fails otherwise
prints the lines of a.txt that are not in b.txt, without sorting the output
restarts a container when its memory is above <200-900> MB, and writes a line to a log each time
makes a compressed backup of a folder with the date in its name and keeps the latest <3-14>
replaces a version number in three files and refuses to if the working tree is not clean
shows which process listens on a port and since when
splits a CSV of <2-40> million lines into parts of 100,000 lines, each with the header
runs a command for every line of a list, <2-8> at a time, and reports which ones failed
sums the third column of all *.tsv files, one total for each file and one for all
watches a folder and runs the tests when a file has changed, at most once in <2-10> seconds
extracts the names of all failed tests from a JUnit XML file
""")


@family(FAMILIES, 28, 70)
def shell(draw: Draw, words: int) -> Draft:
    where = draw.one(
        ["bash", "a POSIX shell", "bash on Linux and macOS", "bash with set -euo pipefail", "zsh", "PowerShell"]
    )
    text = draw.fill(draw.one([
        f"Write a script for {where} that {draw.one(_SHELL)}.", f"I need one line for {where} which {draw.one(_SHELL)}.",
        f"Using {where}: a command that {draw.one(_SHELL)}.",
    ]))  # fmt: skip
    extras = draw.some([
        "Explain the options you use.", "It has to stop at the first error.", "No tools beyond coreutils, awk and sed.",
        "Add a dry-run switch.", "Quote everything that needs it.", "Print usage when an argument is missing.",
    ], max(1, (words - 25) // 7))  # fmt: skip
    return _pose(draw, f"{text} {' '.join(extras)}", 128, 384)


@family(FAMILIES, 28, 75)
def pattern(draw: Draw, words: int) -> Draft:
    what, yes, no = draw.one([entry.split(" | ") for entry in block("""
dates such as 2024-02-29 with a plausible month and day | 2031-12-01, 1999-01-31 | 2024-13-01, 2024-1-1
log levels at the start of a line, after an optional time | 12:00:01 WARN x, ERROR y | xWARN, INFORM
versions with an optional pre-release part | 1.0.0, 2.11.3-rc.1 | 1.0, 01.2.3
order numbers such as AB-12345 with two capitals and five to seven digits | AB-12345, XY-1234567 | ab-12345, AB-1234
hex colours with three or six digits | #fff, #09AFaf | #ffff, fff
quoted strings with escaped quotes inside | "a", "a \\" b" | "a, a"
times on a 24 hour clock with optional seconds | 00:00, 23:59:59 | 24:00, 7:30
names of environment variables in ${...} | ${HOME}, ${A_1} | $HOME, ${1A}
lines with trailing white space but not empty ones | 'abc ', 'a\\t' | 'abc', ''
Markdown links with text and address | [a](b), [a b](https://example.com) | [a] (b), ![a](b)
amounts with thousands separators and two decimals | 1,234.50, 0.99 | 1234.5, 1,23.00
""")])  # fmt: skip
    flavour = draw.one(["Python's re", "JavaScript", "Go's regexp", "grep -E", "Rust's regex crate", "a PCRE engine"])
    closing = draw.one([
        "Explain each part.", "Use named groups.", "Which strings would a simpler pattern get wrong?", "Keep it readable.",
        "Say what it does not check.", "Add five more cases for a test.",
    ])  # fmt: skip
    return _pose(draw, f"Write a regular expression for {flavour} that matches {what}. It matches {yes} and does not match {no}. "
                       f"{closing}", 128, 320)  # fmt: skip


@family(FAMILIES, 90, 420)
def trace(draw: Draw, words: int) -> Draft:
    language, report = draw.one(FAILURES)
    text = named(draw, draw.fill(report))
    around = words - length(text) - 35
    if around > 50:
        story = draw.fill(draw.one([
            "It happens about once in <20-900> calls, never on my machine.", "Only since the upgrade to <ver>.",
            "It started after <name> switched <feature> on.", "Only on <host>, all others are fine.",
        ]))  # fmt: skip
        text = f"{scenes.log(draw, around)}\n{text}"
    else:
        story = ""
    question = draw.one([
        "What does this tell us, and where would you look first?", "Explain the error to somebody new to the language.",
        "Which line is ours, and what is the smallest fix?", "Give two likely causes and a way to tell them apart.",
    ])  # fmt: skip
    return _pose(
        draw,
        f"{f'Our {language} service stopped with this. {story}'.strip()}\n\n{_fence(text, '')}\n\n{question}",
        160,
        448,
    )


@family(FAMILIES, 60, 260)
def convert(draw: Draw, words: int) -> Draft:
    bank, language, fence = draw.one([(PYTHON, "Python", "python"), (TYPESCRIPT, "TypeScript", "ts"), (GO, "Go", "go")])
    target = draw.one([name for name in ("Python", "TypeScript", "Go", "Rust", "Java", "C#") if name != language])
    code = _source(draw, words - 30, bank)
    keep = draw.one([
        "Keep names and behaviour, including what happens on errors.", "Use what is idiomatic in the target language.",
        "Point out where the two languages force a difference.", "No third-party packages.",
        "Keep the public interface so that callers can be converted later.",
    ])  # fmt: skip
    return _pose(draw, f"Convert this {language} code to {target}. {keep}\n\n{_fence(code, fence)}", 192, 704)


def _source(draw: Draw, words: int, bank: list[str], things: list[str] | None = None, must: str = "") -> str:
    """Modules of about `words` words. The first one has the function in whose text `must` occurs."""
    modules: list[str] = []
    count = 0
    for thing in things or draw.shuffled(scenes.THINGS):
        head, *rest = bank
        count += length(head)
        chosen = [part for part in rest if must and not modules and must in part][:1]
        for part in [*chosen, *draw.shuffled([part for part in rest if part not in chosen])]:
            if part not in chosen:
                if count + length(part) // 2 >= words and (chosen or modules):
                    break
                chosen.append(part)
            count += length(part)
        methods = [part for part in chosen if part.startswith("    ")]
        others = [part for part in chosen if not part.startswith("    ")]
        body = "\n\n".join([head, *draw.shuffled(methods)])
        code = ("\n\n\n" if bank is PYTHON else "\n\n").join([body, *draw.shuffled(others)])
        modules.append(named(draw, imported(code), thing))
        if count + 40 >= words:
            break
    return "\n\n\n".join(modules)


def _files(draw: Draw, words: int, bank: list[str], ending: str) -> str:
    """Several files, as an agent sees them after it has opened them."""
    shown: list[str] = []
    count = 0
    for thing in draw.shuffled(scenes.THINGS):
        code = _source(draw, words - count, bank, [thing])
        shown.append(f"=== src/{thing}s.{ending} ===\n{code}")
        count += length(shown[-1])
        if count >= words - 40:
            break
    return "\n\n".join(shown)


@family(FAMILIES, 110, 1400)
def refactor(draw: Draw, words: int) -> Draft:
    bank, fence = draw.one([(PYTHON, "py"), (PYTHON, "py"), (TYPESCRIPT, "ts"), (GO, "go")])
    wish = draw.fill(draw.one(block("""
Read these files. Where is the same thing done in two ways, and which one should stay? Show the change as a diff.
Add paging with a cursor to everything that lists records. Keep callers working that do not know of it.
Errors are handled differently from place to place. Propose one way and change the first file accordingly.
Money is kept as integers of cents. Find every place that could lose or add a cent and correct it.
Add a field `archived_at` and leave archived records out of all lists and sums unless asked for. Return the changed functions.
Write tests for the functions that have branches. Use small records that are easy to check by hand.
Review this as if it were a pull request: the <2-4> most important remarks first, each with the line it is about.
Which functions have side effects? Separate them from those that only compute, with as few changes as possible.
We want to keep records in a database later. Introduce the smallest interface that makes this possible.
Document the public functions: one sentence each, and the conditions under which they fail.
These calls get slow with <20-900> thousand records. Find what is quadratic and improve it without a new dependency.
""")))  # fmt: skip
    return _pose(draw, f"{wish}\n\n{_files(draw, words - length(wish), bank, fence)}", 256, 768)


@family(FAMILIES, 70, 260)
def tests(draw: Draw, words: int) -> Draft:
    bank, fence, tool = draw.one([
        (PYTHON, "python", "pytest"), (TYPESCRIPT, "ts", "a common test runner"), (GO, "go", "the testing package"),
    ])  # fmt: skip
    wish = draw.one([
        f"Write tests for this with {tool}. Cover the edges, and name each test after what it shows.",
        f"Which cases would you test here? List them, then write the three most valuable ones with {tool}.",
        f"Write a table of cases and one test that runs through it, using {tool}.",
        f"The tests of this code pass although it has a weak point. Find it and write a failing test with {tool}.",
    ])  # fmt: skip
    return _pose(draw, f"{wish}\n\n{_fence(_source(draw, words - 35, bank), fence)}", 256, 704)


@family(FAMILIES, 100, 700)
def review(draw: Draw, words: int) -> Draft:
    """A diff in which some lines are taken out and others come in."""
    bank, ending = draw.one([(PYTHON, "py"), (TYPESCRIPT, "ts"), (GO, "go")])
    hunks: list[str] = []
    count = 0
    able = [part for part in bank[1:] if any(old in part for old, _ in EDITS)]
    for thing in draw.shuffled(scenes.THINGS):
        if hunks and count >= words - 60:
            break
        code = draw.one(able)
        lines: list[str] = []
        for line in code.splitlines():
            new = next((line.replace(old, to) for old, to in EDITS if old in line), line)
            lines += [f" {line}"] if new == line else [f"-{line}", f"+{new}"]
        if draw.chance(60):
            added = draw.one([part for part in bank[1:] if part != code and part[:4] == code[:4]] or [code])
            if added != code:
                lines += ["+", *(f"+{line}" for line in added.splitlines())]
        start = draw.between(8, 180)
        old_count = sum(not line.startswith("+") for line in lines)
        new_count = sum(not line.startswith("-") for line in lines)
        hunk = [
            f"--- a/src/things.{ending}",
            f"+++ b/src/things.{ending}",
            f"@@ -{start},{old_count} +{start},{new_count} @@",
        ]
        hunks.append(named(draw, "\n".join([*hunk, *lines]), thing))
        count += length(hunks[-1])
    wish = draw.one([
        "Review this change. Say what could break, ordered by severity.",
        "Write a commit message: a subject of at most 60 characters and two or three lines on why.",
        "Would you approve this? Ask up to three questions to the author.",
        "Summarize the change for the release notes in one sentence, then list what should be tested by hand.",
        "Which lines deserve a comment in the review? Quote each and write the comment.",
    ])  # fmt: skip
    return _pose(draw, f"{wish}\n\n{_fence(chr(10).join(hunks), 'diff')}", 192, 576)


_QUERIES = block("""
the total for each month of the last year, months without any record shown as 0
the <3-10> owners with the highest total, and the share of each in the whole
records whose total is above the average of their owner
the first and the latest record of every owner in one row
pairs of records of the same owner made within <2-30> minutes of each other
owners with records in <month> but none since
the median time between opening and closing, by month
for each state how many records are in it and how long the oldest has been
a running total by owner, in order of time
owners whose total fell by more than <10-50>% from one quarter to the next
all records that refer to a parent which does not exist
""")


@family(FAMILIES, 90, 800)
def query(draw: Draw, words: int) -> Draft:
    dialect = draw.one(["PostgreSQL", "SQLite", "MySQL 8", "standard SQL"])
    things = draw.some(scenes.THINGS, max(1, min(9, (words - 50) // 62)))
    schema = "\n\n".join(named(draw, draw.one(SQL), thing) for thing in things)
    thing = things[0]
    wish = named(draw, draw.fill(f"Write a query for {dialect} on things: {draw.one(_QUERIES)}."), thing)
    closing = draw.one([
        "Explain the joins.", "Which index would help?", "It has to work with some ten million rows.",
        "Use no vendor functions where it can be avoided.", "Give a second version without window functions.", "",
    ])  # fmt: skip
    rows = ""
    if words > 220:
        head = named(draw, "id | owner_id | state | total_cents | created_at", thing)
        lines = [
            draw.fill(f"{1000 + index} | <11-49> | {draw.one(['draft', 'open', 'closed', 'void'])} | <500-90000> | "
                      "2024-0<1-9>-<10-28> <10-21>:<10-59>") for index in range(min(24, (words - 160) // 12))
        ]  # fmt: skip
        rows = f"Some rows of {thing}s:\n\n{head}\n" + "\n".join(lines) + "\n\n"
    return _pose(draw, f"{_fence(schema, 'sql')}\n\n{rows}{wish} {closing}", 128, 448)


@family(FAMILIES, 140, 1500)
def client(draw: Draw, words: int) -> Draft:
    thing = draw.one(scenes.THINGS)
    wish = draw.fill(draw.one([
        f"Write a small <lang> client for {thing}s from this description. Calls that may be repeated are repeated on 429 and "
        "5xx, all others are not.",
        f"Write a <lang> function that copies all {thing}s changed since yesterday into a local SQLite file. It can be "
        "stopped and started again at any point.",
        f"Write a command line program in <lang> that closes all open {thing}s older than <30-400> days, with a dry run.",
        f"Write a fake server in <lang> for tests that behaves as described for {thing}s, with everything kept in memory.",
        f"Write types or classes in <lang> for {thing}s and a function that checks a JSON document against them.",
        f"Which parts of this description are ambiguous for somebody who works with {thing}s? Write <lang> code that is safe "
        "under both readings of the most dangerous one.",
    ]))  # fmt: skip
    text = scenes.api(draw, words - length(wish), thing)
    return _pose(draw, f"{text}\n\n---\n\n{wish}", 320, 768)


@family(FAMILIES, 45, 150)
def config(draw: Draw, words: int) -> Draft:
    what = draw.fill(draw.one(block("""
a Dockerfile for a <lang> service that listens on port <3000-9000>, with a small final image and without root
a CI workflow that tests on Linux and macOS, caches dependencies and publishes only from tags
a Makefile with targets for format, lint, test and clean, which says what it does when called without arguments
an nginx block that sends /api to a service on port <3000-9000> and everything else to static files
a systemd unit that restarts a program after <3-30> seconds, but gives up after five failures in ten minutes
a compose file with a web service, a queue worker and a database whose data survives a restart
a pre-commit configuration with a formatter, a check for large files and one for secrets
a Kubernetes deployment with <2-6> replicas, probes and limits of <200-900> MiB, and the service for it
a logrotate entry for files that grow by <100-900> MB a day, with <7-30> days kept
a JSON schema for a settings file with a port, a list of origins and a log level
a crontab for a backup at <1-4>:15, a report on the first of the month and a check every <5-20> minutes
""")))  # fmt: skip
    needs = draw.fit(words - 32, block("""
The build has to work without network after the dependencies have been fetched.
Secrets come from the environment and never end up in a layer or a log.
It has to run on x86 and on ARM.
A check every <10-60> seconds tells whether it is healthy; starting takes up to <20-90> seconds.
Comments should tell a newcomer why a line is there.
Time zone is UTC everywhere.
Nothing may be downloaded from `latest`; versions are pinned.
A second copy can run on the same machine with another port.
Stopping has to leave <5-40> seconds for requests that are under way.
Only files that are needed are copied.
The same file is used on laptops, so defaults must be harmless.
"""), least=2)  # fmt: skip
    return _pose(draw, f"Write {what}. Conditions:\n{listed(needs)}", 192, 512)


@family(FAMILIES, 120, 1400)
def agent_step(draw: Draw, words: int) -> Draft:
    """A coding agent in the middle of its work: the issue, what it has opened, and what is to be returned."""
    bank, ending = draw.one([(PYTHON, "py"), (TYPESCRIPT, "ts"), (GO, "go")])
    thing = draw.one(scenes.THINGS)
    issue = named(draw, draw.fill(draw.one([
        "Title: list of things is not stable\nTwo calls within a second give another order when totals are equal. Users see "
        "rows jump. Expected: equal totals are ordered by id.",
        "Title: closing a thing twice should not be an error\nThe mobile app repeats calls on bad networks. The second call "
        "fails and shows a red banner, although all is well.",
        "Title: void things are counted\nThe total on the dashboard is <2-19>% higher than in the books. It looks as if void "
        "things were counted in the sums.",
        "Title: import stops at the first bad line\nA file of <300-9000> lines had one empty amount and nothing was imported. "
        "Expected: good lines are imported, bad ones are reported with their number.",
        "Title: search ignores accents\nLooking for \"Zurich\" does not find \"Zürich\", nor does \"cafe\" find \"café\". "
        "Expected: both ways, in notes and in tags.",
    ])), thing)  # fmt: skip
    others = draw.some([name for name in scenes.THINGS if name != thing], 4)
    tree = "\n".join(
        f"src/{name}s.{ending}" for name in sorted([thing, *others])
    ) + f"\ntests/{thing}s_test.{ending}\nREADME.md"  # fmt: skip
    closing = draw.one([
        "Return a unified diff and nothing else.", "Think about where the cause is, then return the changed functions.",
        "Which of these files has to change? Give the new code and one test.",
        "Plan the change in at most five steps. Do not write code yet.",
    ])  # fmt: skip
    code = _source(draw, words - length(issue, tree, closing) - 15, bank, [thing, *others])
    return _pose(draw, f"Issue {draw.fill('<100-999>')}\n{issue}\n\nFiles:\n{tree}\n\nOpened so far:\n\n{_fence(code, ending)}\n\n"
                       f"{closing}", 256, 768)  # fmt: skip


@family(FAMILIES, 100, 900)
def failing(draw: Draw, words: int) -> Draft:
    """The code and the report of a failing test."""
    thing = draw.one(scenes.THINGS)
    expected = draw.between(1200, 90000)
    report = named(draw, draw.one([
        f"    def test_total_leaves_out_void_things():\n        store = store_with(draft={expected}, void=500)\n>       assert "
        f"store.total() == {expected}\nE       assert {expected + 500} == {expected}\n\ntests/test_things.py:{draw.between(20, 190)}: "
        "AssertionError",
        "    def test_closing_twice_is_harmless():\n        store = store_with(open=100)\n        store.close('t1')\n>       "
        f"store.close('t1')\nE       ValueError: thing t1 is not open\n\nsrc/things.py:{draw.between(20, 190)}: ValueError",
        f"    def test_average_of_nothing_is_zero():\n        store = store_with()\n>       assert store.average() == 0\nE       "
        f"ZeroDivisionError: integer division or modulo by zero\n\nsrc/things.py:{draw.between(20, 190)}: ZeroDivisionError",
        "    def test_oldest_first():\n        store = store_with(open=1, draft=2)\n>       assert [t.id for t in "
        "store.newest(2)] == ['t2', 't1']\nE       AssertionError: assert ['t1', 't2'] == ['t2', 't1']\n\n"
        f"tests/test_things.py:{draw.between(20, 190)}: AssertionError",
    ]), thing)  # fmt: skip
    closing = draw.one([
        "Fix the code, not the test.", "Is the test right or the code? Decide, then change the wrong one.",
        "Explain the failure and give the smallest change that makes the test pass.",
    ])  # fmt: skip
    must = next(name for name in ("total", "closing", "average", "oldest") if f"test_{name}" in report)
    function = {"total": "def total", "closing": "def close", "average": "def average", "oldest": "def newest"}[must]
    names = [thing, *(name for name in scenes.THINGS if name != thing)]
    code = _source(draw, words - length(report) - 20, PYTHON, names, function)
    return _pose(draw, f"{_fence(code, 'python')}\n\nThe test run says:\n\n{_fence(report, '')}\n\n{closing}", 160, 512)


_WIDE = [
    "Write a {lang} function that shortens a text to {n} visible characters without cutting an emoji such as 👩‍🚀 or 🇨🇭 in half, and "
    'appends “…” when something was cut. Show it for "Grüße aus Zürich 🏔️".',
    "Sort the names Ångström, Zoë, Émile, Øyvind, Żaneta and Anders in {lang} as people expect in {place}. Explain why comparing code "
    "points is not enough.",
    'In {lang}, write fold(text) so that "straße", "STRASSE" and "Straße" are equal, and so are "é" as one and as two code '
    "points. At most {n} lines, with tests.",
    "Draw a bar chart in the terminal with {lang} from a list of labels and numbers, using █ and ▏▎▍▌▋▊▉ for the last cell. Width: {n} "
    "columns. Labels may be Chinese (東京, 大阪) and take two columns per sign.",
    'Parse prices in {lang}: "1.234,50 €", "€1,234.50", "1 234,50 €" (narrow space) and "¥{n}000" become integers of the smallest '
    "unit. Reject what is ambiguous and say why.",
]


@family(FAMILIES, 30, 75)
def any_script(draw: Draw, words: int) -> Draft:
    text = draw.one(_WIDE).format(
        lang=draw.one(["Python", "TypeScript", "Go", "Rust"]),
        n=draw.between(12, 60),
        place=draw.one(["Swedish", "French", "Polish"]),
    )
    return _pose(draw, text, 192, 512)
