"""Judges whose taste is known, and what they are tried with, for tests of audits."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from html import unescape
from pathlib import Path
from typing import Any

from pica.cli import main
from pica.synth.models.base import Request

TASKS = 8
Taste = Callable[[str, str, int], int]  # what the judge makes of two answers to the task with this number: -2 to 2


def honest(number: int) -> str:
    """A good answer to a task."""
    return (f"Magpie number {number} is a bird of the crow family. It lives in pairs near open woods. "
            f"Its nest number {number} has a roof of twigs. That is all.")


def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """A file of JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def tried_with(tmp_path: Path) -> list[str]:
    """Settings: tasks with a checklist, and honest answers to them."""
    tasks = write(tmp_path / "tasks.jsonl", [
        {"id": f"t{number}", "category": "birds", "prompt": f"Tell me what is known about magpie number {number}, and its nest.",
         "checklist": [f"Names magpie number {number}", "Says where it lives"]} for number in range(TASKS)])
    answers = write(tmp_path / "answers.jsonl", [
        {"id": f"t{number}", "model": "honest", "answer": honest(number)} for number in range(TASKS)])
    return [f"tasks={tasks}", f"answers={answers}", "durability=normal"]


def quality(text: str, number: int) -> int:
    """How good an answer is: to the task, whole, and without saying everything twice."""
    if not text.startswith(f"Magpie number {number} is"):
        return 0
    return 3 if text == honest(number) else 2 if "As said above" in text else 1


def fair(first: str, second: str, number: int) -> int:
    """A judge that knows the answers."""
    better = quality(first, number) - quality(second, number)
    return 2 * (better > 0) - 2 * (better < 0)


def seen(request: Request) -> tuple[list[str], list[str], int]:
    """(names of the answers, the answers, number of the task) in a judge's prompt."""
    text = request.messages[-1]["content"]
    assert request.schema is not None
    labels = request.schema["properties"].get("verdict", {}).get("enum")
    names = re.split(r"\W+", labels[0]) if labels else [name for name in request.schema["properties"] if len(name) == 1]
    parts = [re.search(rf"Answer {name}:\n<(data-\w+)>\n(.*?)\n</\1>", text, re.DOTALL) for name in names]
    number = re.search(r"The conversation:\n<(data-\w+)>\n.*?magpie number (\d+)", text)
    assert number is not None
    return names, [part[2] if part else "" for part in parts], int(number[2])


def judge_by(taste: Taste) -> Callable[[Request, int], str]:
    """A judge with this taste."""
    def answer(request: Request, sample: int) -> str:
        names, texts, number = seen(request)
        assert request.schema is not None
        better = taste(texts[0], texts[1], number)
        if "verdict" in request.schema["properties"]:
            return json.dumps({"reason": "so", "verdict": request.schema["properties"]["verdict"]["enum"][2 - better]})
        return json.dumps({"reason": "so", names[0]: 5 + 2 * better, names[1]: 5 - 2 * better})

    return answer


def audit(out: Path, *words: str) -> dict[str, Any]:
    """What `pica audit ... --out OUT` writes to audit.json."""
    assert main(["audit", *words, "--quiet", "--out", str(out)]) == 0
    found: dict[str, Any] = json.loads((out / "audit.json").read_text(encoding="utf-8"))
    return found


def verdicts(found: dict[str, Any]) -> dict[str, str]:
    """By attack."""
    return {one["attack"]: one["verdict"] for one in [*found["attacks"], *found["sanity"]]}


def first_line(out: Path) -> str:
    """What a person reads first in the report."""
    page = (out / "report.html").read_text(encoding="utf-8")
    found = re.search(r'class="verdict[^"]*"[^>]*>(.*?)</', page, re.DOTALL)
    assert found is not None
    return " ".join(unescape(found[1]).split())
