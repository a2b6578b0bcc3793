"""Templates of the kind "reasoning": problems that take a few steps, with figures that fit together."""

# ruff: noqa: E501  (sentences are easier to read and to change in one piece)

from __future__ import annotations

from itertools import permutations

from infertui.scenario.generate import scenes
from infertui.scenario.generate.draw import Draft, Draw, Family, ask, block, clock, family, length, listed, money, table

FAMILIES: list[Family] = []

_HOW = [
    "Show the steps, then give the result on a line of its own.",
    "Explain briefly how you get there.",
    "Work it out step by step.",
    "Give the answer first, then the reasoning in a few sentences.",
    "Keep it short, but show each intermediate result.",
    "Finish with one sentence that states the answer.",
]

_PERSONAS = [
    "",
    "",
    "You are a careful analyst. Say so when a figure is missing instead of guessing.",
    "Think before you answer. Plain text, no headings.",
    "You are the planning step of an assistant. Be concrete and brief.",
    "You help a small company with everyday decisions.",
]


def _pose(draw: Draw, text: str, low: int, high: int, *, how: bool = True) -> Draft:
    if how:
        text = f"{text}\n\n{draw.one(_HOW)}" if "\n" in text else f"{text} {draw.one(_HOW)}"
    return ask(text, draw.between(low, high, 32), draw.one(_PERSONAS))


@family(FAMILIES, 40, 110)
def stock(draw: Draw, words: int) -> Draft:
    boxes, each = draw.between(14, 60), draw.between(6, 24, 2)
    daily = draw.between(9, 40)
    lost = draw.between(2, boxes * each // 10)
    text = draw.fill(draw.one([
        f"A <trade> in <town> keeps {boxes} boxes of supplies with {each} pieces each. A leak ruins {lost} pieces. On a "
        f"working day {daily} pieces are used, on Saturdays half as many (rounded down), on Sundays none. The delivery takes "
        f"{draw.between(3, 9)} days. On which day of which week does it have to be ordered at the latest, if today is <day>?",
        f"A depot receives {boxes} pallets with {each} crates of <crop>. Each crate weighs {draw.between(8, 18)} kg. "
        f"A van carries {draw.between(900, 1900, 50)} kg and needs {draw.between(35, 95, 5)} minutes for a round trip. "
        f"{lost} crates are spoiled and stay behind. How long do two vans need to bring the rest to the market?",
        f"A shop sold {boxes * each} pieces of the <item> in a quarter. In the second month it sold {lost} fewer than in the first, and "
        f"in the third as many as in the first two together minus {daily}. Can all three be whole numbers? If not, "
        "which is the smallest change to the total that makes it possible?",
    ]))  # fmt: skip
    return _pose(draw, text, 128, 320)


@family(FAMILIES, 40, 110)
def rates(draw: Draw, words: int) -> Draft:
    one, two = draw.between(12, 40, 2), draw.between(45, 95, 5)
    text = draw.fill(draw.one([
        f"One pump fills a basin in {one} hours, a second one in {two} hours, and an open drain would empty it in "
        f"{one + two} hours. Both pumps start at <5-9>:00 with the drain open by mistake; it is closed after "
        f"{draw.between(2, 6)} hours. When is the basin full?",
        f"A job of {draw.between(40, 400, 10)},000 records is processed by {draw.between(2, 8)} workers, each at {one} records "
        f"a second. After {draw.between(5, 30, 5)} minutes half of the workers are taken away, and the rest slow down by "
        f"{draw.between(5, 25, 5)}% because the disk gets busy. How long does the whole job take?",
        f"Two trains leave <town> and <town2>, {one * 12} km apart, towards each other at <8-11>:10 and <12-13>:00. The first "
        f"runs at {two + 20} km/h, the second at {two + 45} km/h, and the second stops for {draw.between(4, 18)} minutes "
        "halfway. How far from the first town do they meet?",
        f"A server answers {two * 3} requests a second when each takes {one} ms. Requests then become twice as slow while the "
        f"number of workers, {draw.between(8, 64, 8)}, stays the same. At which rate does a queue start to build up, and how "
        f"long is it after {draw.between(3, 12)} minutes at the old rate?",
    ]))  # fmt: skip
    return _pose(draw, text, 128, 352)


@family(FAMILIES, 45, 150)
def budget(draw: Draw, words: int) -> Draft:
    items = draw.some(["chairs", "lamps", "screens", "desks", "whiteboards", "headsets", "shelves", "printers"], 3)
    counts = [draw.between(3, 24) for _ in items]
    prices = [draw.between(1900, 24900, 100) for _ in items]
    total = sum(count * price for count, price in zip(counts, prices, strict=True))
    lines = [f"{n} {item} at {money(price)} each" for n, item, price in zip(counts, items, prices, strict=True)]
    off, free = draw.between(5, 15), draw.between(60, 140, 10)
    text = draw.fill(
        f"A <trade> orders {lines[0]}, {lines[1]} and {lines[2]}. There is {off}% off the {items[1]} when more than "
        f"{draw.between(4, 12)} are bought, tax of {draw.between(7, 23)}% on everything, and shipping of {free}.00 that is "
        f"waived above {money(total * draw.between(80, 120) // 100 // 1000 * 1000)} before tax. The budget is "
        f"{money(total * draw.between(95, 125) // 100 // 5000 * 5000)}. Is it enough? If it is not, which single reduction "
        "changes the order least?"
    )
    if words > 110:
        text += draw.fill(
            f" A second supplier offers all of it for {money(total * draw.between(90, 104) // 100)} including tax, but "
            f"delivers <3-7> weeks later, and renting replacements costs {draw.between(40, 190, 10)}.00 a week. "
            "Which offer is better, and by how much?"
        )
    return _pose(draw, text, 160, 384)


@family(FAMILIES, 28, 60)
def estimate(draw: Draw, words: int) -> Draft:
    text = draw.fill(draw.one(block("""
Estimate how many litres of paint it takes to repaint all lamp posts of a town with <20-90>,000 people.
Roughly how much does the electricity of a server cost in a year that draws <150-700> watts on average, at 0.<18-42> per kWh?
How many piano tuners, bakers or cobblers could live off a town of <30-400> thousand? Choose one and estimate it.
How long would it take one person to read every message that a company of <50-900> people writes in a day?
About how many pages does a log of <2-40> requests a second fill in a week, if each line were printed?
Estimate the weight of the books in a library with <3-20> km of shelves.
How much rain water could a roof of <60-300> square metres collect in a year with <500-1100> mm of rain?
How many bicycles fit into a school gym, parked so that each can be taken out without moving more than two others?
How many seats does a canteen need for <120-900> people who eat between 11:30 and 13:30, <18-35> minutes each?
Estimate the storage that <4-60> cameras need for <7-30> days of video.
Estimate how many umbrellas are left behind each year in the buses of a town with <40-300>,000 people.
How many photos does a family of <3-6> take in ten years, and how much room do they need at about <2-6> MB each?
Roughly how many letters does a keyboard of a busy writer endure before the first key gives up after <3-9> years?
How long would a queue of everybody in a town of <20-90>,000 people be, and how long would it take to walk along it?
Estimate how much coffee, in kilos, an office of <40-700> people drinks in a month.
How many windows does a street of <1-4> kilometres have, if it is lined with houses of <3-6> floors on both sides?
How much time in a year does somebody spend at red lights who cycles <3-14> kilometres to work and back?
Estimate the number of tokens that a coding assistant reads in a day in a team of <6-60> people.
How many tickets does a ferry with <80-400> places sell in a summer of <10-16> weeks?
How many trees does a village of <200-2000> homes need to heat with wood for one winter?
""")))  # fmt: skip
    return ask(f"{text} {draw.one(['State your assumptions.', 'Two assumptions and a result are enough.', 'Name a range.'])}",
               draw.between(96, 256, 32))  # fmt: skip


@family(FAMILIES, 28, 60)
def quick(draw: Draw, words: int) -> Draft:
    text = draw.fill(draw.one(block("""
A meeting starts at <9-16>:<10-50> in a place that is <3-9> hours ahead of us and takes <35-95> minutes. When is it over on our
  clock, and on their clock?
A rope of <12-60> metres is cut into three pieces, the second twice as long as the first and the third <2-9> metres longer
  than the second. How long are they?
Today is <day>. A parcel takes <5-40> working days, and weekends do not count. On which day of the week does it arrive?
<name> is <3-9> years older than <name2>. In <4-12> years they will be <50-90> together. How old are they, if at all possible?
A subscription costs <6-19>.90 a month or <59-180>.00 a year. After how many months is the yearly one cheaper?
All but <2-9> of <20-60> lamps work. Half of the working ones are switched off, rounded down. How many are lit?
A tank is <20-80>% full. After <12-60> litres are added it is <81-95>% full. How large is it, and how much still fits in?
If a photo is enlarged by <20-80>% and then made smaller by the same percentage, how large is it compared with the original?
Three printers make <90-400> copies in <4-9> minutes. How many printers are needed for <900-4000> copies in <5-15> minutes?
<name>, <name2> and <name3> share <41-199> euros in the ratio <2-3>:<4-5>:<6-7>. What does each get, to the cent, without a rest?
A test has <20-60> questions with <2-4> points for a right answer and one point off for a wrong one. <name> answered all of
  them and has <21-39> points. How many were right? Is that possible?
A backup runs every <5-11> hours and a report every <12-16> hours. Both start at midnight on <day>. When do they next start at
  the same time?
A road sign says <town> <30-90> km. <name> drives half of the way at <50-70> km/h and the rest at <80-120> km/h. What is the mean
  speed?
In a drawer there are <4-9> black, <4-9> white and <2-5> red socks. How many have to be taken in the dark to be sure of two pairs?
A price was raised by <5-15>% twice and is now <40-190>.00. What was it at first, and what would one rise of twice the
  percentage have made of it?
A recipe says <150-400> g of flour for <2-5> people, the bag says that <10-30>% of it is left of one kilo. For how many people is
  it enough?
A file is sent at <2-40> MB/s and is checked at <50-200> MB/s afterwards. How long does it take for <3-90> GB in all?
Of <80-300> visitors <30-60>% came by train and a quarter of the others by bicycle. How many came some other way?
""")))  # fmt: skip
    return _pose(draw, text, 96, 256)


_NAMES = ["Ana", "Ben", "Carla", "Dev", "Elif", "Farid", "Greta", "Hana", "Ivo", "Kofi", "Lena", "Mira"]


@family(FAMILIES, 60, 130)
def order_puzzle(draw: Draw, words: int) -> Draft:
    """Clues are added until they allow one order only."""
    people = draw.some(_NAMES, 5)
    truth = draw.shuffled(people)
    clues: list[tuple[str, tuple[str, int, str, int]]] = []
    for a in people:
        for b in people:
            gap = truth.index(b) - truth.index(a)
            if gap == 1:
                clues.append((f"{a} came directly before {b}.", (a, 1, b, 0)))
            elif gap > 1:
                clues.append((f"{a} came some time before {b}, but not directly.", (a, 2, b, 0)))
            if a < b and abs(gap) > 1:
                clues.append((f"{a} and {b} were not next to each other.", (a, 3, b, 0)))
        for place, name in ((0, "first"), (4, "last"), (2, "third")):
            if truth[place] != a:
                clues.append((f"{a} was not {name}.", (a, 4, a, place)))

    def holds(order: tuple[str, ...], clue: tuple[str, int, str, int]) -> bool:
        a, rule, b, place = clue
        gap = order.index(b) - order.index(a)
        return (gap == 1, gap > 1, abs(gap) > 1, order.index(a) != place)[rule - 1]

    left = list(permutations(people))
    told: list[str] = []
    for text, clue in draw.shuffled(clues):
        kept = [order for order in left if holds(order, clue)]
        if len(kept) < len(left):
            told.append(text)
            left = kept
        if len(left) == 1:
            break
    scene = draw.one([
        "Five people gave a talk, one after the other", "Five runners crossed the line at different times",
        "Five guests arrived one by one", "Five colleagues handed in their reports on five different days",
    ])  # fmt: skip
    text = f"{scene}: {', '.join(sorted(people))}. " + " ".join(told) + " In which order was it?"
    if words > 95:
        text += " Afterwards say which of the clues could be left out without the answer becoming uncertain."
    return _pose(draw, text, 128, 384)


@family(FAMILIES, 90, 420)
def meeting(draw: Draw, words: int) -> Draft:
    people = draw.some(_NAMES, max(3, min(12, (words - 45) // 28)))
    length_min = draw.one([30, 45, 60, 90])
    week = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"]
    days = sorted(draw.some(week, 2 if words < 150 else 3), key=week.index)
    rows: list[list[object]] = []
    for person in people:
        row: list[object] = [person]
        for _ in days:
            first = draw.between(8 * 60, 10 * 60, 30)
            second = draw.between(11 * 60, 13 * 60, 30)
            row.append(f"{clock(first)}-{clock(first + draw.between(30, 90, 30))} and {clock(second)}-"
                       f"{clock(second + draw.between(60, 240, 30))}")  # fmt: skip
        rows.append(row)
    lead = draw.one(people)
    text = (
        f"These people are free at the following times:\n\n{table(['', *days], rows)}\n\nFind a time of {length_min} minutes "
        f"for all of them between 8:00 and 17:00, or show that there is none. {lead} has to be there; at most "
        f"{draw.between(1, 2)} of the others may be left out if there is no other way. The earlier the better."
    )
    return _pose(draw, text, 160, 416)


_JOBS = ["survey the site", "order material", "pour the floor", "raise the walls", "lay cables", "fit the windows",
         "plaster", "paint", "lay the pipes", "build the roof", "test the wiring", "fit the kitchen", "clean up",
         "final inspection", "put up the fence", "plant the hedge"]  # fmt: skip
_SOFT = ["write the schema", "agree on the interface", "build the importer", "load test data", "build the screens",
         "write the help pages", "translate the texts", "set up monitoring", "security review", "load test", "trial group",
         "train the support team", "migrate customers", "switch off the old system", "measure results", "report"]  # fmt: skip


@family(FAMILIES, 80, 330)
def project(draw: Draw, words: int) -> Draft:
    bank = draw.one([_JOBS, _SOFT])
    count = max(5, min(len(bank), (words - 50) // 13))
    tasks = [bank[index] for index in sorted(draw.some(range(len(bank)), count))]
    lines: list[str] = []
    for index, task in enumerate(tasks):
        before = sorted(draw.some(range(index), draw.between(1, 2))) if index else []
        after = f" after {' and '.join(chr(65 + k) for k in before)}" if before else ""
        lines.append(f"{chr(65 + index)}: {task}, {draw.between(1, 9)} days{after}")
    late = draw.between(1, count - 2)
    text = draw.fill(
        f"Plan of a project:\n\n{listed(lines)}\n\n"
        + draw.one([
            "Which tasks lie on the critical path, and how many working days does the project take with enough people?",
            f"How many days does it take if only two tasks can be worked on at the same time? Start with {chr(65)}.",
            f"Task {chr(65 + late)} takes <3-6> days longer than planned. By how much does the end move?",
            "One task may be shortened by two days for extra money. Which one should it be?",
        ])
    )  # fmt: skip
    return _pose(draw, text, 192, 512)


@family(FAMILIES, 110, 1500)
def incident(draw: Draw, words: int) -> Draft:
    story = scenes.story(draw)
    question = draw.one([
        "What is the most likely cause? Name the line that shows it best and one check that would confirm it.",
        "Build a timeline of the incident in at most six lines, then name cause, effect and what to do now.",
        "Two explanations are discussed: a recent change, and a lack of resources. Which one does the log support, and "
        "what speaks against the other?",
        "Separate symptoms from causes. Which lines are noise?",
        "What should be done in the next ten minutes, what this week, and what has to be found out first?",
        "Write the cause and the lesson for the review, in five sentences, without blaming anybody.",
    ])  # fmt: skip
    intro = draw.fill(draw.one([
        f"{story.title}. This is the log of the minutes before the call.",
        f"Symptom reported by support: {story.title.lower()}. Log excerpt, all services mixed:",
        f"We were paged for this: {story.title.lower()}. Here is what I could collect from <host> and its neighbours.",
        f"Incident <id>: {story.title.lower()}.",
    ]))  # fmt: skip
    text = scenes.log(draw, words - length(intro, question) - 5, story)
    return _pose(draw, f"{intro}\n\n{text}\n\n{question}", 224, 512, how=False)


_CASES = block("""
Travel: <name> went to <town> by car for <2-4> days, <n=140-620> km in total, because the train would have taken "a bit
  longer". There are hotel bills of <95-190> a night, one minibar item and a taxi at 21:40. What is refunded?
Travel: A customer cancels a visit two days before. The ticket of <60-340> cannot be returned and the hotel keeps one night.
  <name> hands the claim in after <5-9> weeks. What can be paid, and what does the claim still need?
Leave: <name> works three days a week, has been here for <4-11> years and carried <2-7> days over. How many days of leave
  are there this year, and until when does the carried part have to be used?
Leave: In a team of five, two are away in the first half of <month>. <name> asks for <9-12> days in a row, <4-6> weeks
  ahead. May it be approved?
On call: <name> was called at 23:10 and at 02:40 and worked for <20-50> minutes each. Double charges of <3-30> customers
  were involved. Which severity was it, who had to be told and when, and what time off follows?
On call: A release is ready on Friday at 14:00. Whoever is on call says no and gives no reason. <name> points to a promise
  made to a customer. What do the rules say, and what could both do now?
Equipment: <name>'s laptop is <30-47> months old; the repair costs <180-700> and a new one <1100-1900>. The old one is to be
  bought for a relative. What is possible under the rules?
Equipment: A phone with company mail is lost in a train on Saturday evening and reported on Monday at 9:00. Which rules were
  kept and which were broken?
Data: For a sales meeting <name> wants a list of <60-900> customers on a private tablet, with a link that works for
  <10-60> days. Which steps are needed, and what is not allowed at all?
Data: A customer asks for deletion. There are tickets from <2-4> years, access logs of last week and nightly backups. What
  has to happen until when, and what do you answer?
Orders and returns: An order of <n=120-480> contained a bundle of three at a discount. One part is sent back after
  <9-40> days, opened. What is refunded, and who pays the shipping?
Orders and returns: A parcel worth <300-1200> was left without a signature and is gone. The customer asks for the money, the
  carrier refuses. Who has to act, and on what grounds?
""")


@family(FAMILIES, 150, 1500)
def policy(draw: Draw, words: int) -> Draft:
    section, _, case = draw.one(_CASES).partition(": ")
    case = draw.fill(case)
    closing = draw.one([
        "Answer with reference to the numbers of the rules that apply.",
        "Say which rules apply, which do not, and where the rules leave a gap.",
        "Quote the decisive rule by number. If a figure is missing, name it.",
        "Decide, and give the reason in at most five sentences.",
    ])  # fmt: skip
    rules = scenes.handbook(draw, words - length(case, closing) - 8, section)
    return _pose(draw, f"Extract of our handbook:\n\n{rules}\n\nCase: {case}\n\n{closing}", 192, 480, how=False)


@family(FAMILIES, 130, 1300)
def figures(draw: Draw, words: int) -> Draft:
    question = draw.one([
        "Which branch has the highest revenue in total, and which the highest share of returned units?",
        "Rank the product groups by revenue per unit. Is the order the same in each branch?",
        "Find the two rows that deviate most from the others and say what might be behind each.",
        "Write three sentences for the branch managers: one that is good news, one warning and one open question.",
        "If returned units are taken off at the average price of their row, which row loses most?",
        "A manager says that price and returns go together. Does the table support that? Be careful with small numbers.",
        "Which single group should be dropped from one branch if shelf space is short? Give the figures you use.",
    ])  # fmt: skip
    text = scenes.sales(draw, (words - length(question) - 20) * 10 // 13)
    return _pose(draw, f"Figures of our branches (revenue in dollars):\n\n{text}\n\n{question}", 224, 512)


@family(FAMILIES, 130, 1450)
def minutes(draw: Draw, words: int) -> Draft:
    question = draw.one([
        "List who has to do what until when. Mark the tasks that have no date.",
        "Which decisions were made, and which were postponed? For the postponed ones, name what is being waited for.",
        "Which two topics depend on each other although nobody said so? Explain the risk.",
        "Who has too much to do after this meeting? Suggest what could be handed to somebody else.",
        "Write a summary of five sentences for a manager who was absent and cares about cost and dates.",
        "Which statements are facts, which are opinions? Give three of each.",
        "Three of these points could have been a message. Choose them and say why.",
    ])  # fmt: skip
    return _pose(draw, f"{scenes.notes(draw, words - length(question))}\n\n{question}", 192, 512, how=False)


@family(FAMILIES, 110, 300)
def trade_off(draw: Draw, words: int) -> Draft:
    subject, unit = draw.one([
        ("storage providers", "TB"), ("courier services", "parcels"), ("translation agencies", "pages"),
        ("machines for the workshop", "parts"), ("hosting plans", "million requests"), ("solar installers", "panels"),
    ])  # fmt: skip
    rows: list[list[object]] = []
    for index in range(3 if words < 200 else 5):
        fixed, unit_price = draw.between(0, 900, 30), draw.between(40, 990, 5)
        rows.append([
            chr(65 + index), f"{fixed}.00", money(unit_price), f"{draw.between(1, 28)} days", f"9{draw.between(0, 9)}.{draw.below(10)}%",
            draw.one(["monthly", "yearly", "two years", "none"]), draw.one(["mail only", "phone", "phone and mail", "forum"]),
        ])  # fmt: skip
    low = draw.between(40, 300, 10)
    head = (
        "offer",
        "fixed cost a month",
        f"price per {unit.rstrip('s')}",
        "lead time",
        "kept dates",
        "contract",
        "support",
    )
    wish = draw.fill(draw.one([
        "We can live with delays but not with surprises on the bill.",
        "Last year we had to change in the middle of <month>, which we do not want to do again.",
        "The last supplier was cheap and could never be reached.",
        "Nobody in our team has time to look after it every week.",
        "We expect to double within <9-24> months, or to stop altogether.",
    ]))  # fmt: skip
    text = draw.fill(
        f"We compare {subject} for a <trade> in <town>:\n\n{table(head, rows)}\n\nWe need between {low} and "
        f"{low * draw.between(2, 4)} {unit} a month. {wish} "
    )
    text += draw.one([
        "Recommend one and name the point at which you would change your mind.",
        "At which amount does the cheapest offer change? Then weigh the other columns.",
        "Which offers can be ruled out at once, and what would you ask the remaining ones?",
    ])  # fmt: skip
    return _pose(draw, text, 224, 480, how=False)


@family(FAMILIES, 110, 1000)
def timetable(draw: Draw, words: int) -> Draft:
    towns = draw.some(["Northfield", "Eastbrook", "Millhaven", "Stonebridge", "Lakewood", "Westmere", "Redcliff"], 5)
    legs = [(0, 1), (0, 2), (1, 3), (2, 3), (3, 4), (2, 4)]
    rows: list[tuple[object, ...]] = []
    for index in range(max(6, (words - 60) // 13)):
        a, b = legs[index % 6]
        leave = draw.between(6 * 60, 19 * 60, 5) + index // 6
        ride = draw.between(20, 130, 5)
        rows.append(
            (
                towns[a],
                towns[b],
                clock(leave),
                clock(leave + ride),
                draw.one(["train", "bus"]),
                money(ride * draw.between(9, 24)),
            )
        )
    rows.sort(key=lambda row: (str(row[0]), str(row[2]), str(row[1]), str(row[3])))
    change = draw.between(5, 15)
    text = draw.fill(
        f"Connections on a weekday:\n\n{table(('from', 'to', 'leaves', 'arrives', 'by', 'fare'), rows)}\n\n"
        + draw.one([
            f"I want to go from {towns[0]} to {towns[4]}, not before <6-9>:00, with at least {change} minutes for each change. "
            "Which connection arrives first, and which is the cheapest?",
            f"I am in {towns[0]}, have to be in {towns[3]} for two hours and be in {towns[4]} as early as possible. What do "
            f"you suggest, if a change takes {change} minutes? Say so if it cannot be done on one day.",
            f"The line between {towns[0]} and {towns[1]} is closed. Which trips to {towns[4]} are left, and how much later do "
            "they arrive than before?",
        ])
    )  # fmt: skip
    return _pose(draw, text, 192, 480)


@family(FAMILIES, 70, 170)
def experiment(draw: Draw, words: int) -> Draft:
    visitors = draw.between(900, 24000, 10)
    base = visitors * draw.between(2, 9) // 100
    other = base * draw.between(94, 122) // 100
    split = visitors * draw.between(46, 54) // 100 - visitors // 2
    text = draw.fill(
        f"We changed the <page>. Group A saw the old one: {visitors} visitors, {base} finished. Group B saw the new one: "
        f"{visitors + split} visitors, {other} finished. "
    )
    if words > 110:
        phones = other * draw.between(35, 70) // 100
        text += draw.fill(
            f"In group B {phones} of those who finished were on phones, in group A {base * draw.between(30, 60) // 100}. The "
            f"test ran for <5-20> days and included a sale of <2-4> days. Before the test about {draw.between(2, 9)} in a "
            "hundred finished. "
        )
    text += draw.one([
        "Is the new one better? Say what you can and cannot conclude.",
        "How large is the difference in percentage points and in percent, and could it be chance?",
        "Somebody wants to stop the test today. Argue for and against, then decide.",
        "What would you look at before you believe this result? Order it by importance.",
    ])  # fmt: skip
    return _pose(draw, text, 160, 416, how=False)


@family(FAMILIES, 60, 190)
def kitchen(draw: Draw, words: int) -> Draft:
    people = draw.between(3, 8)
    guests = people * draw.between(2, 7) + draw.between(1, 4)
    parts = draw.some(
        ["onions", "carrots", "potatoes", "lentils", "beans", "rice", "butter", "cream", "tomatoes", "leeks"], 5
    )
    grams = [draw.between(100, 1200, 50) for _ in parts]
    lines = ", ".join(f"{gram} g of {part}" for gram, part in zip(grams, parts, strict=True))
    pot, oven = draw.between(4, 9), draw.between(20, 55, 5)
    text = draw.fill(
        f"A <dish> for {people} people takes {lines}. {guests} guests are expected, a third of them children who eat half a "
        f"portion. The largest pot holds {pot} litres, one portion is about 0.4 litres, and each batch needs {oven} minutes "
        "on the stove. "
    )
    if words > 110:
        text += draw.fill(
            f"There are two stoves from <14-15>:00 on, one from <16-17>:30 on. Peeling takes one person {draw.between(4, 9)} "
            f"minutes per kilo, and {draw.between(2, 4)} people help. In the shop {parts[0]} come in bags of "
            f"{draw.between(750, 2500, 250)} g and {parts[1]} in packs of {draw.between(400, 1000, 100)} g. "
        )
    text += draw.one([
        "Write the shopping list and say when to start, if the meal is at 18:30.",
        "How much of each is needed, and how many batches are cooked?",
        "Is one afternoon enough? What would you prepare the day before?",
    ])  # fmt: skip
    return _pose(draw, text, 160, 384)


@family(FAMILIES, 130, 1300)
def ledger(draw: Draw, words: int) -> Draft:
    """A cash book and the statement of the bank, with a few deviations to be found."""
    entries: list[tuple[str, str, int]] = []
    for _ in range(max(5, (words - 60) // 17)):
        day = draw.between(1, 28)
        income = draw.chance(45)
        what = draw.one(
            ["card sales", "cash sales", "market stall", "voucher sales"]
            if income
            else [
                "rent",
                "fuel",
                "goods from <town>",
                "post",
                "repair of <device>",
                "refund <id>",
                "insurance",
                "cleaning",
            ]
        )
        entries.append((f"{day:02d}", draw.fill(what), draw.between(900, 94000, 5) * (1 if income else -1)))
    entries.sort(key=lambda entry: entry[0])
    odd = sorted(draw.some(range(len(entries)), 3))
    book = [(when, what, f"{'-' if cents < 0 else ''}{money(abs(cents))}") for when, what, cents in entries]
    bank: list[tuple[str, str, str]] = []
    for index, (when, what, cents) in enumerate(entries):
        if index == odd[0]:
            continue
        if index == odd[1]:
            cents += 9 * draw.between(10, 90) * (1 if cents > 0 else -1)
        bank.append((when, what.split()[0], f"{'-' if cents < 0 else ''}{money(abs(cents))}"))
        if index == odd[2]:
            bank.append(bank[-1])
    month = draw.fill("<month>")
    text = (
        f"Cash book of {month}:\n\n{table(('day', 'for', 'amount'), book)}\n\nStatement of the bank:\n\n"
        f"{table(('day', 'text', 'amount'), bank)}\n\n"
    ) + draw.one(
        [
            "Where do the two differ, and what is the likely reason for each difference?",
            "Find the entries that do not match. Which of them point to a typing mistake?",
            "By how much do the totals differ, and which entries explain it?",
        ]
    )
    return _pose(draw, text, 192, 480)


@family(FAMILIES, 100, 330)
def rollout(draw: Draw, words: int) -> Draft:
    facts = draw.fit(max(60, words - 60), block("""
There are <3-9> regions; the smallest has <2-6>% of the traffic and the most patient customers.
The change cannot be undone for records that were written with it, unless a repair job of <2-9> hours is run.
The <team> team is available from <day> on, and only until 16:00.
A partner reads our data every night at <1-4>:30 and stops when a field is missing.
Support wants a notice <2-5> working days before customers can see anything.
Between the <24-26>th and the end of the month invoices are written and nothing may change.
The load test covered <40-70>% of the traffic expected at peak.
Half of the mobile users are on versions older than <3-9> months and cannot be forced to update.
<name> is the only one who knows the old importer, and is away for <1-2> weeks from <day2> on.
The switch can be set by percentage of users or by region, but not by both.
The last release had to be rolled back after <15-90> minutes because of an index that was missing in one region.
Legal wants a written record of who approved which step.
The old system is paid until the end of <month>; every further month costs <2-9>,000.
Monitoring shows errors with a delay of about <4-10> minutes.
"""), least=4)  # fmt: skip
    goal = draw.fill(draw.one([
        "We want to switch all customers to the new <svc> service.", "The database of <svc> moves to another version.",
        "<feature> is to be released to everybody.", "We replace the format of our <svc> events.",
    ]))  # fmt: skip
    wish = draw.one([
        "Plan it in steps, with a criterion for going on and one for going back at each step.",
        "Which step carries the greatest risk, and how would you make it smaller?",
        "Propose a calendar for three weeks and say what has to be clarified before it can start.",
        "Two of these facts are in conflict. Find them and suggest a way out.",
    ])  # fmt: skip
    return _pose(draw, f"{goal} What we know:\n\n{listed(facts)}\n\n{wish}", 256, 512, how=False)


@family(FAMILIES, 60, 140)
def capacity(draw: Draw, words: int) -> Draft:
    users, share = draw.between(3, 90) * 1000, draw.between(4, 30)
    text = draw.fill(draw.one([
        f"An app has {users:,} daily users, {share}% of them active in the busiest hour, with <4-20> requests each. One "
        f"instance handles <30-140> requests a second at 60% load. Peaks within the hour are <2-4> times the mean, and one "
        "instance may fail at any time. How many are needed?",
        f"A model needs <4-40> GB for its weights and {draw.between(80, 640, 20)} KB of cache for each token. A machine has "
        f"{draw.one([48, 64, 80, 96, 128])} GB. Each conversation holds {draw.between(1, 12)},000 tokens on average. How many "
        "fit at the same time if a tenth of the memory stays free? What changes with caches of half the size?",
        f"A help desk gets <120-900> calls between 8:00 and 17:00, a {share + 8}th of them in the hour after lunch. A call "
        "takes <4-11> minutes with notes. How many people are needed in that hour if hardly anybody should wait?",
        f"A backup of {draw.between(2, 40)} TB runs over a line of {draw.one([200, 500, 1000])} Mbit/s of which "
        f"{draw.between(50, 90, 5)}% can be used from 22:00 to 6:00. {share}% of the data changes each week. How long does the "
        "first one take, and is the nightly window enough afterwards?",
    ]))  # fmt: skip
    return _pose(draw, text, 128, 384)


@family(FAMILIES, 100, 1300)
def correspondence(draw: Draw, words: int) -> Draft:
    question = draw.one([
        "What does the writer of the newest mail want, what is missing, and what would you answer? Do not write the answer.",
        "List the open requests in the order in which you would deal with them, with a reason for each.",
        "Which statements can we check ourselves, and how? Which do we have to believe?",
        "Could two of these mails be about the same underlying problem? Argue from the text.",
        "Draft a reply of at most eight sentences that promises nothing we cannot keep.",
    ])  # fmt: skip
    intro = draw.one(
        ["These mails came in today.", "This is what is in our shared inbox.", "Please look at this thread."]
    )
    return _pose(draw, f"{intro}\n\n{scenes.thread(draw, words - length(question))}\n\n{question}", 160, 448, how=False)


_WIDE = [
    "Ein Café verkauft <80-240> Stück Kuchen zu je 3,<10-90> € am Tag und hat Kosten von <120-390> € für Zutaten und Miete. "
    "Ab wie vielen Stück lohnt sich der Tag, und was ändert sich, wenn der Preis um 20 Cent steigt?",
    "Une boulangerie prépare <60-180> baguettes et <40-120> croissants. Une baguette coûte 0,<40-60> € et se vend 1,<10-40> € ; "
    "un croissant coûte 0,<45-70> € et se vend 1,<30-60> €. Quel est le bénéfice si un dixième reste invendu ?",
    "Un autobús sale de la estación a las <6-9>:15 y va a <50-80> km/h; otro sale <20-50> minutos más tarde y va a <85-110> km/h. "
    "¿A qué hora y a qué distancia lo alcanza? Explica los pasos.",
    "ある店では1個<120-280>円の商品を1日に<40-160>個売っています。値段を1割下げると売り上げ個数が<2-4>割増えるとします。"
    "売り上げは増えますか。計算の過程も書いてください。",
    "A rectangular panel measures <80-200> × <40-90> cm (±2 mm each). Its mass is <4-19> kg ± 1 %. Give the mass per m² with its "
    "uncertainty, once by the worst case and once by √(a² + b²), and say which one you would print on the label.",
    "The sign on our café says “<3-9> coffees = 1 free ☕”, and the 10 % student discount → “not combinable”. A group of "
    "<11-40> students pays €2.<20-90> a cup. What is the least they can pay, and how?",
]


@family(FAMILIES, 30, 75)
def any_language(draw: Draw, words: int) -> Draft:
    return ask(draw.fill(draw.one(_WIDE)), draw.between(128, 320, 32))
