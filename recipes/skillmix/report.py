"""What the manifest, the report and the card say of the rows."""

from __future__ import annotations

from collections import Counter
from statistics import mean
from typing import Any

from pica.recipes.skillmix.config import SkillMixConfig
from pica.recipes.skillmix.shirkers import KINDS
from pica.synth.report import Bars, Section
from pica.synth.report import Table as Grid
from pica.synth.table import Table

MOST_SKILLS = 40  # that are drawn
MANY_SHIRKERS = 0.2  # share of the answers from which the report warns


def shirker_notes(table: Table, config: SkillMixConfig) -> dict[str, Any]:
    """How many answers were looked at, how many are low effort, by kind, and what becomes of them."""
    reasons = table.reasons()
    kinds = {kind: reasons[f"low effort: {kind}"] for kind in KINDS}
    checked = len(table) + sum(kinds.values())
    for kind in table.column("shirker"):
        if kind is not None:
            kinds[kind] += 1
    found = sum(kinds.values())
    return {"checked": checked, "found": found, "share": round(found / checked, 4) if checked else 0.0,
            "kinds": {kind: number for kind, number in kinds.items() if number}, "policy": config.shirkers}


def critique_effect(table: Table) -> dict[str, Any]:
    """Mean words of the answers before and after critique, and the share that grew; empty without a critique."""
    before, after, replaced = table.columns("draft_response_words", "response_words", "replaced_response")
    pairs = [(old, new if bad is None else len(bad.split())) for old, new, bad in zip(before, after, replaced, strict=True)
             if old is not None]
    if not pairs:
        return {}
    return {"rows": len(pairs), "words_before": round(mean(old for old, _ in pairs), 1),
            "words_after": round(mean(new for _, new in pairs), 1),
            "longer": round(sum(new > old for old, new in pairs) / len(pairs), 4)}


def warnings(shirkers: dict[str, Any], table: Table) -> list[str]:
    """What a person must know before using the rows."""
    found = []
    if shirkers["share"] >= MANY_SHIRKERS:
        what = "they were rejected" if shirkers["policy"] == "reject" else "they are in the data, marked in the column shirker"
        found.append(f"{shirkers['found']:,} of {shirkers['checked']:,} answers ({shirkers['share']:.0%}) were low effort; "
                     f"{what}. A stronger teacher writes fewer")
    bad = sum(kind != "none" for kind in table.column("ablation"))
    if bad:
        found.append(f"{bad:,} answers were replaced by bad ones on purpose (ablation); this data is for experiments")
    return found


def skill_sections(table: Table) -> list[Section]:
    """Sections of the report."""
    uses = Counter(skill for skills in table.column("skills") for skill in skills)
    often = Counter(uses.values())
    notes, unused = table.notes, table.notes["skills"]["skills"] - len(uses)
    times = [(label, skills) for label, skills in [("0", unused), *((str(n), often[n]) for n in sorted(often))] if skills]
    sections: list[Section] = [
        Bars("Skills used", uses.most_common(MOST_SKILLS), note=f"accepted rows, by skill; the {MOST_SKILLS} most used of "
             f"{len(uses):,} used" if len(uses) > MOST_SKILLS else "accepted rows, by skill"),
        Bars("How often a skill is used", times, note="skills, by accepted rows"),
        _shirkers(notes["shirkers"])]
    if effect := notes["critique"]:
        sections.append(Grid("What critique changed", ["", "before", "after"],
                             [["mean words of an answer", effect["words_before"], effect["words_after"]]],
                             note=f"{effect['longer']:.0%} of {effect['rows']:,} answers grew"))
    return sections


def _shirkers(found: dict[str, Any]) -> Section:
    rows = [[kind, number, f"{number / found['checked']:.1%}"] for kind, number in found["kinds"].items()]
    rows.append(["all", found["found"], f"{found['share']:.1%}"])
    policy = "rejected" if found["policy"] == "reject" else "kept and marked"
    return Grid("Low-effort answers", ["kind", "answers", "share"], rows,
                note=f"of {found['checked']:,} answers that were read; {policy}")


def card(config: SkillMixConfig, table: Table) -> str:
    """The text of the dataset card."""
    skills, shirkers = table.notes["skills"], table.notes["shirkers"]
    flows = {"full": "wrote both, criticised them as the person would, and refined them; what was cut was written again",
             "short": "wrote both, criticised them as the person would, and refined them", "create": "wrote both"}
    fate = "left out" if config.shirkers == "reject" else "kept, marked in `shirker`"
    lines = [
        f"Each instruction needs {config.k} of {skills['skills']:,} skills and is of one of {skills['query_types']} query types. "
        f"`{config.teacher.name}` {flows[config.flow]} (Instruct-SkillMix, "
        "[arXiv:2408.14774](https://arxiv.org/abs/2408.14774)). "
        "No combination of skills stands twice. The skills are in `skills.yaml`.",
        f"{shirkers['found']:,} of {shirkers['checked']:,} answers ({shirkers['share']:.1%}) were found to be low effort by "
        f"rules on length, phrases and repetition, and {fate}."]
    if config.held_out:
        lines.append(f"The split `test` has {config.held_out:,} rows; none of its combinations of skills is in `train`.")
    if config.ablation.share:
        lines.append(f"**For experiments only**: about {config.ablation.share:.0%} of the answers in `train` were replaced by "
                     f"{config.ablation.kind} ones (column `ablation`); the answer that stood there is in `replaced_response`.")
    lines.append("Nothing here was checked by a person.")
    return "\n\n".join(lines)
