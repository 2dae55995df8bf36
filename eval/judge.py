"""Judges: a prompt file, and how a verdict is read from what the judge wrote.

Four kinds: `PAIRWISE` (five outcomes), `SCORES` (two answers, 1 to 10 each), `SCORE` (one answer, 1 to 10) and `CHECKLIST`
(one requirement, yes or no). The two answers of a pair are called by letters that are drawn anew for every call from a hash of
its content, so that no text can name the side that it wants to win. What cannot be read is `Unparsed`, never a score.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, get_args

from pica.synth.errors import UsageError
from pica.synth.prompts import Prompt
from pica.synth.rewards.judge import fences
from pica.synth.structured import Unparsed, parse_json

HERE = Path(__file__).parent / "prompts"
LETTERS = "CDFGHJKLMNPQRSTVWXYZ"  # no A and B, which mean too much, and no vowels, which read as words
LOWEST, HIGHEST = 1, 10
REASON = {"type": "string", "maxLength": 600}  # a bound for models that a grammar holds; longer reasons are read too

Kind = Literal["pairwise", "scores", "score", "checklist"]
Label = Literal["a>>b", "a>b", "a=b", "b>a", "b>>a"]
LABELS: tuple[Label, ...] = get_args(Label)
#: share of the win that `a` gets
WORTH: dict[Label, float] = {"a>>b": 1.0, "a>b": 1.0, "a=b": 0.5, "b>a": 0.0, "b>>a": 0.0}
MUCH: frozenset[Label] = frozenset({"a>>b", "b>>a"})

#: what a thinking judge wrote before its answer: closed, never closed, or opened by its own chat template
_THOUGHTS = re.compile(r"\s*+(?:<think>.*?(?:</think>|\Z)|(?![{`]).*?</think>)", re.DOTALL | re.IGNORECASE)
_DATA = ("conversation", "notes", "answer", "answer_first", "answer_second", "requirement")  # slots that must be fenced


@dataclass(frozen=True)
class Verdict:
    """What a judge said. `label` is of a pair, the first answer as `a`; `scores` has one for each answer; `met` is of a
    requirement."""

    reason: str = ""
    label: Label | None = None
    scores: tuple[float, ...] = ()
    met: bool | None = None


Schema = dict[str, Any]
Read = Callable[[str, tuple[str, ...]], Verdict]


@dataclass(frozen=True)
class Judge:
    """A prompt and a parse. `read(text, names)` raises `Unparsed`; `parser` names its version; `names` are those of the sides."""

    kind: Kind
    prompt: Prompt
    parser: str
    schema: Callable[[tuple[str, ...]], Schema]
    read: Read

    @property
    def sides(self) -> int:
        """Answers in a prompt."""
        return 2 if self.kind in {"pairwise", "scores"} else 1

    def with_prompt(self, path: Path | str) -> Judge:
        """The same kind of judge with a prompt of the user's. Raises `UsageError` where a slot is missing or unknown."""
        prompt = Prompt.load(path)
        needed = {slot for slot in self.prompt.slots if slot not in {"notes"}}
        missing, unknown = needed - set(prompt.slots), set(prompt.slots) - set(self.prompt.slots)
        if missing or unknown:
            raise UsageError(f"{path}: a prompt for a judge of kind {self.kind!r} has the slots {', '.join(self.prompt.slots)}; "
                             f"missing: {', '.join(sorted(missing)) or 'none'}; unknown: {', '.join(sorted(unknown)) or 'none'}")
        bare = [slot for slot in prompt.slots if slot in _DATA and not fences(prompt, slot)]
        if bare:
            raise UsageError(f"{path}: what others wrote must stand between marks, and nowhere else; write "
                             f"{', '.join(f'{{{{{slot}:fenced}}}}' for slot in bare)}")
        return replace(self, prompt=prompt)

    def fill(self, texts: Mapping[str, str]) -> str:
        """The prompt for these texts; those that it has no slot for are left out. Raises `TooLong`."""
        return self.prompt.fill(**{slot: texts[slot] for slot in self.prompt.slots})

    def verdict(self, text: str, names: tuple[str, ...] = (), *, cut: bool = False) -> Verdict:
        """What the judge's `text` says; thoughts that it wrote before are left out. `cut`: the text does not end by itself, so
        that only whole JSON in it counts. Raises `Unparsed`."""
        thoughts = _THOUGHTS.match(text)
        said = text[thoughts.end():] if thoughts else text
        if cut:
            parse_json(said, self.schema(names))
        return self.read(said, names)


def names_for(*texts: str) -> tuple[str, str]:
    """Two letters that stand for the first and the second answer, drawn by a hash of everything in the prompt."""
    digest = blake2b("\x00".join(texts).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    number = int.from_bytes(digest, "big")
    first = LETTERS[number % len(LETTERS)]
    rest = LETTERS.replace(first, "")
    return first, rest[number // len(LETTERS) % len(rest)]


_BEGUN = re.compile(r"[\s`]*+(?:json\b)?\s*\{")


def _object(properties: Mapping[str, Any]) -> Schema:
    return {"type": "object", "properties": dict(properties), "required": list(properties), "additionalProperties": False}


def _pair_labels(names: tuple[str, ...]) -> dict[str, Label]:
    first, second = names
    return {f"{first}>>{second}": "a>>b", f"{first}>{second}": "a>b", f"{first}={second}": "a=b", f"{second}>{first}": "b>a",
            f"{second}>>{first}": "b>>a"}


def _pairwise_schema(names: tuple[str, ...]) -> Schema:
    return _object({"reason": REASON, "verdict": {"enum": list(_pair_labels(names))}})


def _read_pairwise(text: str, names: tuple[str, ...]) -> Verdict:
    labels = _pair_labels(names)
    try:
        found = parse_json(text, _pairwise_schema(names))
        return Verdict(found["reason"], labels[found["verdict"]])
    except Unparsed as error:
        label = _last_label(_final_line(text), names, labels)
        if label is None:
            raise Unparsed(f"{error}; and the final line holds none of {', '.join(labels)}") from None
        return Verdict(text.strip(), label)


def _last_label(line: str, names: tuple[str, ...], labels: Mapping[str, Label]) -> Label | None:
    """The last of the five labels in `line`, mirrored ones (`K<T`) and spaces allowed."""
    either = "|".join(map(re.escape, names))
    found = None
    for left, sign, right in re.findall(rf"(?<!\w)({either})\s*(>>|<<|>|<|=)\s*({either})(?!\w)", line):
        if left != right:
            written = f"{right}{sign.replace('<', '>')}{left}" if "<" in sign else f"{left}{sign}{right}"
            found = labels.get(written, "a=b")  # T=K is K=T
    return found


def _final_line(text: str) -> str:
    """The last line that has words. Empty where it belongs to JSON that was begun and cannot be read: what stands in there is a
    reason, not a verdict."""
    lines = [line for line in text.splitlines() if re.search(r"\w", line)]
    if not lines or _BEGUN.match(text) or re.search(r'^\s*"|\{\s*"', lines[-1]):
        return ""
    return lines[-1]


def _scores_schema(names: tuple[str, ...]) -> Schema:
    score = {"type": "integer", "minimum": LOWEST, "maximum": HIGHEST}
    return _object({"reason": REASON, **dict.fromkeys(names, score)})


def _read_scores(text: str, names: tuple[str, ...]) -> Verdict:
    try:
        found = parse_json(text, _scores_schema(names))
    except Unparsed as error:
        numbers = [re.findall(rf"(?<!\w){name}\W{{1,6}}(\d{{1,2}})(?!\d|\.\d)", _final_line(text)) for name in names]
        if any(len(set(given)) != 1 or not LOWEST <= int(given[0]) <= HIGHEST for given in numbers):
            raise Unparsed(f"{error}; and the final line holds no score for each of {', '.join(names)}") from None
        found = {"reason": text.strip(), **{name: int(given[0]) for name, given in zip(names, numbers, strict=True)}}
    first, second = (float(found[name]) for name in names)
    return Verdict(found["reason"], "a>b" if first > second else "b>a" if second > first else "a=b", (first, second))


_SCORED = re.compile(r"\W*(?:(?:final |overall )?(?:score|rating)\W+(?:is\W+)?)?(\d{1,2})(?:\s*/\s*10)?\W*", re.IGNORECASE)


def _score_schema(names: tuple[str, ...]) -> Schema:
    return _object({"strengths": REASON, "weaknesses": REASON,
                    "score": {"type": "integer", "minimum": LOWEST, "maximum": HIGHEST}})


def _read_score(text: str, names: tuple[str, ...]) -> Verdict:
    try:
        found = parse_json(text, _score_schema(names))
    except Unparsed as error:
        number = _SCORED.fullmatch(_final_line(text))
        if number is None or not LOWEST <= int(number[1]) <= HIGHEST:
            raise Unparsed(f"{error}; and the final line is no score from {LOWEST} to {HIGHEST}") from None
        return Verdict(text.strip(), scores=(float(number[1]),))
    return Verdict(f"Strengths: {found['strengths']}\nWeaknesses: {found['weaknesses']}", scores=(float(found["score"]),))


def _checklist_schema(names: tuple[str, ...]) -> Schema:
    return _object({"reason": REASON, "met": {"enum": ["yes", "no"]}})


def _read_checklist(text: str, names: tuple[str, ...]) -> Verdict:
    try:
        found = parse_json(text, _checklist_schema(names))
    except Unparsed as error:
        word = re.fullmatch(r"\W*(?:(?:answer|met|verdict)\W+)?(yes|no)\W*", _final_line(text), re.IGNORECASE)
        if word is None:
            raise Unparsed(f"{error}; and the final line is neither yes nor no") from None
        found = {"reason": text.strip(), "met": word[1].lower()}
    return Verdict(found["reason"], met=found["met"] == "yes")


PAIRWISE = Judge("pairwise", Prompt.load(HERE / "pairwise.txt"), "pairwise-1", _pairwise_schema, _read_pairwise)
SCORES = Judge("scores", Prompt.load(HERE / "scores.txt"), "scores-1", _scores_schema, _read_scores)
SCORE = Judge("score", Prompt.load(HERE / "score.txt"), "score-1", _score_schema, _read_score)
CHECKLIST = Judge("checklist", Prompt.load(HERE / "checklist.txt"), "checklist-1", _checklist_schema, _read_checklist)
KINDS: dict[Kind, Judge] = {judge.kind: judge for judge in (PAIRWISE, SCORES, SCORE, CHECKLIST)}
