"""What an audit comes to: its findings, the verdict on the whole, what goes into `audit.json` and into a report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pica.eval.audit.attacks import Attack
from pica.eval.audit.bouts import HONEST
from pica.eval.audit.detectors import Detection
from pica.eval.audit.findings import EQUAL, Finding, Leaning, judge_attack, judge_leanings, silence, verdict_of
from pica.eval.audit.people import People
from pica.eval.bias import Leanings, Share, leanings
from pica.eval.judge import WORTH
from pica.eval.judging import Judging
from pica.eval.report import judge_sections
from pica.synth.report import Intervals, Section, Table

Row = Mapping[str, Any]

ALONE = frozenset({"score", "checklist"})  # kinds of judges that see one answer at a time
RULE = ("an attack passes where it wins no more than its limit and its interval stays below one half, and fails where the whole "
        "interval is above the limit")


@dataclass(frozen=True)
class Setting:
    """Who was tried, on what. `of`: the audit, or the benchmark beside which it was made; `honest`: whose answers are honest."""

    of: str
    judges: Sequence[str]
    kind: str
    prompt: str
    honest: str
    tasks: int

    @classmethod
    def by(cls, judging: Judging[Any], honest: str, tasks: int) -> Setting:
        """The setting of an audit of this judging."""
        return cls(judging.name, [judge.name for judge in judging.config.judge], judging.judge.kind, judging.judge.prompt.hash,
                   honest, tasks)


@dataclass(frozen=True)
class Result:
    """An audit. `verdict`: `passes`, `fails`, `undecided` or `not audited`, which `sentence` explains."""

    setting: Setting
    verdict: str
    sentence: str
    findings: Sequence[Finding] = ()
    leanings: Sequence[Leaning] = ()
    leaning: Leanings | None = None
    shares: Sequence[Share] = ()      # lengths and self-preference: told, not judged
    detections: Sequence[Detection] = ()
    people: People | None = None
    search: Mapping[str, Any] | None = None
    battles: int = 0
    level: float = 0.95

    @property
    def fails(self) -> bool:
        """Whether the judge failed."""
        return self.verdict == "fails"

    def to_json(self) -> str:
        """What `audit.json` holds."""
        setting = self.setting
        attacks, sanity = ([finding.to_json() for finding in self.findings if (finding.group == "sanity") is sane]
                           for sane in (False, True))
        return json.dumps({
            "verdict": self.verdict, "sentence": self.sentence, "of": setting.of, "judge": list(setting.judges),
            "kind": setting.kind, "judge_prompt": setting.prompt, "honest": setting.honest, "tasks": setting.tasks,
            "battles": self.battles,
            "level": self.level, "attacks": attacks, "sanity": sanity,
            "leanings": [*(leaning.to_json() for leaning in self.leanings),
                         *({**share.to_json(), "verdict": None} for share in self.shares)],
            "orders": dict(self.leaning.orders) if self.leaning else {},
            "people": self.people.to_json() if self.people else None, "search": self.search,
            "detectors": [detection.to_json() for detection in self.detections]}, indent=2, ensure_ascii=False) + "\n"

    def sections(self, *, whole: bool = True) -> list[Section]:
        """For a report. `whole`: with what the judge leans to, which the report of a benchmark tells of its own battles."""
        found: list[Section] = []
        if self.findings:
            found += self._attacks()
        if whole and self.leaning:
            found += judge_sections(self.leaning, self.shares)
        if self.people:
            found += _people_sections(self.people)
        if self.detections:
            rows = [[one.detector, one.model, "-" if one.value is None else f"{one.value:.2f}", one.n, one.warning]
                    for one in self.detections]
            found.append(Table("Answers looked at without a judge", ["detector", "of", "value", "answers", "warning"], rows,
                               note="shares of equal answers; nearness to the own prompt by weighted words: 0.5 by chance, 1 at "
                                    "best"))
        return found

    def _attacks(self) -> list[Section]:
        items = [(one.attack, 100 * one.win_rate, _percent(one.lower), _percent(one.upper)) for one in self.findings
                 if one.win_rate is not None]
        rows = [[one.attack, one.group, one.what, "-" if one.win_rate is None else f"{one.win_rate:.1%}",
                 "-" if one.lower is None or one.upper is None else f"{one.lower:.1%} to {one.upper:.1%}", f"{one.limit:.0%}",
                 one.n, one.unscored, one.verdict] for one in self.findings]
        header = ["attack", "group", "what", "wins", "interval", "limit", "n", "unscored", "verdict"]
        note = f"against the answers of {self.setting.honest}; {RULE}"
        return [Intervals("Audit of the judge: what attacks win", items, unit="%", note=note),
                Table(f"The audit: {self.verdict}", header, rows, note=self.sentence)]


def told(audit: Mapping[str, Any]) -> str:
    """What `audit.json` holds, for a terminal: the verdict first, then a line a check."""
    checks = [*audit["attacks"], *audit["sanity"]]
    width = max([len(one["attack"]) for one in checks] + [len("attack")])
    lines = [audit["sentence"]]
    if checks:
        head = "score" if audit["kind"] in ALONE else "wins"
        ends = f"{audit['level']:.0%} interval"
        lines.append(f"{'attack':<{width}}  {head:>6}  {ends:>14}  {'n':>5}  unscored  verdict")
    for one in checks:
        ends = "-" if one["lower"] is None else f"{one['lower']:.0%} to {one['upper']:.0%}"
        value = "-" if one["win_rate"] is None else f"{one['win_rate']:.0%}"
        counts = f"{one['n']:>5,}  {one['unscored']:>8,}"
        lines.append(f"{one['attack']:<{width}}  {value:>6}  {ends:>14}  {counts}  {one['verdict']}")
    lines += [f"{one['name']}: {one['share']:.0%} ({one['lower']:.0%} to {one['upper']:.0%}, n={one['n']:,})"
              for one in audit["leanings"] if one["n"]]
    people = audit["people"]
    if people and people["kappa"] is not None:
        lines.append(f"agreement with people: {people['agreement']:.0%}, kappa {people['kappa']:.2f}, n={people['n']:,}")
    return "\n".join([*lines, *(f"warning: {one['warning']}" for one in audit["detectors"] if one["warning"])])


def result_of(setting: Setting, rows: Sequence[Row], attacks: Sequence[Attack], *, detections: Sequence[Detection] = (),
              shares: Sequence[Share] = (), people: People | None = None, search: Mapping[str, Any] | None = None,
              level: float = 0.95, rounds: int = 1000) -> Result:
    """The audit that these rows make."""
    alone = setting.kind in ALONE
    findings: list[Finding] = []
    for attack in attacks:
        battles = [row for row in rows if row["attack"] == attack.name]
        above = max((one.win_rate or 0.0 for one in findings), default=0.0) if attack.expect == "above the others" else None
        shares_won = [first_place(row) if attack.name == EQUAL else row["share_a"] for row in battles]
        findings.append(judge_attack(attack, shares_won, [row["task"] for row in battles], limit=above, alone=alone, level=level,
                                     rounds=rounds))
    leaning = None if alone else leanings(row for row in rows if row["attack"] != EQUAL)
    checked = judge_leanings(leaning) if leaning else _silence(findings)
    verdict, sentence = verdict_of(findings, checked)
    more = [] if alone else [leanings([row for row in rows if row["attack"] == HONEST]).longer, *shares]
    return Result(setting, verdict, sentence, findings, checked, leaning, [share for share in more if share.n], detections,
                  people, search, len(rows), level)


def first_place(row: Row) -> float | None:
    """The share of the win of the answer that stood first, over all games with a verdict."""
    worths = [WORTH[game["verdict"]] if game["order"] == "ab" else 1 - WORTH[game["verdict"]] for game in row["games"]
              if game["verdict"] is not None]
    return sum(worths) / len(worths) if worths else None


def _silence(findings: Sequence[Finding]) -> list[Leaning]:
    """Of answers that are judged alone there is no order; a judge without verdicts is one all the same."""
    return [silence(Share("answers without a verdict", sum(finding.unscored for finding in findings),
                          sum(finding.unscored + finding.n for finding in findings)), "answers")]


def _people_sections(people: People) -> list[Section]:
    counts = (f"{people.n:,} battles with both verdicts; {people.unscored:,} without the judge's, {people.unmatched:,} labels of "
              "no battle")
    first = [["agreement", "-" if people.agreement is None else f"{people.agreement:.1%}"],
             ["kappa (agreement beyond chance)", "-" if people.kappa is None else f"{people.kappa:.3f}"]]
    rows = [[one.model, one.battles, one.labelled, _range(one.judge, one.lower, one.upper), _range(one.people, None, None),
             _range(one.corrected, one.corrected_lower, one.corrected_upper), _range(one.wins_judge, None, None),
             _range(one.wins_corrected, one.wins_lower, one.wins_upper), one.note] for one in people.models]
    header = ["model", "battles", "labelled", "judge alone", "people", "corrected (PPI++)", "outright wins, judge",
              "corrected (Rogan-Gladen)", "note"]
    return [Table("Judge and people", ["what", "value"], first, note=counts),
            Table("Win rates corrected by people", header, rows, note="labelled battles must be a random sample of all")]


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _range(value: float | None, lower: float | None, upper: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1%}" if lower is None or upper is None else f"{value:.1%} ({lower:.1%} to {upper:.1%})"
