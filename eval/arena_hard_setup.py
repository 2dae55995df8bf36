"""Who meets whom in Arena-Hard, and what is judged already: worked out of tasks, answers and judgments before any call."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from pica.eval.arena_hard_files import BASELINES, V01, Judgment, chosen, parts_of, read_judgments, read_questions
from pica.eval.contestants import Answers
from pica.eval.tasks import Task
from pica.synth.errors import UsageError
from pica.synth.models.base import user


@dataclass(frozen=True)
class Wanted:
    """What the settings say. `models`: labels of those that answer now. `baseline`: of all categories, or by category."""

    tasks: str
    split: str
    n: int
    categories: Sequence[str]
    models: Sequence[str]
    judgments: str
    baseline: str | Mapping[str, str]
    has_judge: bool


@dataclass(frozen=True)
class Match:
    """A model against the baseline of a task. `judgments`: given ones by judge. `open`: there are none, and both can be judged
    now."""

    task: Task
    label: str
    baseline: str
    judgments: Mapping[str, Judgment] = field(default_factory=dict)
    open: bool = False


@dataclass(frozen=True)
class Setup:
    """What there is to do. `matches`: task by task. `warnings`: what was wrong with the input."""

    tasks: Sequence[Task]
    matches: Sequence[Match]
    warnings: Sequence[str]

    @property
    def to_judge(self) -> list[Match]:
        """Those that need calls."""
        return [match for match in self.matches if match.open]


Judged = dict[str, dict[str, dict[str, Judgment]]]  # label -> task id -> judge


def set_up(wanted: Wanted, given: Answers) -> Setup:
    """All matches, in order. `given`: answers made elsewhere. Raises `UsageError` for what does not go together."""
    judgments, warnings = read_judgments(wanted.judgments) if wanted.judgments else ([], [])
    name = wanted.tasks or ("" if judgments else "pica")
    every = read_questions(name, split=wanted.split) if name else _questions_of(judgments)
    tasks = chosen(every, name or f"judgments={wanted.judgments}", n=wanted.n, categories=wanted.categories)
    _check_categories(wanted.baseline, every)
    given = _related(given, tasks, warnings)
    names = _baselines(wanted.baseline, every, judgments, tasks)
    baselines = {task.id: baseline for task, baseline in zip(every, names, strict=True)}
    judged = _sorted_out(judgments, baselines, warnings, name)
    matches = _matches(wanted, tasks, baselines, judged, given, warnings)
    _check_open(wanted, matches, given)
    return Setup(tasks, matches, warnings)


def _related(given: Answers, tasks: Sequence[Task], warnings: list[str]) -> Answers:
    """The answers of those who answer one of the tasks at least."""
    counted = {task.id for task in tasks}
    found = {label: answers for label, answers in given.items() if counted & answers.keys()}
    strangers = [label for label in given if label not in found]
    if strangers and not found:
        label = strangers[0]
        raise UsageError(f"no answer is to one of the questions: {label!r} answers {min(given[label])!r} and others, and the "
                         f"questions are {tasks[0].id!r} and others; give the tasks they belong to")
    if strangers:
        warnings.append(f"{', '.join(strangers)}: answers to none of the questions, so left out")
    return found


def _questions_of(judgments: Sequence[Judgment]) -> list[Task]:
    """The questions that were judged, by id, with their text where the judge's prompt shows it."""
    found: dict[str, Task] = {}
    for made in judgments:
        if made.question in found and found[made.question].conversation:
            continue
        parts = parts_of(made)
        found[made.question] = Task(made.question, (user(parts[0]),) if parts else (), made.category or V01)
    return [found[key] for key in sorted(found)]


def _check_categories(baseline: str | Mapping[str, str], tasks: Sequence[Task]) -> None:
    known = {label for task in tasks for label in (task.category, *task.tags)}
    for category in baseline if isinstance(baseline, Mapping) else ():
        if category not in known:
            raise UsageError(f"baseline names the category {category!r}, and no question has it; categories: "
                             f"{', '.join(sorted({task.category for task in tasks}))}")


def _baselines(given: str | Mapping[str, str], every: Sequence[Task], judgments: Sequence[Judgment],
               tasks: Sequence[Task]) -> list[str]:
    """The baseline of every task: as given, else as its category's judgments say, else Arena-Hard's. Raises `UsageError` where
    a task that counts has none."""
    said: dict[str, Counter[str]] = defaultdict(Counter)
    category_of = {task.id: task.category for task in every}
    for made in judgments:
        if made.baseline:
            said[category_of.get(made.question, "")][made.baseline] += 1
    usual = {category: counter.most_common(1)[0][0] for category, counter in said.items()}
    found = [_baseline(task, given, usual) for task in every]
    counted = {task.id for task in tasks}
    lacking = {task.category for task, baseline in zip(every, found, strict=True) if task.id in counted and not baseline}
    if lacking:
        raise UsageError(f"questions of category {', '.join(repr(name) for name in sorted(lacking))} have no baseline of their "
                         "own; give baseline=NAME, one of those that compete")
    return found


def _baseline(task: Task, given: str | Mapping[str, str], usual: Mapping[str, str]) -> str:
    if isinstance(given, str) and given:
        return given
    for known in (given if isinstance(given, Mapping) else {}, usual, BASELINES):
        for label in (task.category, *task.tags):
            if label in known:
                return known[label]
    return ""


def _sorted_out(judgments: Sequence[Judgment], baselines: Mapping[str, str], warnings: list[str], name: str) -> Judged:
    """The judgments that count; why others do not is told in `warnings`."""
    found: Judged = {}
    strangers, others, own = list[Judgment](), Counter[str](), Counter[str]()
    for made in judgments:
        baseline = baselines.get(made.question)
        if baseline is None:
            strangers.append(made)
        elif made.baseline and made.baseline != baseline:
            others[made.baseline] += 1
        elif made.model == baseline:
            own[baseline] += 1
        else:
            found.setdefault(made.model, {}).setdefault(made.question, {})[made.judge] = made
    if strangers:
        if len(strangers) == len(judgments):
            raise UsageError(f"no judgment is of a question of {name!r}: they judge {strangers[0].question!r} and others, and it "
                             f"asks {next(iter(baselines), '')!r} and others; give the tasks they belong to")
        warnings.append(f"{len(strangers):,} judgments are of questions that {name!r} does not have (such as "
                        f"{strangers[0].question}); they are left out")
    if others:
        told = ", ".join(f"{baseline} ({number:,})" for baseline, number in others.most_common())
        wanted = ", ".join(sorted(set(baselines.values()) - {""}))
        if not found:
            raise UsageError(f"no judgment is against the baseline {wanted}; they are against: {told}; give baseline= one of "
                             "these")
        warnings.append(f"{others.total():,} judgments are against another baseline than {wanted} and are left out: {told}")
    if own:
        warnings.append(f"{own.total():,} judgments of the baseline against itself ({', '.join(own)}) are left out")
    return found


def _matches(wanted: Wanted, tasks: Sequence[Task], baselines: Mapping[str, str], judged: Judged, given: Answers,
             warnings: list[str]) -> list[Match]:
    """Every label against the baseline of every task, where there is a judgment, can be one, or ought to be one."""
    for label in wanted.models:
        if label in judged:
            raise UsageError(f"{label!r} stands in models and in judgments; give the model another label, or leave one out")
    answering = {*wanted.models, *(given if wanted.has_judge else ())}
    counted = {task.id for task in tasks}
    judged = {label: by_task for label, by_task in judged.items() if counted & by_task.keys()}
    found = []
    for task in tasks:
        baseline = baselines[task.id]
        for label in dict.fromkeys((*wanted.models, *given, *judged)):
            if label == baseline or label not in {*answering, *judged}:
                continue
            own = judged.get(label, {}).get(task.id, {})
            found.append(Match(task, label, baseline, own, open=not own and label in answering))
    silent = [label for label in given if label not in answering and label not in judged and label not in baselines.values()]
    if silent:
        warnings.append(f"{', '.join(silent)}: answers, but no judgments and no judge, so left out; give judge=SPEC")
    if not found:
        used = ", ".join(sorted({baselines[task.id] for task in tasks}))
        raise UsageError(f"nobody competes with the baseline {used}; give models, answers or judgments of others")
    return found


def _check_open(wanted: Wanted, matches: Sequence[Match], given: Collection[str]) -> None:
    """What is judged now needs its question and the baseline's answers."""
    for match in matches:
        if not match.open:
            continue
        if match.baseline not in wanted.models and match.baseline not in given:
            here = ", ".join(dict.fromkeys((*wanted.models, *given)))
            raise UsageError(f"the baseline {match.baseline!r} of category {match.task.category!r} has no answers; give them "
                             f"with answers=DIR or a model of that label, or baseline= one of: {here}")
        if not match.task.conversation:
            raise UsageError(f"the judgments do not show question {match.task.id!r}, so nothing can be judged anew; give the "
                             "questions with tasks=question.jsonl")
