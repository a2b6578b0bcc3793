"""Seeded choice and the small vocabulary that the templates of every kind draw from.

The corpus has to come out the same on every platform and Python, so each choice is a hash of the prompt's key and a
counter: `random`'s methods may change between versions, and sets and `hash()` have no fixed order.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

from infertui.scenario.plan import Message

T = TypeVar("T")

# <name>, <name2>: a word of that list, the same one wherever the text says it. <n=3-9>: a number to be said again as
# <n>. <3-9>: a number of its own.
_SLOT = re.compile(r"<(?:([a-z]+)(\d?)(?:=(\d+)-(\d+))?|(\d+)-(\d+))>")


class Draft(NamedTuple):
    """A prompt without its id: the messages and how long the answer may be."""

    messages: tuple[Message, ...]
    max_tokens: int

    @property
    def text(self) -> str:
        return "\n\n".join(message.content for message in self.messages)


class Family(NamedTuple):
    """A template: what it makes is believable from `low` to `high` words."""

    name: str
    low: int
    high: int
    make: Callable[[Draw, int], Draft]


def family(families: list[Family], low: int, high: int) -> Callable[[Callable[[Draw, int], Draft]], None]:
    """Adds the decorated function to `families`. Called with the words wanted, it may miss them a little."""

    def add(make: Callable[[Draw, int], Draft]) -> None:
        families.append(Family(make.__name__, low, high, make))

    return add


def ask(user: str, max_tokens: int, system: str = "") -> Draft:
    """The usual shape: perhaps a system message, then one user message."""
    message = Message("user", user.strip())
    return Draft((Message("system", system.strip()), message) if system else (message,), max_tokens)


def block(text: str) -> list[str]:
    """The entries of a word list, one a line; an indented line goes on with the entry before."""
    entries: list[str] = []
    for line in text.strip("\n").splitlines():
        if line[:1] == " " and entries:
            entries[-1] += " " + line.strip()
        elif line.strip():
            entries.append(line.strip())
    return entries


def length(*texts: str) -> int:
    return sum(len(text.split()) for text in texts)


def money(cents: int) -> str:
    return f"{cents // 100:,}.{cents % 100:02d}"


def clock(minute: int) -> str:
    """A time of day, as 09:05, from minutes after midnight."""
    return f"{minute // 60 % 24:02d}:{minute % 60:02d}"


def listed(items: Iterable[str], mark: str = "-") -> str:
    return "\n".join(f"{mark} {item}" for item in items)


def numbered(items: Iterable[str]) -> str:
    return "\n".join(f"{number}. {item}" for number, item in enumerate(items, 1))


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table as people paste it: columns between bars."""
    lines = [" | ".join(head), " | ".join("---" for _ in head)]
    lines += [" | ".join(str(cell) for cell in row) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


class Draw:
    """Choices that follow from a key alone."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.count = 0

    def below(self, bound: int) -> int:
        self.count += 1
        data = hashlib.blake2b(f"{self.key}:{self.count}".encode(), digest_size=8).digest()
        return int.from_bytes(data, "big") % bound

    def between(self, low: int, high: int, step: int = 1) -> int:
        return low + step * self.below((high - low) // step + 1)

    def chance(self, percent: int) -> bool:
        return self.below(100) < percent

    def one(self, items: Sequence[T]) -> T:
        return items[self.below(len(items))]

    def some(self, items: Sequence[T], count: int) -> list[T]:
        """`count` different items, or all of them if there are fewer, in a drawn order."""
        rest = list(items)
        return [rest.pop(self.below(len(rest))) for _ in range(min(count, len(rest)))]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        return self.some(items, len(items))

    def fill(self, text: str, **given: str) -> str:
        """`text` with its slots filled; `given` fixes some of them."""
        chosen = dict(given)

        def word(match: re.Match[str]) -> str:
            name, digit, low, high, first, last = match.groups()
            if first:
                return str(self.between(int(first), int(last)))
            key = name + digit
            if key not in chosen:
                if low:
                    chosen[key] = str(self.between(int(low), int(high)))
                else:
                    free = [item for item in SLOTS[name] if item not in chosen.values()]
                    chosen[key] = self.fill(self.one(free))
            return chosen[key]

        return _SLOT.sub(word, text)

    def fit(self, words: int, items: Sequence[str], least: int = 1) -> list[str]:
        """Different items, filled, until they have about `words` words; at least `least` of them."""
        taken: list[str] = []
        count = 0
        for item in self.shuffled(items):
            if len(taken) >= least and count + len(item.split()) // 2 >= words:
                break
            taken.append(self.fill(item))
            count += length(taken[-1])
        return taken


def _names(text: str) -> list[str]:
    return [word.strip() for word in text.replace("\n", " ").split(",")]


SLOTS: dict[str, list[str]] = {
    "name": _names("Ana, Ben, Carla, Dev, Elif, Farid, Greta, Hana, Ivo, Jonas, Kofi, Lena, Mira, Noor, Oskar, Priya, "
                   "Quinn, Rosa, Sami, Tove, Uma, Viktor, Wren, Yusuf, Zoe"),
    "svc": _names("checkout, catalog, inventory, search, notifier, ledger, gateway, profile, scheduler, media, "
                  "pricing, reports, sessions, shipping, uploads, webhooks, metrics, imports"),
    "team": _names("platform, payments, mobile, data, web, infrastructure, security, growth, support, logistics"),
    "day": _names("Monday, Tuesday, Wednesday, Thursday, Friday"),
    "month": _names("January, February, March, April, May, June, July, August, September, October, November, December"),
    "host": _names("web-<1-9>, worker-<1-24>, node-<11-48>, db-<1-4>, cache-<1-6>, edge-<1-8>, batch-<1-5>"),
    "ip": ["10.4.<1-30>.<2-250>", "10.12.<1-30>.<2-250>", "192.0.2.<2-250>", "198.51.100.<2-250>"],
    "ver": ["<1-6>.<0-19>.<0-9>", "<1-6>.<0-19>.0"],
    "id": ["<1000-9999>", "<10000-99999>"],
    "hex": ["a<100-999>f<10-99>", "<10-99>c<100-999>e", "b<10-99>d<100-999>", "<100-999>ad<10-99>", "e<1000-9999>f"],
    "town": _names("Northfield, Eastbrook, Millhaven, Stonebridge, Lakewood, Ashford Cross, Westmere, Pine Harbour, "
                   "Redcliff, Oakley, Greyport, Fernhill, Marlow Bay, Highmoor, Sandwick"),
    "item": _names("desk lamp, standing desk, office chair, travel mug, hiking backpack, rain jacket, "
                   "espresso grinder, bike pump, wool blanket, bookshelf, water filter, garden hose, "
                   "board game, yoga mat, phone stand, "
                   "toolbox, winter boots, kitchen scale"),
    "device": _names("laptop, tablet, router, printer, headset, thermostat, smart plug, phone, monitor, keyboard"),
    "room": _names("kitchen, living room, bedroom, hallway, office, bathroom, garage, nursery, attic, guest room"),
    "lang": _names("Python, TypeScript, Go, Rust"),
    "browser": _names("a desktop browser, the phone app, the tablet app, a private window"),
    "feature": _names("bulk export, dark mode, saved filters, offline mode, two-factor login, shared folders, "
                      "calendar sync, custom fields, audit log, guest access, keyboard shortcuts, scheduled reports"),
    "page": _names("settings page, sign-in page, report view, order history, dashboard, profile page, search page"),
    "metric": _names("weekly active users, refund rate, average basket, churn, sign-up conversion, delivery time, "
                     "ticket backlog, gross margin, repeat purchases"),
    "trade": _names("bakery, bicycle workshop, flower shop, printing shop, joinery, dental practice, pottery studio, "
                    "language school, small brewery, veterinary clinic, bookshop, climbing gym"),
    "dish": _names("lentil soup, mushroom risotto, vegetable curry, fish pie, pumpkin bread, bean chilli, "
                   "apple crumble"),
    "crop": _names("tomatoes, carrots, apples, onions, potatoes, pears, cabbages, beans"),
}  # fmt: skip
