"""The rows of reward-augmented preference data."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from pica.synth.rows import PreferenceRow


class RewardAugmentedRow(PreferenceRow, kw_only=True):
    """A preference pair under a goal. `score_chosen` and `score_rejected` are the scores of these very answers, on the
    scale of what scored them: where the loser is preferred, `score_chosen` is the lower one."""

    goal: Annotated[float | None, "score that the prompt asks for; None: none, or one an attribute"] = None
    goals: Annotated[list[float], "scores that the prompt asks for, in the order of `attributes`"] = msgspec.field(
        default_factory=list)
    goal_text: Annotated[str, "text that states the goal in the prompt"] = ""
    goal_style: Annotated[Literal["system", "prefix"] | None, "where the goal stands: in the system message, or before the "
                                                              "first user message"] = None
    side: Annotated[Literal["winner", "loser", "plain"], "which answer of the source pair is preferred here: the one that "
                                                         "the data prefers, or the other; plain: the former, without a goal"]
    margin: Annotated[float, "score of the answer that the data prefers minus the other's, on the scale of what scored", "plain"]
    attributes: Annotated[list[str], "names of the attributes that were scored"] = msgspec.field(default_factory=list)
    attributes_chosen: Annotated[list[float], "their scores of the preferred answer"] = msgspec.field(default_factory=list)
    attributes_rejected: Annotated[list[float], "their scores of the other answer"] = msgspec.field(default_factory=list)
    scorer: Annotated[str, "who scored, and on what scale"]
    prompt_cut: Annotated[int, "characters of the prompt that were left out to fit max_length"] = 0
    pair_id: Annotated[str, "the same for the rows of one pair"]
    source_id: Annotated[str, "id of the row in the data, where it has one"] = ""
    source_row: Annotated[int, "place of the row in its split of the data, from 1", "plain"]
    source_split: Annotated[str, "split of the data that the row is from"]
    responses: Annotated[list[str], "all answers of the policy, in the order of their samples"] = msgspec.field(
        default_factory=list)
    scores: Annotated[list[float], "their scores"] = msgspec.field(default_factory=list)
