"""Source code that the coding prompts embed. `Thing`, `thing` and `things` stand for the record it is about."""

from __future__ import annotations

import re

from infertui.scenario.generate.draw import Draw
from infertui.scenario.generate.scenes import THINGS

# Whose record it is, by kind of record, so that two modules do not look alike in everything.
_OWNER = {
    "invoice": "customer", "shipment": "carrier", "booking": "guest", "quote": "client", "ticket": "reporter",
    "voucher": "buyer", "asset": "holder", "contract": "partner", "repair": "workshop", "rental": "tenant",
}  # fmt: skip
_NOTE = {"booking": "remark", "ticket": "text", "asset": "label", "repair": "finding", "quote": "comment"}


def named(draw: Draw, code: str, thing: str = "") -> str:
    """`code` about one kind of record, a drawn one unless it is given."""
    thing = thing or draw.one(THINGS)
    article = "an" if thing[0] in "aeiou" else "a"
    code = re.sub(r"\ba thing\b", f"{article} thing", code.strip("\n"))
    for word, other in (("thing", thing), ("owner", _OWNER[thing]), ("note", _NOTE.get(thing, "note"))):
        code = re.sub(f"(?<![a-z]){word}(?=s?(?![a-z]))", other, code)
        code = re.sub(f"(?<![A-Z]){word.capitalize()}(?=s?(?![a-z]))", other.capitalize(), code)
    return code


def imported(code: str) -> str:
    """`code` with the imports that it needs, since it has some of the functions of its module only."""
    if "asyncio." in code:
        code = f"import asyncio\n{code}"
    unused = [f'\t"{name}"\n' for name in re.findall(r'^\t"(\w+)"$', code, re.M) if f"{name}." not in code]
    return "".join(line for line in code.splitlines(keepends=True) if line not in unused)


def _parts(text: str) -> list[str]:
    return [part.strip("\n") for part in text.split("\n%%\n")]


PYTHON = _parts("""
from dataclasses import dataclass, field
from datetime import datetime, timedelta


@dataclass
class Thing:
    id: str
    owner_id: str
    created_at: datetime
    state: str = "draft"
    total_cents: int = 0
    note: str = ""
    tags: list[str] = field(default_factory=list)


class ThingStore:
    def __init__(self):
        self._things = {}
        self._listeners = []
%%
    def add(self, thing):
        if thing.id in self._things:
            raise KeyError(f"thing {thing.id} exists")
        self._things[thing.id] = thing
        for listener in self._listeners:
            listener("added", thing)
%%
    def close(self, thing_id):
        thing = self._things[thing_id]
        if thing.state != "open":
            raise ValueError(f"thing {thing_id} is not open")
        thing.state = "closed"
        self._notify(thing)
        return thing
%%
    def total(self):
        return sum(thing.total_cents for thing in self._things.values())
%%
    def average(self):
        things = [t for t in self._things.values() if t.state != "void"]
        return sum(t.total_cents for t in things) // len(things)
%%
    def newest(self, count):
        things = sorted(self._things.values(), key=lambda t: t.created_at)
        return things[:count]
%%
    def by_owner(self):
        groups = {}
        for thing in self._things.values():
            if thing.owner_id not in groups:
                groups[thing.owner_id] = []
            groups[thing.owner_id].append(thing)
        return groups
%%
    def duplicates(self):
        found = []
        for a in self._things.values():
            for b in self._things.values():
                if a.id != b.id and a.note == b.note and a.total_cents == b.total_cents:
                    if (b, a) not in found:
                        found.append((a, b))
        return found
%%
    def search(self, text):
        text = text.lower()
        return [t for t in self._things.values() if text in t.note.lower() or text in t.tags]
%%
    def expire(self, now, days=30):
        limit = now - timedelta(days=days)
        for thing_id, thing in self._things.items():
            if thing.state == "draft" and thing.created_at < limit:
                del self._things[thing_id]
%%
def load_things(path):
    store = ThingStore()
    with open(path) as lines:
        for line in lines:
            if not line.strip() or line.startswith("#"):
                continue
            thing_id, owner_id, created, state, cents = line.rstrip("\\n").split(";")
            store.add(Thing(thing_id, owner_id, datetime.fromisoformat(created), state, int(cents)))
    return store
%%
def discount(thing, percent):
    if percent < 0 or percent > 100:
        return thing
    thing.total_cents = int(thing.total_cents * (1 - percent / 100))
    thing.tags.append(f"discount-{percent}")
    return thing
%%
def split_thing(thing, parts):
    share = thing.total_cents / parts
    return [Thing(f"{thing.id}-{n}", thing.owner_id, thing.created_at, "draft", round(share)) for n in range(parts)]
%%
def summary(things):
    lines = []
    for state in ("draft", "open", "closed", "void"):
        chosen = [t for t in things if t.state == state]
        if chosen:
            amount = sum(t.total_cents for t in chosen) / 100
            lines.append(f"{state:<8}{len(chosen):>5}{amount:>12.2f}")
    return "\\n".join(lines)
%%
def merge_things(first, second, prefer="newer"):
    if prefer not in ("newer", "older"):
        raise ValueError(prefer)
    a, b = sorted((first, second), key=lambda t: t.created_at, reverse=prefer == "newer")
    return Thing(a.id, a.owner_id, a.created_at, a.state, a.total_cents, a.note or b.note, a.tags + b.tags)
%%
async def push_thing(thing, session, attempts=3):
    for attempt in range(attempts):
        try:
            reply = await session.post("/v2/things", json=vars(thing))
            if reply.status == 201:
                return await reply.json()
        except TimeoutError:
            pass
        await asyncio.sleep(2**attempt)
    return None
""")

TYPESCRIPT = _parts("""
export type State = "draft" | "open" | "closed" | "void";

export interface Thing {
  id: string;
  ownerId: string;
  createdAt: string;
  state: State;
  totalCents: number;
  note?: string;
  tags: string[];
}
%%
export function totalOf(things: Thing[]): number {
  let total = 0;
  for (const thing of things) {
    total += thing.totalCents;
  }
  return total;
}
%%
export function closeThing(thing: Thing): Thing {
  if (thing.state !== "open") {
    throw new Error(`thing ${thing.id} is not open`);
  }
  thing.state = "closed";
  return thing;
}
%%
export function groupByOwner(things: Thing[]): Map<string, Thing[]> {
  const groups = new Map<string, Thing[]>();
  for (const thing of things) {
    const group = groups.get(thing.ownerId);
    if (group) group.push(thing);
    else groups.set(thing.ownerId, [thing]);
  }
  return groups;
}
%%
export async function fetchThings(base: string, token: string): Promise<Thing[]> {
  const things: Thing[] = [];
  let cursor: string | null = "";
  while (cursor !== null) {
    const reply = await fetch(`${base}/v2/things?cursor=${cursor}`, {
      headers: { Authorization: `Bearer ${token}` },
    });
    const page = await reply.json();
    things.push(...page.items);
    cursor = page.next_cursor;
  }
  return things;
}
%%
export function sortThings(things: Thing[], by: "total" | "age"): Thing[] {
  return things.sort((a, b) => {
    if (by === "total") return b.totalCents - a.totalCents;
    return a.createdAt < b.createdAt ? -1 : 1;
  });
}
%%
export function thingRow(thing: Thing): string {
  const amount = (thing.totalCents / 100).toFixed(2);
  const note = thing.note ? thing.note.slice(0, 40) : "";
  return `<tr class="${thing.state}"><td>${thing.id}</td><td>${amount}</td><td>${note}</td></tr>`;
}
%%
export function useThingFilter(things: Thing[], text: string, states: State[]): Thing[] {
  return things.filter((thing) => {
    const hit = !text || thing.note?.includes(text) || thing.tags.some((tag) => tag === text);
    return hit && (states.length === 0 || states.indexOf(thing.state) > 0);
  });
}
%%
export async function saveAll(things: Thing[], save: (thing: Thing) => Promise<void>): Promise<string[]> {
  const failed: string[] = [];
  things.forEach(async (thing) => {
    try {
      await save(thing);
    } catch (error) {
      failed.push(thing.id);
    }
  });
  return failed;
}
%%
export function parseThing(line: string): Thing | undefined {
  const [id, ownerId, createdAt, state, cents] = line.split(";");
  if (!id || !ownerId) return undefined;
  return { id, ownerId, createdAt, state: state as State, totalCents: parseInt(cents), tags: [] };
}
%%
export function nextReminder(thing: Thing, now: Date, everyDays = 7): Date | null {
  if (thing.state !== "open") return null;
  const age = now.getTime() - new Date(thing.createdAt).getTime();
  const days = Math.floor(age / 86_400_000);
  const left = everyDays - (days % everyDays);
  return new Date(now.getTime() + left * 86_400_000);
}
""")

GO = _parts("""
package things

import (
	"errors"
	"fmt"
	"sort"
	"strings"
	"sync"
	"time"
)

type Thing struct {
	ID, OwnerID string

	CreatedAt  time.Time
	State      string
	TotalCents int64
	Tags       []string
}

type Store struct {
	mu sync.Mutex

	things map[string]*Thing
}

var ErrNotFound = errors.New("thing not found")
%%
func (s *Store) Add(thing *Thing) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.things[thing.ID]; ok {
		return fmt.Errorf("thing %s exists", thing.ID)
	}
	s.things[thing.ID] = thing
	return nil
}
%%
func (s *Store) Close(id string) error {
	s.mu.Lock()
	thing, ok := s.things[id]
	if !ok {
		return ErrNotFound
	}
	if thing.State != "open" {
		s.mu.Unlock()
		return fmt.Errorf("thing %s is %s", id, thing.State)
	}
	thing.State = "closed"
	s.mu.Unlock()
	return nil
}
%%
func (s *Store) Total(state string) int64 {
	var total int64
	for _, thing := range s.things {
		if state == "" || thing.State == state {
			total += thing.TotalCents
		}
	}
	return total
}
%%
func (s *Store) Newest(limit int) []*Thing {
	s.mu.Lock()
	defer s.mu.Unlock()
	things := make([]*Thing, 0, len(s.things))
	for _, thing := range s.things {
		things = append(things, thing)
	}
	sort.Slice(things, func(i, j int) bool { return things[i].CreatedAt.After(things[j].CreatedAt) })
	return things[:limit]
}
%%
func (s *Store) Search(text string) (found []Thing) {
	for _, thing := range s.things {
		for _, tag := range thing.Tags {
			if strings.Contains(strings.ToLower(tag), text) {
				found = append(found, *thing)
			}
		}
	}
	return found
}
%%
func Parse(line string) (Thing, error) {
	fields := strings.Split(line, ";")
	if len(fields) < 5 {
		return Thing{}, fmt.Errorf("want 5 fields, got %d", len(fields))
	}
	created, err := time.Parse(time.RFC3339, fields[2])
	if err != nil {
		return Thing{}, err
	}
	var cents int64
	fmt.Sscanf(fields[4], "%d", &cents)
	return Thing{ID: fields[0], OwnerID: fields[1], CreatedAt: created, State: fields[3], TotalCents: cents}, nil
}
%%
func SendAll(things []Thing, send func(Thing) error) []error {
	var wait sync.WaitGroup
	var failed []error
	for _, thing := range things {
		wait.Add(1)
		go func() {
			defer wait.Done()
			if err := send(thing); err != nil {
				failed = append(failed, err)
			}
		}()
	}
	wait.Wait()
	return failed
}
%%
func (s *Store) Watch(every time.Duration, report func(open int)) {
	for range time.Tick(every) {
		open := 0
		for _, thing := range s.things {
			if thing.State == "open" {
				open++
			}
		}
		report(open)
	}
}
""")

SQL = _parts("""
create table things (
  id bigint primary key,
  owner_id bigint not null references owners (id),
  state text not null check (state in ('draft', 'open', 'closed', 'void')),
  total_cents integer not null default 0,
  parent_id bigint references things (id),
  created_at timestamp not null,
  closed_at timestamp
);
create index things_owner on things (owner_id, created_at);
%%
create table things (
  id integer primary key,
  owner_id integer not null,
  parent_id integer,
  state varchar(10) not null,
  total_cents integer not null,
  note varchar(500),
  created_at timestamp not null,
  closed_at timestamp,
  version integer not null default 1
);
create table thing_tags (
  thing_id integer not null references things (id),
  tag varchar(40) not null,
  primary key (thing_id, tag)
);
%%
create table things (
  id bigint generated always as identity primary key,
  owner_id bigint not null,
  parent_id bigint,
  state text not null default 'draft',
  total_cents bigint not null,
  currency char(3) not null,
  created_at timestamp with time zone not null default current_timestamp,
  closed_at timestamp with time zone
);
create index things_open on things (created_at) where state = 'open';
""")

BUGS: list[tuple[str, str, str]] = [
    ("python", "Tags of one thing show up on all others.", """
def new_thing(name, tags=[]):
    tags.append("new")
    return {"name": name, "tags": tags, "open": True}


def import_things(names):
    return [new_thing(name.strip()) for name in names if name]
"""),
    ("python", "Removing old things skips every other one.", """
def drop_old(things, limit):
    for thing in things:
        if thing["age_days"] > limit:
            things.remove(thing)
    return things
"""),
    ("python", "The last page of things is never fetched.", """
def all_things(client, size=50):
    page, found = 0, []
    while True:
        items = client.get("/things", params={"page": page, "size": size})
        if len(items) < size:
            break
        found.extend(items)
        page += 1
    return found
"""),
    ("python", "All buttons close the same thing, the last one.", """
def buttons(things, window):
    made = []
    for thing in things:
        button = window.button(f"Close {thing.id}")
        button.on_click(lambda: window.close(thing.id))
        made.append(button)
    return made
"""),
    ("python", "Two workers sometimes hand out the same thing number.", """
class ThingNumbers:
    def __init__(self, path):
        self.path = path

    def next(self):
        with open(self.path) as file:
            number = int(file.read() or 0) + 1
        with open(self.path, "w") as file:
            file.write(str(number))
        return f"T-{number:06d}"
"""),
    ("python", "Things made on the last day of a month are missing from the report.", """
from datetime import datetime


def things_of_month(things, year, month, last_day):
    start = datetime(year, month, 1)
    end = datetime(year, month, last_day)
    return [t for t in things if start <= t.created_at <= end]
"""),
    ("typescript", "The list of things flickers back to old results while somebody types.", """
let shown: Thing[] = [];

export async function onInput(text: string, render: (things: Thing[]) => void) {
  const reply = await fetch(`/v2/things/search?q=${text}`);
  shown = await reply.json();
  render(shown);
}
"""),
    ("typescript", "Things number 10 and above are sorted before number 2.", """
export function sortedNumbers(things: { number: number }[]): number[] {
  const numbers = things.map((thing) => thing.number);
  numbers.sort();
  return numbers;
}
"""),
    ("typescript", "The function returns before any thing has been saved, and errors are lost.", """
export async function saveEach(things: Thing[], store: Store) {
  things.forEach(async (thing) => {
    const old = await store.load(thing.id);
    if (!old || old.version < thing.version) {
      await store.save(thing);
    }
  });
  console.log(`saved ${things.length} things`);
}
"""),
    ("typescript", "A thing with the amount 0 is shown as unknown.", """
export function label(thing: { name?: string; cents?: number }): string {
  const name = thing.name || "unnamed";
  const amount = thing.cents ? (thing.cents / 100).toFixed(2) : "unknown";
  return `${name}: ${amount}`;
}
"""),
    ("go", "The service hangs after the first thing that does not exist.", """
func (s *Store) Rename(id, name string) error {
	s.mu.Lock()
	thing, ok := s.things[id]
	if !ok {
		return ErrNotFound
	}
	thing.Name = name
	s.mu.Unlock()
	return nil
}
"""),
    ("go", "Changes to things made in the loop are lost.", """
func closeAll(things []Thing, now time.Time) int {
	closed := 0
	for _, thing := range things {
		if thing.State == "open" && now.After(thing.DueOn) {
			thing.State = "closed"
			closed++
		}
	}
	return closed
}
"""),
    ("go", "Memory grows for as long as things are polled.", """
func poll(ctx context.Context, client *http.Client, out chan<- string) {
	for {
		select {
		case <-time.After(time.Minute):
			reply, err := client.Get("https://api.example.com/v2/things")
			if err != nil {
				continue
			}
			out <- reply.Status
		case <-ctx.Done():
			return
		}
	}
}
"""),
    ("rust", "Looking for a thing panics when the list is empty.", """
fn find(things: &[Thing], id: u32) -> Option<usize> {
    let (mut low, mut high) = (0, things.len() - 1);
    while low <= high {
        let middle = (low + high) / 2;
        if things[middle].id == id {
            return Some(middle);
        } else if things[middle].id < id {
            low = middle + 1;
        } else {
            high = middle - 1;
        }
    }
    None
}
"""),
    ("rust", "This does not compile: cannot borrow `things` as mutable because it is also borrowed as immutable.", """
fn touch_oldest(things: &mut Vec<Thing>) -> u32 {
    let oldest = things.iter().min_by_key(|thing| thing.created_at).unwrap();
    things.push(Thing { id: oldest.id + 1, created_at: now() });
    oldest.id
}
"""),
    ("rust", "A label with an umlaut at the cut makes the program panic.", """
fn short_label(thing: &Thing, width: usize) -> String {
    if thing.label.len() <= width {
        return thing.label.clone();
    }
    format!("{}...", &thing.label[..width - 3])
}
"""),
    ("sql", "Things without tags are missing from the result.", """
select things.id, things.total_cents, count(thing_tags.tag) as tag_count
from things
left join thing_tags on thing_tags.thing_id = things.id
where thing_tags.tag <> 'internal'
group by things.id, things.total_cents
order by tag_count desc;
"""),
    ("sql", "The total is far too high when a thing has several tags and payments.", """
select things.owner_id, sum(payments.cents) as paid
from things
join payments on payments.thing_id = things.id
join thing_tags on thing_tags.thing_id = things.id
where thing_tags.tag in ('express', 'gift', 'bulk')
group by things.owner_id;
"""),
    ("bash", "It deletes the wrong files when a name of a thing contains a space.", """
#!/bin/bash
folder=$1
for file in $(ls $folder/things); do
  if [ $(stat -c %s $folder/things/$file) -eq 0 ]; then
    rm $folder/things/$file
  fi
done
"""),
    ("bash", "The count of failed things is always 0 at the end.", """
#!/bin/bash
failed=0
cat things.txt | while read -r thing; do
  if ! ./send.sh "$thing"; then
    failed=$((failed + 1))
  fi
done
echo "failed: $failed"
exit $((failed > 0))
"""),
]  # fmt: skip

FAILURES: list[tuple[str, str]] = [
    ("Python", """
Traceback (most recent call last):
  File "/app/server.py", line <30-90>, in handle
    reply = route(request)
  File "/app/routes.py", line <100-300>, in route
    return handlers[request.path](request)
  File "/app/things.py", line <40-200>, in show_thing
    amount = thing["total"]["cents"] / thing["quantity"]
TypeError: 'NoneType' object is not subscriptable
"""),
    ("Python", """
Traceback (most recent call last):
  File "/app/jobs/nightly.py", line <20-80>, in main
    asyncio.run(push_things(settings))
  File "/app/jobs/push.py", line <20-120>, in push_things
    await asyncio.gather(*(push(session, thing) for thing in things))
  File "/app/jobs/push.py", line <121-180>, in push
    async with session.post(url, json=thing) as reply:
OSError: [Errno 24] Too many open files
"""),
    ("Python", """
Traceback (most recent call last):
  File "/app/imports.py", line <20-80>, in read
    for row in csv.DictReader(file):
  File "<frozen codecs>", line 322, in decode
UnicodeDecodeError: 'utf-8' codec can't decode byte 0xfc in position <200-7000>: invalid start byte
The above exception was the direct cause of the following exception:
  File "/app/worker.py", line <81-190>, in run
    raise ImportFailed(f"things-<id>.csv") from error
ImportFailed: things-<id>.csv
"""),
    ("Node", """
TypeError: Cannot read properties of undefined (reading 'map')
    at ThingList (/app/src/components/ThingList.tsx:<10-90>:<5-40>)
    at renderToString (/app/node_modules/renderer/index.js:<1000-4000>:<5-30>)
    at async render (/app/src/server.ts:<20-120>:<5-30>)
    at async /app/src/routes/things.ts:<10-60>:<5-30>
unhandledRejection: the request for /things?page=<2-30> was not answered
"""),
    ("Node", """
<--- Last few GCs --->
[<id>:0x<10-99>00] <40000-90000> ms: Mark-sweep <1900-2040>.1 -> <1890-1899>.7 MB, <900-1900> ms
FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory
last job: export of <n=200-900> thousand things, chunk <3-90>
    at JsonWriter.write (/app/src/export.ts:<20-120>:<5-30>)
"""),
    ("Go", """
panic: runtime error: invalid memory address or nil pointer dereference
[signal SIGSEGV: segmentation violation code=0x1 addr=0x18 pc=0x<100000-900000>]

goroutine <20-900> [running]:
app/things.(*Store).Price(0x0, {0xc000<100-999>, 0x8})
	/src/things/store.go:<20-200> +0x1c
app/web.(*Server).showThing(0xc0001<100-999>, {0x<1000-9000>, 0xc0002<100-999>}, 0xc0003<100-999>)
	/src/web/things.go:<20-120> +0x9e
net/http.HandlerFunc.ServeHTTP(...)
"""),
    ("Go", """
fatal error: concurrent map writes

goroutine <20-900> [running]:
app/things.(*Cache).put(...)
	/src/things/cache.go:<20-90>
app/things.(*Cache).Get(0xc000<100-999>, {0xc000<100-999>, 0x6})
	/src/things/cache.go:<91-140> +0x13d
created by app/web.(*Server).warm in goroutine <1-19>
	/src/web/server.go:<20-200> +0x8a
"""),
    ("Java", """
java.util.ConcurrentModificationException: null
	at java.base/java.util.ArrayList$Itr.checkForComodification(ArrayList.java:1013)
	at java.base/java.util.ArrayList$Itr.next(ArrayList.java:967)
	at com.example.things.ThingService.expire(ThingService.java:<40-220>)
	at com.example.things.ThingJob.run(ThingJob.java:<10-60>)
	at com.example.scheduling.Worker.call(Worker.java:<20-90>)
"""),
    ("Java", """
java.lang.IllegalStateException: could not get a connection within 30000 ms (active=<n=10-50>, max=<n>)
	at com.example.pool.Pool.borrow(Pool.java:<40-220>)
	at com.example.things.ThingRepository.findAll(ThingRepository.java:<20-90>)
	at com.example.things.ThingService.totals(ThingService.java:<40-220>)
	at com.example.things.ThingService.lambda$report$0(ThingService.java:<221-300>)
	at java.base/java.util.stream.ForEachOps$ForEachOp.accept(ForEachOps.java:184)
"""),
    ("Rust", """
thread 'worker-<1-9>' panicked at src/things.rs:<20-190>:<9-40>:
called `Result::unwrap()` on an `Err` value: ParseIntError { kind: InvalidDigit }
stack backtrace:
   2: core::result::unwrap_failed
   3: app::things::parse_line
             at ./src/things.rs:<20-190>:<9-40>
   4: app::main::{{closure}}
             at ./src/main.rs:<20-90>:<5-20>
"""),
]  # fmt: skip

# What changes in a diff: a piece of a line, and what it becomes.
EDITS: list[tuple[str, str]] = [
    ('raise KeyError(f"thing {thing.id} exists")', "return False"),
    ('if thing.state != "open":', 'if thing.state not in ("draft", "open"):'),
    ("return things[:count]", "return things[-count:]"),
    ('if t.state != "void"]', 'if t.state == "closed"]'),
    ("days=30", "days=90"),
    ("text = text.lower()", "text = text.strip().lower()"),
    ("int(thing.total_cents * (1 - percent / 100))", "thing.total_cents * (100 - percent) // 100"),
    ("attempts=3", "attempts=5"),
    ('if not line.strip() or line.startswith("#"):', 'if line.startswith("#"):'),
    ("asyncio.sleep(2**attempt)", "asyncio.sleep(min(2**attempt, 10))"),
    ("round(share)", "int(share)"),
    ('for state in ("draft", "open", "closed", "void"):', 'for state in ("open", "closed"):'),
    ("total += thing.totalCents;", "total += thing.totalCents ?? 0;"),
    ("throw new Error(`thing ${thing.id} is not open`);", "return thing;"),
    ("return things.sort(", "return [...things].sort("),
    ("thing.note.slice(0, 40)", "thing.note.slice(0, 80)"),
    ("states.indexOf(thing.state) > 0", "states.includes(thing.state)"),
    ("parseInt(cents)", "Number(cents)"),
    ("everyDays = 7", "everyDays = 14"),
    ("failed.push(thing.id);", "console.warn(thing.id, error);"),
    ("things?cursor=${cursor}", "things?limit=200&cursor=${cursor}"),
    ('return fmt.Errorf("thing %s exists", thing.ID)', "return nil"),
    ('if thing.State != "open" {', 'if thing.State == "closed" {'),
    ("return things[:limit]", "return things[:min(limit, len(things))]"),
    ("strings.ToLower(tag), text", "strings.ToLower(tag), strings.ToLower(text)"),
    ("len(fields) < 5", "len(fields) != 5"),
    ('if state == "" || thing.State == state {', "if thing.State == state {"),
    ("failed = append(failed, err)", 'failed = append(failed, fmt.Errorf("thing %s: %w", thing.ID, err))'),
    ("for range time.Tick(every) {", "for range time.Tick(max(every, time.Second)) {"),
]
