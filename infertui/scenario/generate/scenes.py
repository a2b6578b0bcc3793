"""Context that long prompts embed: logs, handbook rules, meeting notes, mails, API pages and figures."""

# ruff: noqa: E501  (sentences are easier to read and to change in one piece)

from __future__ import annotations

from typing import NamedTuple

from infertui.scenario.generate.draw import Draw, block, clock, length, table


class Story(NamedTuple):
    """An incident as its log tells it: the lines that matter, in order, and a title."""

    title: str
    lines: list[str]


_ROUTINE = block("""
INFO <svc> GET /v1/items/<id> 200 <4-90>ms
INFO <svc> POST /v1/orders 201 <20-180>ms id=<id>
INFO <svc> GET /healthz 200 1ms
INFO <svc> request finished route=/v1/search status=200 took=<15-240>ms
DEBUG <svc> cache hit key=item:<id> ttl=<10-290>s
DEBUG <svc> cache miss key=user:<id>, loading from primary
INFO scheduler job nightly-summary queued, <1-9> ahead of it
INFO scheduler job thumbnail-<id> done in <300-990>ms on <host>
INFO notifier sent digest to <20-400> subscribers
WARN <svc> slow query (<600-1900>ms): select from line_items where order_id = <id>
INFO gateway client <ip> opened connection, <100-900> active
INFO gateway rotated access log, <2-40> MB compressed
DEBUG <svc> flag new-layout evaluated to off for user <id>
INFO deploy build <hex> of <svc> passed checks
INFO <svc> refreshed exchange rates, <30-60> currencies
WARN <svc> client <ip> sent unknown field 'trackingRef', ignored
INFO backup snapshot of <svc> stored, <3-80> GB in <40-300>s
INFO <svc> session <hex> started for user <id>
INFO <svc> session <hex> ended after <1-59> minutes
DEBUG <svc> pool size=<n=20-40> idle=<1-12>
INFO imports file batch-<id>.csv accepted, <200-9000> rows
WARN imports row <10-900> of batch-<id>.csv has an empty postcode, skipped
INFO metrics scraped <30-60> targets in <80-400>ms
INFO <svc> retry 1 of 3 for webhook <id> succeeded
INFO auth token refreshed for service account svc-<svc2>
WARN auth <2-4> failed sign-ins for user <id> from <ip>
INFO shipping label <id> printed for parcel to zone <1-7>
DEBUG search reindexed <100-4000> documents, <1-9> skipped
INFO <host> cpu <5-60>% mem <30-70>% disk <40-79>%
INFO ledger balanced period <1-12>, difference 0
""")

_STORIES = [
    Story("Orders failing at checkout", block("""
INFO deploy checkout <ver> rolled out to all hosts, change: raise worker count from 8 to 32
DEBUG checkout pool size=20 idle=0
WARN checkout waited <900-2900>ms for a database connection
ERROR checkout could not get a connection within 3000ms (pool size=20, waiting=<40-90>)
ERROR gateway upstream checkout answered 503 for POST /v1/orders
ERROR checkout could not get a connection within 3000ms (pool size=20, waiting=<91-200>)
WARN gateway error rate of /v1/orders is <18-44>% over 5 minutes
""")),
    Story("Uploads rejected", block("""
INFO uploads debug logging switched on by ops for ticket <id>
WARN <host> disk 88% on /var/log
WARN <host> disk 96% on /var/log
ERROR uploads write failed: no space left on device (/var/log/uploads.log)
ERROR uploads temporary file for part <2-30> could not be created
ERROR gateway upstream uploads answered 500 for PUT /v1/files/<id>
""")),
    Story("Partners cannot call us", block("""
WARN gateway certificate for api.example.com expires in 1 day, renewal pending
ERROR certbot renewal of api.example.com failed: challenge not reachable, port 80 closed by rule fw-<20-90>
ERROR gateway handshake with <ip> failed: certificate has expired
ERROR webhooks delivery <id> failed: remote reports bad certificate
WARN gateway <200-900> handshakes failed over 5 minutes, all on api.example.com
""")),
    Story("Search slows down each afternoon", block("""
INFO search process memory 1.<1-4> GB
INFO search process memory 2.<2-6> GB
WARN search garbage collection took <700-1400>ms
INFO search process memory 3.<5-9> GB
ERROR kernel out of memory: killed process <id> (search) on <host>
INFO supervisor restarted search on the same host, exit code 137
INFO search process memory 0.<5-7> GB
INFO search suggestion cache holds <400-900> thousand entries, no limit configured
""")),
    Story("Reports are empty", block("""
INFO deploy reports <ver> rolled out, change: read times as UTC
INFO reports building daily totals for the window 00:00-24:00 UTC
WARN reports window has 0 finished orders, expected about <3000-8000>
INFO ledger wrote <3000-8000> orders with local time stamps (UTC+2)
ERROR reports totals of <team> differ from ledger by 100%
INFO reports mail with empty totals sent to <20-60> managers
""")),
    Story("Everything is slow after a cache restart", block("""
INFO cache restarted for kernel update on <host>
WARN catalog cache hit rate fell from 96% to <1-6>%
WARN catalog slow query (<2100-5900>ms): select from products join prices
ERROR db-1 active connections 498 of 500
WARN gateway retrying catalog request, attempt 3 of 5
ERROR catalog timeout after 10000ms, <200-700> requests waiting for the same key home:featured
INFO catalog cache hit rate <40-60>%
""")),
    Story("Queue keeps growing", block("""
INFO notifier consumer group resized from 6 to 2 to save cost
INFO notifier queue depth <800-1500>
WARN notifier queue depth <9000-15000>, oldest message 14 minutes
INFO notifier each message takes about 240ms, provider limit not reached
WARN notifier queue depth <30000-50000>, oldest message 51 minutes
ERROR sessions sign-in code arrived after it had expired for user <id>
""")),
    Story("Sign-in fails for some users", block("""
WARN <host> clock differs from time server by <n=31-58> seconds
ERROR auth token rejected: issued in the future (iat is <n>s ahead)
ERROR auth token rejected: issued in the future (iat is <n>s ahead)
INFO auth tokens issued by the other two hosts are accepted
WARN <host> time service is not running since last reboot
WARN gateway one in three sign-ins answers 401
""")),
    Story("Duplicate charges", block("""
WARN gateway request to payments took 30001ms, giving up
INFO gateway retry 1 of 3 for POST /v1/charges order=<n=20000-90000>
INFO payments charge accepted order=<n> amount=<20-300>.00
INFO payments charge accepted order=<n> amount=<20-300>.00
WARN payments request without idempotency key from gateway <ver>
ERROR ledger two charges for order=<n>, flagged for review
INFO support <6-30> customers report being charged twice
""")),
    Story("Migration stalls the shop", block("""
INFO deploy migration <id>: add column loyalty_tier with default to customers (<20-60> million rows)
WARN db-1 statement alter table customers holds an exclusive lock for 30s
ERROR profile canceling statement due to lock timeout: update customers
WARN db-1 <90-300> sessions wait for relation customers
ERROR checkout could not load customer <id> within 5000ms
WARN db-1 statement alter table customers holds an exclusive lock for 240s
""")),
    Story("Prices wrong in one region", block("""
INFO pricing loaded rules from pricing-eu.yaml, revision <hex>
WARN pricing rule 'summer' overlaps rule 'clearance', the last one wins
INFO deploy config revision <hex> reverted for pricing in region us only
WARN pricing region eu and region us run different revisions
ERROR ledger order <id> sold below cost in region eu
INFO support <9-40> messages mention a price of 0.99
""")),
    Story("Name lookups fail", block("""
INFO <host> resolver list changed to 10.0.0.2 only by base image <ver>
WARN webhooks lookup of hooks.example.net took 5003ms
ERROR webhooks could not resolve hooks.example.net: try again later
WARN 10.0.0.2 dropped <300-900> queries, limit 100 per second
ERROR shipping could not resolve rates.example.org: try again later
INFO hosts on the previous image resolve both names in 2ms
""")),
]  # fmt: skip


def log(draw: Draw, words: int, story: Story | None = None, start: int = 0) -> str:
    """A log excerpt of about `words` words; the lines of the story lie among routine ones, in their order."""
    key = draw.fill("\n".join(story.lines)).splitlines() if story else []
    routine: list[str] = []
    count = length(*key) + len(key)
    recent: list[str] = []
    while count < words or (not key and not routine):
        template = draw.one([line for line in _ROUTINE if line not in recent])
        recent = [*recent[-11:], template]
        routine.append(draw.fill(template))
        count += length(routine[-1]) + 1
    slots = sorted(draw.below(len(routine) + 1) for _ in key)
    lines: list[str] = []
    for index in range(len(routine) + 1):
        lines += [line for line, slot in zip(key, slots, strict=True) if slot == index]
        lines += routine[index : index + 1]
    second = (start or draw.between(6 * 60, 22 * 60)) * 60 + draw.below(60)
    stamped: list[str] = []
    for line in lines:
        stamped.append(f"{clock(second // 60)}:{second % 60:02d} {line}")
        second += draw.between(1, 50)
    return "\n".join(stamped)


def story(draw: Draw) -> Story:
    return draw.one(_STORIES)


HANDBOOK: dict[str, list[str]] = {
    "Travel": block("""
Rail is the default for trips under <4-6> hours. Flights need the approval of the team lead before they are booked.
Hotel nights are refunded up to <110-160> a night, or up to <170-210> in the towns on the high-cost list.
Meals are refunded at a flat <38-56> per full day and half of that on the first and the last day of a trip.
Receipts are needed for every single expense above <20-30>; below that a short note is enough.
Claims are handed in within <21-60> days after the last day of the trip. Later claims are paid only with a written reason.
A private car is refunded at 0.<28-42> per kilometre, and only when the trip by rail would take more than twice as long.
Upgrades, minibar items and fines are never refunded. Seat reservations and luggage fees are.
If a trip is cancelled by the company, fees that cannot be recovered are refunded in full.
Trips abroad are entered in the travel calendar at least <5-12> working days ahead so that insurance can be arranged.
Guests of the company travel under the same rules; the inviting team pays from its own budget.
Taxis are refunded between 22:00 and 06:00, with heavy luggage, or where no bus runs within <20-40> minutes.
"""),
    "Leave": block("""
Everyone has <25-30> days of paid leave a year, plus one further day after each <3-5> full years of service.
Up to <5-8> unused days move to the next year and lapse at the end of <month>.
Leave of more than <8-10> working days in a row is announced <5-8> weeks ahead.
In a calendar month with fewer than <2-4> people present, a team may not approve further leave.
Sick days need a doctor's note from the <3-4>th calendar day on. Sick days during leave are given back.
Part-time staff have leave in proportion to their working days, rounded up to half a day.
Moving house gives one extra day, at most once in <12-24> months.
Volunteers in a fire brigade or rescue service get up to <4-6> paid days for calls and courses.
Unpaid leave of up to <8-12> weeks is possible after the second year; the request goes to the team lead and to payroll.
A day of leave that is interrupted by a request of the company counts as not taken.
"""),
    "On call": block("""
A turn on call lasts one week and changes hands on <day> at <9-11>:00 after a short written handover.
A page is acknowledged within <5-15> minutes and worked on within <20-30> minutes.
Nobody is on call for more than <1-2> weeks out of <4-6>, and never directly before or after leave.
Work between 22:00 and 06:00 gives the same time off on the next working day, at least <2-4> hours.
An incident that touches money or personal data is of severity one, whatever its size.
Severity one is reported to the duty manager within <15-30> minutes and to customers within <60-120> minutes.
After each incident of severity one or two a review is written within <3-6> working days; it names causes, not culprits.
Alerts that fired <3-5> times in a month without any action are either repaired or removed.
A change to a running system during an incident is announced in the incident channel before it is made.
Whoever is on call may refuse a release on the last working day of a week without giving a reason.
"""),
    "Equipment": block("""
A laptop is replaced after <36-48> months, or earlier when a repair would cost more than <35-55>% of its price.
Each person may choose a screen, a keyboard and a chair up to <500-900> in total; the items stay with the company.
Lost devices are reported within <4-24> hours so that they can be locked from afar.
Private devices may read mail and calendar. Source code and customer data stay on company devices.
Old devices can be bought at their book value, and after wiping only.
Software above <80-150> a year per seat needs the approval of the team lead; anything that stores customer data needs the
  approval of security as well.
Spare parts are kept in <town>; an order that arrives before noon is sent on the same day.
A phone is provided to people who are on call and to nobody else.
Headphones and cables are ordered without approval up to <60-90> a year.
"""),
    "Data": block("""
Support tickets are kept for <18-36> months and then stripped of names and addresses.
Access logs are kept for <14-90> days. They may be searched for security questions, not to measure people's work.
A request for deletion is answered within <20-30> days and carried out in backups at the next rotation.
Exports with more than <50-500> customer records need a ticket that states the purpose and the date of deletion.
Test systems use generated data. A copy of production data in a test system is an incident of severity two.
Access to the warehouse is granted for <90-180> days at a time and renewed by the data owner.
Backups are restored in a drill every <2-4> months; a drill that fails is repeated within <5-10> days.
Files shared by link expire after <7-30> days unless a shorter time was set.
A supplier who handles customer data is reviewed every <12-24> months.
"""),
    "Orders and returns": block("""
Goods may be returned within <14-60> days of delivery. Opened software and made-to-order items are excluded.
The refund is paid to the original payment method within <5-14> days after the goods have arrived.
Return shipping is free above an order value of <40-90>; below that the customer pays <3-6>.90.
Items on clearance can be exchanged or credited but are not refunded in cash.
A defect within <6-12> months counts as present at delivery. After that the customer has to describe how it came about.
If part of a bundle is returned, the bundle discount is taken off the refund.
Orders above <400-900> are shipped with a signature. Without a signature the claim for a lost parcel goes to the carrier.
A voucher is valid for <2-3> years and may be used for several orders until nothing is left of it.
An order can be changed or cancelled free of charge until its picking has begun, usually <2-6> hours after it was placed.
Wholesale customers return goods after agreement only, and pay <8-15>% for restocking.
"""),
}  # fmt: skip


def handbook(draw: Draw, words: int, first: str = "") -> str:
    """Numbered rules of about `words` words; the section `first` comes with all of its rules."""
    names = [first, *(name for name in draw.shuffled(list(HANDBOOK)) if name != first)] if first else None
    parts: list[str] = []
    count = 0
    for number, name in enumerate(names or draw.shuffled(list(HANDBOOK)), 1):
        if parts and count + 25 >= words:
            break
        rules = draw.fit(max(words - count, 70), HANDBOOK[name], least=3)
        parts.append("\n".join([f"{number} {name}", *(f"{number}.{k} {rule}" for k, rule in enumerate(rules, 1))]))
        count += length(parts[-1])
    return "\n\n".join(parts)


TOPICS = block("""
Release <ver>. <name> reported that <n=2-6> of the blocking bugs are fixed and the rest need a decision about <feature>.
  <name2> would rather ship without it. Agreed to decide on <day>, after the numbers of the trial group are in.
Hiring. <3-9> candidates were interviewed for the <team> team, <2-3> offers are out. <name> asked for a shorter take-home
  task, because two people dropped out at that stage. <name2> rewrites it before the next round.
Office move. The lease in <town> ends in <month>. <name> has visited <2-4> places and prefers the one near the station,
  which costs <8-19>% more. The works council wants to see the floor plan first.
Costs. The bill for storage rose by <12-48>% in <month>. <name> found old snapshots that nobody needed and deletes those
  older than <60-180> days. <name2> sets an alert at <70-90>% of the budget.
Support load. <n=120-480> tickets came in last week, <20-45>% of them about the <page>. <name> writes a help article and
  the <team> team looks at the two most frequent errors.
Customer visit. Three people from a logistics customer come on <day>. <name> shows <feature>, <name2> prepares answers on
  data retention. Lunch is booked for <6-14> people.
Security review. The reviewers list <4-17> findings, <1-3> of them serious. <name> fixes the missing rate limit by <day>;
  the question of how long sessions may last stays open.
Onboarding. Two newcomers start in <month>. <name> is the contact for the first four weeks. The setup guide is out of date
  since the change of the build, so <name2> goes through it on a clean laptop.
Database. Version <9-14> is no longer supported after <month>. <name> estimates <3-8> days for the upgrade with a
  downtime of <10-45> minutes. The only quiet window is the night to <day>.
Mobile app. The store rejected <ver> because the privacy text was missing. <name> resubmitted it the same evening. Crash
  rate is down to 0.<2-9>%.
Training. The budget allows <2-5> places at the autumn course. <name> and <name2> have asked; others may do so until <day>.
Translation. The French texts of the <page> are complete, the Polish ones stand at <60-95>%. <name> would like to freeze
  the source texts a week before each release.
Warehouse. The count in <town> differs from the system by <14-90> pieces. <name> suspects returns that were booked twice
  and checks <20-60> of them by hand.
Partner interface. The partner sends dates without a time zone. <name> proposes to reject such calls from <month> on;
  <name2> is worried about the two oldest clients and asks them first.
Monitoring. <11-60> alerts fired last week and <1-6> needed a person. <name> removes the noisy ones and keeps the list.
Accessibility. A tester could not reach the <page> by keyboard. <name> repairs the order of focus, <name2> adds a check
  to the build so that it stays repaired.
Newsletter. The issue of <month> was opened by <18-41>% of readers. The piece on <feature> did best. <name> plans the next
  one around customer questions.
Printer. The third floor printer jams on thick paper. <name> has called the service twice; a replacement costs <400-900>.
Contract. The supplier offers <5-14>% off for a two-year term. <name> would sign, <name2> does not want to be tied beyond
  next <month>. Legal is asked whether a break clause is possible.
Experiment. The shorter form brought <2-9>% more sign-ups on phones and no change on desktops. <name> lets it run until
  <day>, because the weekend was unusual.
Documentation. <name> counted <20-70> pages that nobody has opened for a year. They are archived on <day> unless somebody
  objects.
Summer party. <day> in the second week of <month>, at the lake if it is dry. <name> collects dietary wishes, <name2> looks
  for a boat.
Data quality. <2-7>% of the addresses lack a postcode. <name> proposes a check at entry; the <team> team fears that it
  costs orders and asks for a warning instead.
Roadmap. The work on <feature> moves behind <feature2>, since <3-8> large customers wait for the latter. <name> tells sales today so
  that nobody promises the old date.
""")

MAILS = block("""
we ordered <n=2-12> pieces of the <item> on the <2-27>th of <month> and received one fewer. The delivery note says <n>, the
  box was sealed and not damaged. Could you send the missing piece or credit it? We need it before our opening in <town>.
since the update on <day> the <page> stays blank for two of our colleagues. Others see it without trouble. We have tried
  <browser> and <browser2>, with the same result. A screenshot is attached; the console shows error <400-599>.
please change our plan from <5-20> to <21-60> seats from <month> on and send the invoice to accounting@example.com instead
  of to me. Our purchase order number is PO-<id>.
thank you for the quick repair of the <device>. It works, but the charger did not come back with it. The serial number
  ends in <id>. I shall be in <town> on <day> and could pick it up.
we would like to invite somebody of yours to speak about <feature> at our small meeting in <month>. About <30-120> people
  come, most of them from workshops in the region. Travel and a night in <town> are paid.
our audit asks for a statement of where our data are stored, for how long, and who may read them. We need it by the end of
  <month>. A form is attached; a page in your own words would do as well.
I cannot sign in any more since I changed my phone. The codes arrive on the old number, which I no longer have. My
  customer number is <id>. Today is the last day to hand in our report, so I would be glad of a quick answer.
your colleague <name> promised us <5-15>% off when we renew for two years. The invoice of <month> shows the full price.
  Please correct it; we pay within <10-30> days as always.
the courier left the parcel with a neighbour who is away until <day>. The tracking page says delivered. Is there a way to
  have a second one sent, and to take the first back later?
we are considering a move from another tool and have <3-9> questions, mostly about imports: do comments survive, are
  attachments copied, and can we run both side by side for <2-8> weeks?
last night between <1-2>:00 and <3-5>:00 your interface answered our calls with 503. We lost <20-400> records, which we
  sent again by hand. What happened, and will it happen again?
I am writing about the position in the <team> team. I have worked for <3-12> years with <lang> and looked after a system
  with some <2-40> thousand users. I could start in <month>. My papers are attached.
""")


def mail(draw: Draw, text: str) -> str:
    subject = draw.one(
        ["a question", "our order", "follow-up", "please help", "as discussed", "short request", "urgent?"]
    )
    sender = draw.fill("<name>")
    text = draw.fill(text, sender=sender)
    return (
        f"From: {sender.lower()}@{draw.one(['shop', 'office', 'studio', 'works'])}.example.com\n"
        f"Subject: {draw.one(['', 'Re: '])}{subject}\n\n{draw.one(['Hello', 'Good morning', 'Dear all', 'Hi'])},\n\n"
        f"{text}\n\n{draw.one(['Kind regards', 'Best wishes', 'Thanks in advance', 'Yours'])}\n{sender}"
    )


def thread(draw: Draw, words: int) -> str:
    """A mail, and below it older ones as far as `words` reach."""
    mails: list[str] = []
    count = 0
    for text in draw.shuffled(MAILS):
        if mails and count + 40 > words:
            break
        mails.append(mail(draw, text))
        count += length(mails[-1])
    return "\n\n----- earlier message -----\n".join(mails)


def notes(draw: Draw, words: int) -> str:
    """Minutes of a meeting."""
    head = draw.fill(f"Weekly meeting, <day>, {draw.between(9, 15)}:30, <5-11> people present, minutes: <name>")
    items = draw.fit(words - 12, TOPICS, least=2)
    return "\n\n".join([head, *(f"{number}. {item}" for number, item in enumerate(items, 1))])


_FIELDS = block("""
id | string | assigned by the service, never reused
created_at | string | time in UTC, RFC 3339
updated_at | string | time of the last change in UTC
state | string | one of draft, open, closed, void
total_cents | integer | in the smallest unit of the currency
currency | string | three letters
note | string | free text of up to 500 characters, optional
owner_id | string | the account that made it
tags | array of string | at most 20, each up to 40 characters
version | integer | grows by one with each change; send it back when you update
due_on | string | a date, empty when there is none
parent_id | string | the record it belongs to, optional
is_archived | boolean | true when it is hidden from lists
quantity | integer | at least 1
weight_grams | integer | measured at packing, 0 when unknown
""")

_CALLS = block("""
GET /v2/THINGS | Lists THINGS, newest first. Query: limit (1 to 200, default 50), cursor (from the answer before), state.
  The answer has items and next_cursor, which is null on the last page.
POST /v2/THINGS | Makes a new one. Header Idempotency-Key is required; a repeated key answers with the first result and
  status 200 instead of 201. Errors: 409 when the key was used with another body, 422 with a list of fields.
GET /v2/THINGS/{id} | One record. Answers 304 when the header If-None-Match equals its version. 404 also covers records
  that you may not see.
PATCH /v2/THINGS/{id} | Changes the fields that are sent. 412 when version is not the current one. An empty body is
  answered with 400.
DELETE /v2/THINGS/{id} | Moves it to the archive, where it stays for 30 days. Answers 204, also the second time.
POST /v2/THINGS/{id}/close | Closes an open one. 409 when it is in any other state. The event THINGS.closed follows
  within a few seconds and may come twice.
GET /v2/THINGS/{id}/history | Who changed what and when, oldest first, in pages of 100.
POST /v2/THINGS/export | Starts an export and answers 202 with a job. Ask for the job every 5 seconds at most; its result
  is a link that is valid for an hour.
POST /v2/THINGS/batch | Up to 100 changes in one call. Each has its own status in the answer; the call itself is 207.
GET /v2/THINGS/search | Full text in note and tags. Query: q (2 to 100 characters), limit. Results have a score.
""")

THINGS = ["invoice", "shipment", "booking", "quote", "ticket", "voucher", "asset", "contract", "repair", "rental"]


def api(draw: Draw, words: int, thing: str) -> str:
    """Pages of the description of a small HTTP interface; several resources when it has to be long."""
    parts = [
        draw.fill(
            "Base address: https://api.example.com. Send Authorization: Bearer TOKEN. Limit: <60-600> calls a minute, then "
            "429 with Retry-After in seconds. Errors are JSON with code, message and request_id."
        )
    ]
    others = [name for name in draw.shuffled(THINGS) if name != thing]
    for name in [thing, *others]:
        rest = words - length(*parts)
        if len(parts) > 1 and rest < 50:
            break
        calls = [entry.replace("THINGS", name + "s") for entry in draw.fit(rest * 2 // 3, _CALLS, least=2)]
        fields = draw.fit(max(rest - length(*calls), 25), _FIELDS, least=3)
        parts.append(
            "\n".join([f"## {name}s", *(f"{call.split(' | ')[0]}\n  {call.split(' | ')[1]}" for call in calls)])
            + "\n\nFields:\n"
            + "\n".join("- {} ({}): {}".format(*field.split(" | ")) for field in fields)
        )
    return "\n\n".join(parts)


def sales(draw: Draw, words: int) -> str:
    """Weekly figures by branch and product group."""
    towns = draw.some(["Northfield", "Eastbrook", "Millhaven", "Stonebridge", "Lakewood", "Westmere", "Redcliff"], 5)
    groups = draw.some(["garden", "kitchen", "office", "outdoor", "toys", "books", "lighting"], 4)
    rows: list[tuple[object, ...]] = []
    week = draw.between(3, 20)
    while len(rows) < max(4, words // 13):
        place = len(rows)
        units = draw.between(14, 220)
        price = draw.between(700, 6400)
        rows.append((
            week + place // 20, towns[place % 5], groups[place // 5 % 4], units, money_row(units, price), draw.between(0, 19)
        ))  # fmt: skip
    return table(("week", "branch", "group", "units", "revenue", "returned units"), rows)


def money_row(units: int, price: int) -> str:
    return f"{units * price // 100}.{units * price % 100:02d}"
