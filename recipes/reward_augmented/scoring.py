"""Who scores the answers, and on what scale."""

from __future__ import annotations

from collections.abc import Mapping

from pica.recipes.reward_augmented.config import RewardAugmentedConfig
from pica.recipes.reward_augmented.reading import ULTRAFEEDBACK_RATINGS, Reader
from pica.recipes.reward_augmented.relabel import OVERALL
from pica.synth.errors import UsageError
from pica.synth.models.goal import Scale, check_scale
from pica.synth.rewards import Implicit, Judge, RewardModel, Scorer, labels


def open_scorer(config: RewardAugmentedConfig, reader: Reader) -> Scorer | None:
    """What scores the answers, or None where the data's own scores count. Raises `UsageError` where there is neither."""
    named = config.named_scorers
    kind = config.scorer if config.scorer != "auto" else named[0] if named else "data"
    wanted = tuple(config.attributes)
    if kind == "reward":
        assert config.reward is not None
        return _having(wanted, RewardModel(config.reward, () if labels(config.reward) else wanted))
    if kind == "judge":
        assert config.judge is not None
        return _having(wanted, Judge(config.judge, config.rubric, config.judge_tries, wanted))
    if kind == "implicit":
        assert config.policy is not None and config.reference is not None
        plain = config.policy.model_copy(update={"goal": None}), config.reference.model_copy(update={"goal": None})
        return _having(wanted, Implicit(*plain, config.beta))
    if not reader.scored:
        names = ", ".join(f"{name}_chosen, {name}_rejected" for name in wanted or ("score",))
        columns = ", ".join(reader.sources[0].columns)
        raise UsageError(f"{config.data} has no scores (its columns: {columns}); add {names}, or name who scores: "
                         "reward=hf/ID, judge=openai/NAME, or policy=hf/ID reference=hf/ID")
    return None


def _having(wanted: tuple[str, ...], scorer: Scorer) -> Scorer:
    missing = [name for name in wanted if name not in scorer.attributes]
    if missing:
        raise UsageError(f"{scorer.name} has no attribute {missing[0]!r}; it has {', '.join(scorer.attributes) or 'one score'}")
    return scorer


def declared_scales(config: RewardAugmentedConfig, scorer: Scorer | None, format_: str) -> dict[str, Scale]:
    """The scales that are known before a score is: by attribute, the overall score under `OVERALL`."""
    own = scorer.scale if scorer is not None else config.scale
    overall = config.source_scale if config.source_scale != "auto" else own or "data"
    single = config.attribute_scale
    if single == "auto":
        single = ULTRAFEEDBACK_RATINGS if scorer is None and format_ == "ultrafeedback" else overall
    scales = {OVERALL: overall, **dict.fromkeys(config.attributes, single)}
    return {name: scale for name, scale in scales.items() if not isinstance(scale, str)}


def all_scales(config: RewardAugmentedConfig, declared: Mapping[str, Scale], ranges: Mapping[str, Scale]) -> dict[str, Scale]:
    """The declared scales, and where there is none the least and greatest score. Raises `UsageError` for a single score."""
    names = (OVERALL, *config.attributes)
    if missing := [name for name in names if name not in declared and name not in ranges]:
        raise UsageError(f"no row of {config.data} has a usable {missing[0] or 'score'} to take the scale from; see what rejects "
                         "them, or declare it with source_scale=[least, greatest]")
    scales = {name: declared.get(name) or ranges[name] for name in names}
    for name, (low, high) in scales.items():
        if low == high:
            raise UsageError(f"every {name or 'score'} is {low:g}: goals need at least two different scores; score with another "
                             "model or rubric")
        check_scale((low, high))
    return scales
