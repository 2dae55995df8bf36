"""Arena-Hard's official files, made by hand for tests."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

V01_BASE, HARD_BASE, CREATIVE_BASE = "gpt-4-0314", "o3-mini-2025-01-31", "gemini-2.0-flash-001"
Pair = tuple[str | None, str | None]


def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """A file of JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def asked(question: str, first: str, second: str) -> str:
    """The official judge's user prompt."""
    return (f"<|User Prompt|>\n{question}\n\n<|The Start of Assistant A's Answer|>\n{first}\n<|The End of Assistant A's Answer|>"
            f"\n\n<|The Start of Assistant B's Answer|>\n{second}\n<|The End of Assistant B's Answer|>")


def v01(question: str, model: str, labels: Pair, *, judge: str = "gpt-4-1106-preview", mine: str = "",
        base: str = "") -> dict[str, Any]:
    """A v0.1 judgment; the answers' texts can be given."""
    mine, base = mine or f"{model} on {question}", base or f"baseline on {question}"
    texts = [asked(f"ask {question}", *sides) for sides in ((base, mine), (mine, base))]
    return {"question_id": question, "model": model, "judge": judge,
            "games": [{"user_prompt": text, "judgment": f"I judge: [[{label}]]", "score": label}
                      for text, label in zip(texts, labels, strict=True)]}


def v2(question: str, model: str, labels: Sequence[str | None], *, judge: str = "gpt-4.1", category: str = "hard_prompt",
       baseline: str = HARD_BASE, null: Sequence[int] = ()) -> dict[str, Any]:
    """A v2 judgment. `null`: games that failed."""
    games = [None if place in null else {"score": label, "judgment": {"answer": f"[[{label}]]", "thought": "hm"},
                                         "prompt": [{"role": "system", "content": "be fair"},
                                                    {"role": "user", "content": asked(f"ask {question}", "x", "y")}]}
             for place, label in enumerate(labels)]
    return {"uid": question, "category": category, "judge": judge, "model": model, "baseline": baseline, "games": games}


#: what two models got against gpt-4-0314; by hand, weights in brackets:
#: strong: won (3), won (3); lost (1), tie (1); none, won (1): v0.1 and pica 7.5 / 9, v2 without q3 6.5 / 8
#: weak: lost (3), lost (3); tie, tie; lost (1), tie (1): 1.5 / 10
VERDICTS: dict[str, dict[str, Pair]] = {
    "strong": {"q1": ("B>>A", "A>>B"), "q2": ("A>B", "A=B"), "q3": (None, "A>B")},
    "weak": {"q1": ("A>>B", "B>>A"), "q2": ("A=B", "A=B"), "q3": ("A>B", "A=B")},
}


def judged(folder: Path, verdicts: Mapping[str, Mapping[str, Pair]] = VERDICTS) -> Path:
    """A judge's folder with a file a model."""
    for model, by_question in verdicts.items():
        write(folder / f"{model}.jsonl", [v01(question, model, labels) for question, labels in by_question.items()])
    return folder
