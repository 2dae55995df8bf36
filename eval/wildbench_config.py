"""Settings of `pica eval wildbench`."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from pica.eval.evaluation_config import EvalConfig

Mode = Literal["score", "reward"]


class WildBenchConfig(EvalConfig):
    """Settings of WildBench."""

    reads: ClassVar[tuple[str, ...]] = (*EvalConfig.reads, "scores", "rewards")
    summary: ClassVar[str] = "answers scored against checklists, or compared with baselines; official files"

    mode: Mode = Field("score", description="score: WB-Score, every answer by itself; reward: WB-Reward, against baselines; "
                                            "where rewards are given: reward")
    tasks: str = Field("", description="what is asked: WildBench's tasks (allenai/WildBench:v2, split=test) or any others; "
                                       "default: what the scores or rewards are of, else pica")
    scores: str = Field("", description="official score files: eval_results/.../score.v2/eval=JUDGE, or one file")
    rewards: str = Field("", description="official pairwise files: eval_results/.../pairwise.v2/eval=JUDGE, or one file")
    baselines: list[str] = Field([], description="labels that all are compared with; default: those of rewards, or WildBench's")
    length_penalty: int = Field(-1, ge=-1, description="K: a slight win of an answer that is longer by more characters is a tie; "
                                                       "-1: no penalty")
    denominators: Literal["pica", "official"] = Field("pica", description="what counts and what sums are divided by: ours, or as "
                                                                          "in the published tables")
    empty: Literal["official", "judge"] = Field("official", description="an answer without a word: score 1, the other wins by "
                                                                        "much, no call (official); or judged as any other")
    orders: Literal["both", "ab", "ba", "random"] = Field(  # type: ignore[assignment]  # one more than elsewhere
        "both", description="orders in which a pair is shown; random: one, drawn for each battle, as officially")
    reference: bool = Field(False, description="tell the judge the task's reference too; officially it gets the checklist alone")
    elo_rounds: int = Field(128, ge=0, le=10_000, description="shuffled orders of WB-Elo (scores only); 0: no WB-Elo")
    export: bool = Field(False, description="write the official files under official/")

    @property
    def what(self) -> str:
        """The setting that brings results in this mode."""
        return "scores" if self.mode == "score" else "rewards"

    @classmethod
    def expand(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Rewards are of their mode; without results, our own tasks are asked."""
        scores, rewards = values.get("scores"), values.get("rewards")
        if scores and rewards:
            raise ValueError("scores and rewards are two evaluations; give each a folder of its own")
        mode = values.get("mode", "reward" if rewards else "score")
        if (rewards and mode == "score") or (scores and mode == "reward"):
            raise ValueError(f"mode={mode} does not go with {'rewards' if rewards else 'scores'}; leave out mode")
        return super().expand({"tasks": "" if scores or rewards else "pica", **values, "mode": mode})


CONFIG = WildBenchConfig
