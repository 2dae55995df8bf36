"""Battles made by hand, as `pica eval` writes them, and what Arena Learning makes of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from books import rows

from pica.eval.battle import MIRROR
from pica.recipes.arena_learning.recipe import ArenaLearning
from pica.synth.config import parse_config
from pica.synth.recipe import make

#: scores of (target, rival) in an order, or an outcome with the target as a; None: no verdict
Seen = tuple[float, float] | str | None


def game(order: str, seen: Seen, judge: str = "j") -> dict[str, Any]:
    """A judge's verdict on the target (a) and a rival (b)."""
    if isinstance(seen, tuple):
        verdict = "a>b" if seen[0] > seen[1] else "b>a" if seen[1] > seen[0] else "a=b"
        return {"judge": judge, "order": order, "verdict": verdict, "score_a": seen[0], "score_b": seen[1]}
    return {"judge": judge, "order": order, "verdict": seen, "score_a": None, "score_b": None}


def battle(rival: str, *orders: Seen | Sequence[Seen], task: str = "t1", mine: str = "my answer", theirs: str | None = None,
           prompt: str = "What is a magpie?", **more: Any) -> dict[str, Any]:
    """A battle of `mine` (a) with a rival (b). `orders`: what was seen where the target stood first, then where it stood second;
    of a jury a list, one a member."""
    games = [game(order, one, f"j{number}" if isinstance(seen, list) else "j")
             for order, seen in zip(("ab", "ba"), orders, strict=False)
             for number, one in enumerate(seen if isinstance(seen, list) else [seen])]
    return {"id": f"{task}-{rival}", "task": task, "category": "birds", "tags": ["facts", "short"],
            "prompt": [{"role": "user", "content": prompt}], "model_a": "mine", "model_b": rival, "answer_a": mine,
            "answer_b": f"answer of {rival}" if theirs is None else theirs, "games": games,
            "calls": [f"call-{rival}", "call-mine"], **more}


def mirror(row: dict[str, Any]) -> dict[str, Any]:
    """The same battle with its sides swapped."""
    games = [{**one, "order": one["order"][::-1], "verdict": MIRROR.get(one["verdict"]), "score_a": one["score_b"],
              "score_b": one["score_a"]} for one in row["games"]]
    sides = {f"{name}_{side}": row[f"{name}_{other}"] for name in ("model", "answer") for side, other in (("a", "b"), ("b", "a"))}
    return {**row, **sides, "games": games}


def write(path: Path, battles: Iterable[dict[str, Any]]) -> Path:
    """A file of battles."""
    path.write_text("".join(json.dumps(row) + "\n" for row in battles), encoding="utf-8")
    return path


def run(out: Path, **settings: Any) -> dict[str, Any]:
    """The manifest of `pica run arena-learning ... --out OUT`."""
    config = parse_config(ArenaLearning.config_class, {"durability": "normal", **settings})
    return asyncio.run(make(ArenaLearning(config), out)).manifest


def learn(folder: Path, battles: Iterable[dict[str, Any]], **settings: Any) -> list[dict[str, Any]]:
    """The rows that Arena Learning makes of these battles, from the side of `mine`."""
    folder.mkdir(parents=True, exist_ok=True)
    run(folder / "out", battles=str(write(folder / "battles.jsonl", battles)), target="mine", **settings)
    return rows(folder / "out")


def gap(rival: str, value: float | None, scores: tuple[float | None, float | None], orders: Sequence[float | None], *,
        unscored: int = 0, problem: str = "") -> dict[str, Any]:
    """What a row says of a battle. `scores`: (target's, rival's)."""
    return {"rival": rival, "gap": value, "target_score": scores[0], "rival_score": scores[1], "orders": list(orders),
            "unscored": unscored, "problem": problem}


def expected(rival: str, gaps: Sequence[dict[str, Any]], *, use: str = "sft", won: bool = False, **more: Any) -> dict[str, Any]:
    """The whole row, but for its id, of a battle with `rival` made by `battle`."""
    own = next(one for one in gaps if one["rival"] == rival)
    mine, theirs = more.get("target_answer", "my answer"), more.get("rival_answer", f"answer of {rival}")
    prompt = [{"role": "user", "content": "What is a magpie?"}]
    said = {"mine": [{"role": "assistant", "content": mine}], rival: [{"role": "assistant", "content": theirs}]}
    better, worse = ("mine", rival) if won else (rival, "mine")
    scores = {"mine": own["target_score"], rival: own["rival_score"]}
    taught: dict[str, Any] = {"prompt": prompt}
    if use == "sft":
        taught = {"messages": [*prompt, *said[better]]}
    elif use != "online":
        taught |= {"chosen": said[better], "rejected": said[worse], "score_chosen": scores[better],
                   "score_rejected": scores[worse], "model_chosen": better, "model_rejected": worse}
    return {**taught, "task": "t1", "category": "birds", "tags": ["facts", "short"], "target": "mine", "rival": rival,
            "result": "won" if won else "lost", "gap": own["gap"], "target_score": own["target_score"],
            "rival_score": own["rival_score"], "target_answer": mine, "rival_answer": theirs, "target_length": len(mine),
            "gaps": list(gaps), "judge": "j", "recipe": "arena-learning", "model": better, "seed": 0,
            "calls": list(dict.fromkeys(call for one in gaps for call in (f"call-{one['rival']}", "call-mine"))), **more}
