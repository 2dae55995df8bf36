"""What the references of the shipped benchmark must say, calculated from the prompts: code run, tables read, puzzles searched."""

from __future__ import annotations

import json
import math
import re
import sqlite3
from collections import Counter
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from itertools import combinations, pairwise, permutations
from typing import Any

import numpy as np
import pytest

from pica.eval.tasks import read_tasks

TASKS = {task.id: task for task in read_tasks("pica")}
Values = list[str]


def asked(task: str) -> str:
    """The last message of a task."""
    return TASKS[task].conversation[-1]["content"]


def blocks(text: str) -> list[str]:
    """Code between fences."""
    return re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)


def table(task: str, pattern: str) -> list[tuple[str, ...]]:
    """The rows of a prompt that match."""
    return re.findall(pattern, asked(task), re.MULTILINE)


def carnot() -> Values:
    return [f"{308.15 / (308.15 - 258.15):.2f}"]


def two_offers() -> Values:
    days = 46 * 3
    train = days * 19.80
    return [f"{days} days", f"{train:,.2f}", f"{54_000 - train:,.2f}", f"{50_500 + 600:,}", f"{54_000 - train - 51_100:.2f}",
            f"{days * 130 / 60:.0f} hours"]


def abstract() -> Values:
    return [f"{(5.8 - 4.0) / 5.8:.0%}"]


def guests() -> Values:
    found = json.loads(TASKS["pica-032"].reference.partition("\n\n")[0])
    assert [list(guest) for guest in found] == [["name", "phone", "email", "arrival", "guests", "vegetarian"]] * 4
    assert date(2026, 5, 2).strftime("%A") == "Saturday"
    return [json.dumps(guest) for guest in found]


def rent() -> Values:
    return [f"{815 - 780} euros", f"{35 / 780:.2%}"]


def tickets() -> Values:
    """The rules by hand, as words that decide."""
    rules = {"ACCESS": r"sign in|not edit it", "BILLING": r"charged|invoice|price", "BUG": r"greyed out|Manual says|used to",
             "FEATURE": r"Could you add|Please make|nice if"}
    rows = table("pica-035", r"^(\d+) (.+)$")
    assert len(rows) == 10
    labels = [next((name for name, rule in rules.items() if re.search(rule, text)), "OTHER") for _, text in rows]
    return ["\n".join(f"{number} {label}" for (number, _), label in zip(rows, labels, strict=True))]


def sessions() -> Values:
    broken, = blocks(asked("pica-036"))
    fixed, = blocks(TASKS["pica-036"].reference)
    said: list[str] = []
    exec(broken, {"print": lambda value: said.append(str(value))})
    assert said == ["['a', 'd']", "['a', 'd', 'x']"]
    said.clear()
    calls = broken[broken.index("sessions = "):]
    space: dict[str, Any] = {"print": lambda value: said.append(str(value))}
    exec(fixed + calls, space)
    assert [session["id"] for session in space["sessions"]] == ["c"]
    return said


def query() -> Values:
    text = asked("pica-037")
    sql, = blocks(TASKS["pica-037"].reference)
    with sqlite3.connect(":memory:") as database:
        database.executescript(text[text.index("CREATE TABLE"):])
        rows = database.execute(sql).fetchall()
    database.close()
    assert rows == [("Tanaka", 137.1), ("Ferro", 105.75)]
    return [f"{name} {spent:.2f}" for name, spent in rows]


def merged() -> Values:
    space: dict[str, Any] = {}
    exec(blocks(TASKS["pica-038"].reference)[0], space)
    example = [(30, 45), (0, 10), (12, 20), (44, 60)]
    with pytest.raises(ValueError, match=r"\(3, 3\)"):
        space["merge"]([(3, 3)])
    assert space["merge"]([(0, 5), (5, 9)]) == [(0, 9)]
    return [f"gap=2: {space['merge'](example, gap=2)}", f"gap=0: {space['merge'](example)}"]


def errors_an_hour() -> Values:
    hours = [hour for hour, status in table("pica-039", r'2025:(\d\d):\S+ \S+ "[^"]*" (\d{3}) ') if 500 <= int(status) <= 599]
    return ["\n".join(f"{hour} {count}" for hour, count in sorted(Counter(hours).items()))]


def pool() -> Values:
    return [f"about {40 / 5 * 0.3:.1f} s"]


def talks() -> Values:
    days = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
    found = [(ada, bram, chidi, dora, emil) for ada, bram, chidi, dora, emil in permutations(range(5))
             if dora == bram + 1 and emil not in {0, 4} and chidi < emil and chidi and abs(ada - chidi) != 1]
    assert len(found) == 1
    names = dict(zip(found[0], ("Ada", "Bram", "Chidi", "Dora", "Emil"), strict=True))
    return [", ".join(f"{day} {names[number]}" for number, day in enumerate(days))]


def servers() -> Values:
    true = {broken: sum((broken in {2, 3}, broken != 2, broken == 1, broken == 2)) for broken in range(1, 5)}
    assert true == {1: 2, 2: 2, 3: 2, 4: 1}
    return ["S4 is broken", "S1, S2 and S3 all fit"]


def flight() -> Values:
    zones = {name: timezone(timedelta(hours=hours)) for name, hours in (("AKL", 13), ("LAX", -8), ("NYC", -5))}
    start = datetime(2025, 11, 14, 19, 45, tzinfo=zones["AKL"])
    west = start + timedelta(hours=11, minutes=50)
    end = west + timedelta(hours=8, minutes=45)
    call = datetime(2025, 11, 15, 17, 30, tzinfo=zones["AKL"])
    assert call - end == timedelta(hours=1, minutes=10)
    assert end.astimezone(zones["NYC"]).replace(tzinfo=None) - start.replace(tzinfo=None) == timedelta(hours=2, minutes=35)
    assert start.strftime("%A") == "Friday"
    return [f"{west.astimezone(zones['LAX']):%A %H:%M} local", f"{end.astimezone(zones['NYC']):%A %H:%M} local", "2 h 35 min",
            f"{call.astimezone(zones['NYC']):%A %H:%M} in New York", "really 20 h 35 min", "1 h 10 min after"]


def day_trip() -> Values:
    """The earliest time at the pier over all orders, in minutes of the day."""
    def visit(place: str, now: int) -> int | None:
        length, starts = {"mill": (45, [*range(600, 676), *range(840, 916)]), "castle": (75, [660, 780, 900]),
                          "museum": (60, [*range(720, 961)]), "lunch": (45, [*range(720, 811)])}[place]
        return next((start + length for start in starts if start >= now), None)

    found = []
    for order in permutations(("mill", "castle", "museum", "lunch")):
        now: int | None = 610
        for place in order:
            now = None if now is None else visit(place, now + (0 if place == "lunch" else 15))
        if now is not None and now + 15 <= 990:
            found.append(now + 15)
    return [f"pier {min(found) // 60}:{min(found) % 60:02d}"]


def study() -> Values:
    return [f"{4 * (4 * 1.5 + 4) - 1.5 - 4:g} h", f"= {9 + 7.5 + 6 + 5 + 2 * 3:g} h"]


def project() -> Values:
    tasks = {name: (int(days), [one for one in after if one.isupper()])
             for name, days, after in table("pica-049", r"^([A-H]) [a-z ]+ (\d+)(?:, after ([A-H and]+))?$")}
    assert len(tasks) == 8

    def finish(name: str, late: int) -> int:
        days, after = tasks[name]
        return days + (late if name == "C" else 0) + max((finish(one, late) for one in after), default=0)

    latest_fit = finish("H", 0) - tasks["H"][0] - tasks["G"][0]
    return [", ".join(f"{name} {finish(name, 0)}" for name in "ABCDEFGH"), f"{finish('H', 0)} working days",
            f"{latest_fit - finish('F', 0)} day of slack", ", ".join(f"{name} {finish(name, 4)}" for name in "CFGH"),
            f"{finish('H', 4) - finish('H', 0)} days more"]


def move() -> Values:
    return [f"{(date(2025, 6, 14) - date(2025, 5, 12)).days} days", f"(a {date(2025, 6, 14):%A} in 2025)"]


def coat() -> Values:
    one, other = 240 * 0.8 * 0.85 + 7.5, 240 * 0.67
    return [f"{one:.2f}", f"{other:.2f}", f"{one - other:.2f}", f"{1 - 0.8 * 0.85:.0%} off"]


def marbles() -> Values:
    bag = "r" * 5 + "b" * 4 + "g" * 3
    draws = ["".join(bag[place] for place in draw) for draw in combinations(range(12), 4)]
    mixed = [draw for draw in draws if len(set(draw)) == 3]
    twice = [sum(draw.count(colour) == 2 for draw in mixed) for colour in "rbg"]
    assert (len(mixed) * 11, twice[2] * 9) == (len(draws) * 6, len(mixed) * 2)
    return [f"= {len(draws)}", *(f"= {count};" for count in twice[:2]), f"= {twice[2]}; together {len(mixed)}",
            f"{len(mixed)}/{len(draws)} = 6/11", f"{twice[2]}/{len(mixed)} = 2/9"]


def gravel() -> Values:
    area = math.pi * (5.4**2 - 4.2**2)
    bags = [math.ceil(area * depth * 1600 / 25) for depth in (0.06, 0.08)]
    return [f"{area:.2f} m²", f"{area * .06:.3f} m³", f"{area * .06 * 1600:,.0f} kg", f"so {bags[0]}.", f"{bags[1]} bags",
            *(f"{count * 4.15:.2f} euros" for count in bags)]


def codes() -> Values:
    found = ["".join(map(str, code)) for code in combinations(range(10), 4) if sum(code) == 20]
    assert len(found) == 16
    return [f"Sixteen codes: {', '.join(found)}."]


def loan() -> Values:
    def paid(payment: float) -> tuple[int, float, float]:
        balance, months, interest, last = 12_000.0, 0, 0.0, 0.0
        while balance > 0.005:
            added = round(balance * 0.066 / 12, 2)
            last = min(payment, balance + added)
            balance, months, interest = balance + added - last, months + 1, interest + added
        return months, interest, last

    plain = 12_000 * 0.0055 / (1 - 1.0055**-48)
    months, interest, last = paid(385.13)
    assert f"{plain:.2f}" in TASKS["pica-055"].conversation[1]["content"]
    saved = plain * 48 - 12_000 - interest
    return [f"{months} payments", f"about {last:.0f} euros", f"({interest:,.2f})", f"about {saved:.0f} euros",
            f"= {-math.log(1 - 12_000 * .0055 / 385.13) / math.log(1.0055):.1f}", f"= {48 * 285.13 / 385.13:.1f}"]


def shop() -> Values:
    rows = [(month, int(sales), int(returns)) for month, sales, returns in table("pica-056", r"^(\w{3}),(\d+),(\d+)$")]
    net = [sales - returns for _, sales, returns in rows]
    change = [after - before for before, after in pairwise(net)]
    worst = min(range(11), key=change.__getitem__)
    assert rows[worst + 1][0] == "Jul"
    return ["; ".join(f"{value:,}" for value in net), "; ".join(f"{sum(net[i:i + 3]):,}" for i in range(0, 12, 3)),
            f"{-change[worst]:,} euros, {-change[worst] / net[worst]:.1%}", f"Sum {sum(net):,}, mean {sum(net) / 12:,.2f}",
            f"{rows[0][2] / rows[0][1]:.1%} in January", f"{rows[-1][2] / rows[-1][1]:.1%} in December"]


def sign_ups() -> Values:
    a, b = 412 / 9800, 468 / 9750
    pooled = (412 + 468) / (9800 + 9750)
    z = (b - a) / math.sqrt(pooled * (1 - pooled) * (1 / 9800 + 1 / 9750))
    half = 1.96 * math.sqrt(a * (1 - a) / 9800 + b * (1 - b) / 9750)
    return [f"{a:.3%}", f"{b:.3%}", f"{100 * (b - a):.3f} percentage", f"+{b / a - 1:.1%}", f"z = {z:.2f}",
            f"p = {math.erfc(z / math.sqrt(2)):.3f}", f"{(b - a + half) / a:.0%})",
            f"about {100 * (b - a - half):.2f} to {100 * (b - a + half):.2f} percentage"]


def teams() -> Values:
    rows = {(team, kind): (int(closed), int(total)) for team, kind, total, closed in
            table("pica-058", r"^(Kestrel|Heron),(easy|hard),(\d+),(\d+)$")}
    share = {key: closed / total for key, (closed, total) in rows.items()}
    easy = sum(total for (_, kind), (_, total) in rows.items() if kind == "easy") / 560
    level = {team: easy * share[team, "easy"] + (1 - easy) * share[team, "hard"] for team in ("Kestrel", "Heron")}
    return [*(f"{rows[key][0]}/{rows[key][1]} = {value:.0%}" for key, value in share.items()),
            f"Kestrel gets {level['Kestrel']:.0%} and Heron {level['Heron']:.0%}"]


def greenhouse() -> Values:
    kept: dict[str, float] = {}
    for time, text in table("pica-059", r"^(\d\d:\d\d),(.*)$"):
        if text not in {"", "ERR"}:
            value = float(text)
            kept.setdefault(time, (value - 32) / 1.8 if value > 45 else value)
    values = [round(value, 1) for value in kept.values()]
    mean = np.mean(list(kept.values()))
    return [", ".join(map(str, values)), f"Mean {mean:.2f}", f"min {min(values)} °C", f"max {max(values)} °C"]


def sleep() -> Values:
    rows = [(float(hours), float(points)) for hours, points in table("pica-060", r"^\w+,([\d.]+),(\d+)$")]
    assert len(rows) == 8
    return [f"r = {np.corrcoef(np.array(some).T)[0, 1]:.2f}" for some in (rows, rows[:-1])]


#: task -> texts that its reference must hold
COMPUTED: dict[str, Callable[[], Values]] = {
    "pica-004": carnot, "pica-008": two_offers, "pica-019": abstract, "pica-032": guests, "pica-034": rent, "pica-035": tickets,
    "pica-036": sessions, "pica-037": query, "pica-038": merged, "pica-039": errors_an_hour, "pica-040": pool, "pica-041": talks,
    "pica-042": servers, "pica-044": flight, "pica-046": day_trip, "pica-047": study, "pica-049": project, "pica-050": move,
    "pica-051": coat, "pica-052": marbles, "pica-053": gravel, "pica-054": codes, "pica-055": loan, "pica-056": shop,
    "pica-057": sign_ups, "pica-058": teams, "pica-059": greenhouse, "pica-060": sleep,
}
