"""How long a report takes to build, how large it is, and how quick it is in a browser.

    PYTHONPATH=. python scripts/bench/report.py [--rows 10000] [--keep FILE]

Rows are made up here (Magpie-like, about 2,500 characters each, one in eight rejected). Chromium runs headless;
without it the browser's part is left out.
"""

from __future__ import annotations

import argparse
import random
import resource
import shutil
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pica.synth.report import Bars, Column, Distribution, Histogram, Report, write_report

CATEGORIES = ["Information seeking", "Reasoning", "Planning", "Editing", "Coding & Debugging", "Math", "Role playing",
              "Data analysis", "Creative writing", "Advice seeking", "Brainstorming", "Others"]
DIFFICULTY = ["very easy", "easy", "medium", "hard", "very hard"]
QUALITY = ["very poor", "poor", "average", "good", "excellent"]
REASONS = ["quality below good", "near duplicate", "answer cut at the token limit", "reward below -10", "unsafe",
           "tag not parsed", "instruction ends mid-sentence"]
ASKS = ["How do tidal forces shape the orbit of a small moon?",
        "Which of these three witnesses must be lying, and why?",
        "Plan five days in Lisbon for a family with a toddler and little money.",
        "Make this paragraph half as long and keep its tone.",
        "My Python script reads a 40 GB log and runs out of memory. How can I count error lines by hour?",
        "What is the probability that two of 23 people share a birthday? Show the steps.",
        "Act as a chess coach and explain why the Caro-Kann suits cautious players.",
        "Given monthly sales of three shops, which statistic shows a change of trend first?",
        "Write a polite letter, in verse, that asks a landlord to repair a heater.",
        "How should I prepare for a first marathon in sixteen weeks?",
        "Give me ten names for a bakery that only sells rye bread.",
        "Wie erkläre ich einem Kind, warum der Himmel blau ist?"]
WORDS = """the of a and to in is that it for on with as by at from this be are an which or not but can all their more
    other when model data value result first time number part small large between system change point line work
    order case study water light force rate step total given same each below above because therefore however example"""
CODE = """```python
from collections import Counter

def by_hour(path):
    with open(path) as log:
        return Counter(line[:13] for line in log if ' ERROR ' in line)
```"""


FLAGS = ("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
         "disable-component-update", "disable-sync", "window-size=1440,900")


def prose(rng: random.Random, length: int) -> str:
    """Filler of about `length` characters in paragraphs."""
    text, paragraph, words = "", "", WORDS.split()
    while len(text) + len(paragraph) < length:
        sentence = " ".join(rng.choice(words) for _ in range(rng.randint(7, 19)))
        paragraph += sentence.capitalize() + ". "
        if rng.random() < 0.2:
            text, paragraph = text + paragraph.strip() + "\n\n", ""
    return (text + paragraph).strip()


def make_rows(n: int, seed: int = 0) -> Iterator[dict[str, Any]]:
    """`n` rows in the columns of the Magpie recipe."""
    rng, tasks = random.Random(seed), list(zip(CATEGORIES, ASKS, strict=True))
    for i in range(n):
        category, ask = rng.choices(tasks, [30, 9, 7, 6, 14, 12, 4, 4, 7, 8, 5, 2])[0]
        instruction = ask if rng.random() < 0.5 else f"{ask}\n\n{prose(rng, rng.randint(40, 700))}"
        answer = prose(rng, min(20_000, round(rng.lognormvariate(7.3, 0.6))))
        if category == "Coding & Debugging":
            answer = f"{answer[:300]}\n\n{CODE}\n\n{answer[300:]}"
        reward = rng.gauss(1.5, 4)
        row: dict[str, Any] = {
            "id": f"magpie-{i:06d}",
            "messages": [{"role": "user", "content": instruction}, {"role": "assistant", "content": answer}],
            "difficulty": rng.choices(DIFFICULTY, [8, 30, 38, 19, 5])[0],
            "quality": rng.choices(QUALITY, [2, 6, 22, 45, 25])[0],
            "category": category, "language": rng.choices(["en", "de", "es", "zh", "fr"], [86, 5, 4, 3, 2])[0],
            "reward": round(reward, 3), "reward_difference": round(rng.gauss(3, 3), 3),
            "min_neighbor_distance": round(min(0.98, abs(rng.gauss(0.34, 0.17))), 4),
            "input_length": len(instruction), "output_length": len(answer),
            "intent": "The user wants to understand a subject well enough to explain it to somebody else.",
            "knowledge": "General knowledge of the subject and the patience to lay it out in steps.",
            "model": "local", "seed": rng.getrandbits(63), "recipe": "magpie",
            "calls": [f"{rng.getrandbits(128):032x}" for _ in range(5)],
        }
        if i % 8 == 5:
            row["reject_reason"] = rng.choices(REASONS, [30, 22, 14, 10, 2, 6, 16])[0]
            if "quality" in row["reject_reason"]:
                row["reject_detail"] = f"found {row['quality']}, wanted good or excellent"
        yield row


def columns() -> list[Column]:
    """The table's columns for such rows."""
    return [
        Column("category", "category", "what kind of task this is, by the tagger"),
        Column("difficulty", "category", "how hard the tagger finds it", order=DIFFICULTY),
        Column("quality", "category", "how clear the instruction is, by the tagger", order=QUALITY),
        Column("language", "category", "ISO 639-1 code", shown=False),
        Column("reward", "number", "the reward model's raw score"),
        Column("min_neighbor_distance", "number", "squared L2 distance to the nearest other instruction", "distance"),
        Column("input_length", "number", "characters of the instruction", "input", "chars"),
        Column("output_length", "number", "characters of the response", "output", "chars"),
    ]


def make_report(n: int) -> Report:
    """A whole report over `n` such rows."""
    rows = list(make_rows(n))
    bad = [row for row in rows if row.get("reject_reason")]
    good = [row for row in rows if not row.get("reject_reason")]

    def bars(title: str, field: str, order: list[str] | None = None) -> Bars:
        counts = Counter(row[field] for row in (bad if field == "reject_reason" else good))
        return Bars(title, [(k, counts[k]) for k in order] if order else counts.most_common(), field=field)

    def spread(title: str, field: str, unit: str = "", log: bool = False) -> Histogram:
        return Distribution((row[field] for row in good), log=log).histogram(title, unit=unit, field=field)

    return Report(
        "Magpie · SFT dataset", f"{len(good):,} rows accepted of {n:,} made; {len(bad):,} rejected",
        "Instructions and responses by local (SmolLM2-135M-Instruct); tags by the same model.",
        warnings=["The tagger is the model that wrote the instructions: its tags are opinions of itself."],
        facts=[("teacher", "local"), ("responder", "local"), ("tagger", "local"), ("seed", "42"),
               ("calls", f"{5 * n:,}"), ("served from the ledger", "0"), ("prompt tokens", f"{431 * n:,}"),
               ("completion tokens", f"{512 * n:,}"), ("cost", "$0.00"), ("wall time", "6 min 12 s")],
        sections=[bars("Why rows were rejected", "reject_reason"), bars("Task category", "category"),
                  bars("Difficulty", "difficulty", DIFFICULTY), bars("Instruction quality", "quality", QUALITY),
                  spread("Response length", "output_length", "chars", log=True),
                  spread("Instruction length", "input_length", "chars"), spread("Reward", "reward"),
                  spread("Distance to the nearest neighbour", "min_neighbor_distance"), bars("Language", "language")],
        rows=rows, columns=columns())


def in_browser(path: Path) -> None:
    """Load the page in headless Chromium and time what its script measures itself."""
    from selenium import webdriver
    from selenium.webdriver.support.ui import WebDriverWait

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    with tempfile.TemporaryDirectory() as profile:
        for flag in FLAGS:
            options.add_argument(f"--{flag}")
        options.add_argument(f"--user-data-dir={profile}")
        driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
        try:
            driver.get(path.absolute().as_uri())
            WebDriverWait(driver, 60).until(lambda d: d.execute_script("return document.documentElement.dataset.ready"))
            load = driver.execute_script("return performance.getEntriesByName('pica:load')[0].duration")
            elements = driver.execute_script("return document.all.length")
            print(f"in the browser: ready after {load:,.0f} ms, {elements:,} elements")
            for query in ("marathon", "python memory", '"tidal forces"', "zzzz", "e"):
                median = search(driver, query)
                print(f"  search {query!r}: {median:.1f} ms, {driver.find_element('id', 'matches').text}")
        finally:
            driver.quit()


def search(driver: Any, query: str) -> float:
    """Median time of one search with filters, counts and list, in ms."""
    script = """const box = document.getElementById("search"), [query, done] = arguments;
        performance.clearMeasures("pica:update"); box.value = query; box.dispatchEvent(new Event("input"));
        setTimeout(() => done(performance.getEntriesByName("pica:update").at(-1).duration), 400);"""
    times: list[float] = []
    for _ in range(5):
        driver.execute_async_script(script, "")
        times.append(driver.execute_async_script(script, query))
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--keep", type=Path, help="write the report here and keep it")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = args.keep or Path(folder) / "report.html"
        report = make_report(args.rows)
        start = time.perf_counter()
        info = write_report(report, path)
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"built: {args.rows:,} rows in {seconds:.2f} s, {info.bytes / 1e6:.1f} MB, "
              f"peak {peak:,.0f} MB (the rows themselves included)")
        if shutil.which("chromium") and shutil.which("chromedriver"):
            in_browser(path)
        else:
            print("in the browser: not measured, chromium and chromedriver are not installed")


if __name__ == "__main__":
    main()
