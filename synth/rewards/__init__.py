"""What scores an answer: reward models, judges, checklists, a policy's implicit reward, rules, and sums of them.

    scorer = Judge(ModelConfig(name="openai/NAME"))
    await scorer.prepare(run)                                   # once
    score = await scorer.score(draft, "reward", messages)       # messages end with the assistant
    score.value                                                 # None: unscored, and `score.reason` says why

A user states rewards as data, which `parse_reward` and `scorer_of` make into a `Scorer`: `{model: hf/RM}`,
`{judge: openai/NAME, rubric: helpful}`, `{checklist: [...], judge: ...}`, `{implicit: hf/POLICY, reference: hf/REF}`,
`{rule: length, target: 200, weight: 0.5}`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pica.synth.rewards.base import Row, Score, Scorer, request_and_answer
    from pica.synth.rewards.checklist import Checklist
    from pica.synth.rewards.combine import Combined
    from pica.synth.rewards.config import Reward, RewardConfig, parse_reward, scorer_of
    from pica.synth.rewards.implicit import Implicit
    from pica.synth.rewards.judge import RUBRICS, Judge, load_rubric
    from pica.synth.rewards.model import RewardModel, labels
    from pica.synth.rewards.rules import Rule

__all__ = ["RUBRICS", "Checklist", "Combined", "Implicit", "Judge", "Reward", "RewardConfig", "RewardModel", "Row", "Rule",
           "Score", "Scorer", "labels", "load_rubric", "parse_reward", "request_and_answer", "scorer_of"]

_MODULES = {"RUBRICS": "judge", "Checklist": "checklist", "Combined": "combine", "Implicit": "implicit", "Judge": "judge",
            "Reward": "config", "RewardConfig": "config", "RewardModel": "model", "Row": "base", "Rule": "rules", "Score": "base",
            "Scorer": "base", "labels": "model", "load_rubric": "judge", "parse_reward": "config", "request_and_answer": "base",
            "scorer_of": "config"}


def __getattr__(name: str) -> Any:
    """Load what is asked for: a config that only states rewards needs none of what makes calls."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
