"""Tasks, answers and battles made by hand for tests of evaluations."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pica.cli import main

CATEGORIES = ("birds", "trees")
#: contestants of known length: `long` is the longest answer to every task
LENGTHS = {"long": 40, "middle": 30, "short": 20, "tiny": 10}


def lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """A file of JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def words(number: int, count: int) -> str:
    """An answer to a task, of so many words, which the detectors take for one."""
    known = ["Magpie", "number", str(number), "lives", "near", "open", "woods", "and", "builds", "nests"]
    return " ".join(known[place % 10] for place in range(count))


def given(folder: Path, texts: Mapping[str, Callable[[int], str | None]], n: int) -> list[str]:
    """Settings: `n` tasks in two categories, and what every label answers to them (None: nothing). The judge is not audited."""
    folder.mkdir(parents=True, exist_ok=True)
    tasks = lines(folder / "tasks.jsonl", [
        {"id": f"t{number}", "category": CATEGORIES[number % 2], "prompt": f"What is known of magpie number {number} near open "
         "woods?", "checklist": [f"Names magpie number {number}"]} for number in range(n)])
    answers = lines(folder / "answers.jsonl", [
        {"id": f"t{number}", "model": label, "answer": text} for label, of in texts.items() for number in range(n)
        if (text := of(number)) is not None])
    return [f"tasks={tasks}", f"answers={answers}", "audit=0", "durability=normal", "rounds=200"]


def by_length(lengths: Mapping[str, int] = LENGTHS) -> dict[str, Callable[[int], str | None]]:
    """Contestants whose answers have a known length."""
    return {label: lambda number, count=count: words(number, count + number % 5) for label, count in lengths.items()}


def evaluate(out: Path, *settings: str, benchmark: str = "arena", code: int = 0) -> list[dict[str, Any]]:
    """The leaderboard of `pica eval BENCHMARK ... --out OUT`."""
    assert main(["eval", benchmark, *settings, "--quiet", "--out", str(out)]) == code
    found: list[dict[str, Any]] = json.loads((out / "leaderboard.json").read_text(encoding="utf-8")) if code == 0 else []
    return found


def manifest(out: Path) -> dict[str, Any]:
    """What a folder says of itself."""
    found: dict[str, Any] = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    return found


def game(verdict: str | None, order: str = "ab", judge: str = "j") -> dict[str, Any]:
    """A judge's verdict."""
    return {"judge": judge, "order": order, "verdict": verdict}


def battle(task: str, model_a: str, model_b: str, verdicts: Sequence[str | None], *, answer_a: str = "one two",
           answer_b: str = "one", category: str = "birds") -> dict[str, Any]:
    """A battle judged in both orders by one judge."""
    worth = {"a>>b": 1.0, "a>b": 1.0, "a=b": 0.5, "b>a": 0.0, "b>>a": 0.0}
    known = [worth[verdict] for verdict in verdicts if verdict is not None]
    share = sum(known) / len(known) if known else None
    agreed = share if len(set(known)) < 2 else 0.5
    outcome = "unscored" if agreed is None else "a" if agreed > 0.5 else "b" if agreed < 0.5 else "tie"
    return {"id": f"{task}-{model_a}-{model_b}", "task": task, "category": category, "model_a": model_a, "model_b": model_b,
            "answer_a": answer_a, "answer_b": answer_b, "length_a": len(answer_a), "length_b": len(answer_b),
            "games": [game(verdict, order) for verdict, order in zip(verdicts, ("ab", "ba"), strict=False)],
            "share_a": share, "outcome": outcome}
