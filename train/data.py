"""Reads what to learn from: mixtures with weights, checked row by row before a model is loaded.

A row counts as bad when it cannot be learnt from (roles out of order, an empty answer, chosen equal to rejected, a score
that is no number) and as too long when it has more than `max_length` tokens. What becomes of either is a setting;
every row that is left out is counted, and listed with its number in rejected.jsonl.

The weight of a source is how often each of its rows is seen in an epoch: 2 is every row twice, 0.5 a seeded half of the
rows, 1.5 every row once and a seeded half of them again. Sources follow one another as they were given, rows in
their own order; every epoch is then shuffled by the trainer, with `seed`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import orjson

from pica.synth.errors import UsageError
from pica.synth.formats import CONVERSATIONS, PREFERENCES, BadRow, conversation, detect, pair, prompt_of
from pica.synth.models.base import Message
from pica.synth.run import derive_seed
from pica.synth.source import Source, open_source
from pica.train.config import DataSource, TrainConfig
from pica.train.stage import Format
from pica.train.tokens import Encoder

BATCH = 512  # rows encoded together
SHOWN = 5    # rows that an error names for each reason


class Rejected(msgspec.Struct):
    """A row that was left out: where it stands (numbers count from 1) and why."""

    source: str
    split: str
    row: int
    reason: str
    detail: str


class Prepared(msgspec.Struct, kw_only=True):
    """What the data came to. `rows`: as the trainer sees them in an epoch; `tokens` are those of an epoch."""

    path: str
    rows: int
    tokens: int
    longest: int
    cut: int
    sources: list[dict[str, Any]]
    rejected: dict[str, int]
    read: int


class Opened(msgspec.Struct):
    """A source and how it is used."""

    source: Source
    use: DataSource
    keep: tuple[str, ...] = ()

    @property
    def drawn(self) -> int:
        """Rows of it that are read for an epoch, repeats counted."""
        whole = int(self.use.weight)
        return whole * len(self.source) + round((self.use.weight - whole) * len(self.source))

    def describe(self) -> dict[str, Any]:
        """What the manifest says of it."""
        return {**self.source.describe(), "weight": self.use.weight, "drawn": self.drawn}


def open_data(wanted: Sequence[DataSource], form: Format, keep: tuple[str, ...] = ()) -> list[Opened]:
    """The sources, with columns that `form` can be made from. Raises `UsageError`, naming the source."""
    if not wanted:
        raise UsageError("nothing to learn from; give data=FOLDER (a dataset of ours, Parquet or JSON lines, or a hub id)")
    among = {"tokens": CONVERSATIONS, "pair": PREFERENCES, "prompt": ()}[form]
    opened = []
    for use in wanted:
        source = open_source(use.source, split=use.split, revision=use.revision)
        try:
            detect(source.columns, among)
        except UsageError as error:
            raise UsageError(f"{use.source}: {error}") from None
        if missing := [name for name in keep if name not in source.columns]:
            raise UsageError(f"{use.source} has no column {missing[0]!r}, which a reward needs; it has "
                             f"{', '.join(source.columns)}")
        opened.append(Opened(source, use, keep))
    return opened


def goal_of(opened: Sequence[Opened]) -> dict[str, Any] | None:
    """The goal that the data was made with (style, scale, decimals), None where it has none. Raises where two differ."""
    goals = [(one.use.source, ((one.source.manifest or {}).get("notes") or {}).get("goal")) for one in opened]
    stated = [(name, goal) for name, goal in goals if goal is not None]
    for name, goal in stated[1:]:
        if goal != stated[0][1]:
            raise UsageError(f"{stated[0][0]} and {name} state goals in different ways ({stated[0][1]} and {goal}); train on "
                             "data with one way of stating them")
    return dict(stated[0][1]) if stated else None


def times(count: int, weight: float, seed: int, place: int) -> Callable[[int], int]:
    """How often each of `count` rows is seen: row -> times. Depends on the arguments alone."""
    whole = int(weight)
    extra = round((weight - whole) * count)
    if not extra:
        return lambda row: whole
    import numpy as np

    order = np.random.Generator(np.random.Philox(derive_seed("mixture", seed, place))).permutation(count)
    more = np.zeros(count, dtype=bool)
    more[order[:extra]] = True
    return lambda row: whole + int(more[row])


class Preparer:
    """Turns rows of sources into the rows of a trainer's dataset."""

    def __init__(self, config: TrainConfig, form: Format, encoder: Encoder) -> None:
        self.config, self.form, self.encoder = config, form, encoder
        self.rejected: list[Rejected] = []
        self.tokens = self.longest = self.cut = self.rows = self.read = 0

    def prepare(self, opened: Sequence[Opened], path: Path, say: Callable[[str], None] = lambda text: None) -> Prepared:
        """Write the dataset to the Arrow file `path`. Raises `UsageError` naming rows where bad ones are errors."""
        from datasets.arrow_writer import ArrowWriter

        path.parent.mkdir(parents=True, exist_ok=True)
        with ArrowWriter(path=str(path), features=self._features(opened)) as writer:
            for place, one in enumerate(opened):
                seen = times(len(one.source), one.use.weight, self.config.seed, place)
                for number, row in self._made(one, seen):
                    for _ in range(seen(number)):
                        writer.write(row)
                        self.rows += 1
            self._judge(say)  # before datasets, which cannot close a file without rows
            writer.finalize()
        return Prepared(path=str(path), rows=self.rows, tokens=self.tokens, longest=self.longest, cut=self.cut, read=self.read,
                        sources=[one.describe() for one in opened],
                        rejected=dict(Counter(one.reason for one in self.rejected).most_common()))

    def sample(self, opened: Sequence[Opened], limit: int) -> tuple[float, int]:
        """(share of rows that are good, tokens a row) of rows spread over the sources, `limit` of them at most."""
        total = sum(len(one.source) for one in opened)
        stride = -(-total // limit)
        for one in opened:
            for _ in self._made(one, lambda number: int(number % stride == 0)):
                self.rows += 1
        return self.rows / max(self.read, 1), round(self.tokens / max(self.rows, 1))

    def _made(self, one: Opened, seen: Callable[[int], int]) -> Iterator[tuple[int, dict[str, Any]]]:
        """(number, row for the trainer) of the rows that are seen and good."""
        wanted = ((number, row) for number, row in enumerate(one.source) if seen(number))
        while batch := list(islice(wanted, BATCH)):
            for number, made, tokens in self._batch(one, batch):
                self.tokens += tokens * seen(number)
                self.longest = max(self.longest, tokens)
                yield number, made

    def _batch(self, one: Opened, batch: list[tuple[int, dict[str, Any]]]) -> Iterator[tuple[int, dict[str, Any], int]]:
        self.read += len(batch)
        good: list[tuple[int, Any]] = []
        for number, row in batch:
            try:
                good.append((number, (self._checked(row), {name: row.get(name) for name in one.keep})))
            except BadRow as bad:
                self._reject(one, number, bad.reason, bad.detail)
        made = {"tokens": self._conversations, "pair": self._pairs, "prompt": self._prompts}[self.form]
        numbers = [number for number, _ in good]
        for number, (_, kept), found in zip(numbers, [item for _, item in good], made([item[0] for _, item in good]),
                                            strict=True):
            row, tokens, reason, detail = found
            if reason:
                self._reject(one, number, reason, detail)
            else:
                yield number, {**row, **kept}, tokens

    def _checked(self, row: dict[str, Any]) -> Any:
        """What the format holds, looked at; raises `BadRow`."""
        if self.form == "pair":
            found = pair(row)
            check_turns(found.prompt, ends="user")
            for name, side in (("chosen", found.chosen), ("rejected", found.rejected)):
                check_turns([*found.prompt, *side], name=name)
            if found.chosen == found.rejected:
                raise BadRow("chosen equals rejected")
            return found
        if self.form == "prompt":
            prompt = prompt_of(row)
            check_turns(prompt, ends="user")
            return prompt
        turns = conversation(row)
        check_turns(turns)
        return turns

    def _conversations(self, turns: list[list[Message]]) -> Iterator[tuple[dict[str, Any], int, str, str]]:
        limit = self.config.max_length
        for one in self.encoder.encode(turns):
            ids, mask, reason = one.ids, one.mask, ""
            if len(ids) > limit and not one.fault:
                if self.config.too_long == "truncate" and any(mask[1:limit]):
                    ids, mask = ids[:limit], mask[:limit]
                    self.cut += 1
                else:
                    reason = "too long" if self.config.too_long != "truncate" else "no answer within the limit"
            detail = one.fault or f"{len(one.ids):,} tokens, and max_length={limit:,}"
            yield ({"input_ids": ids, "assistant_masks": mask}, len(ids),
                   "refused by the chat template" if one.fault else reason, detail)

    def _pairs(self, pairs: list[Any]) -> Iterator[tuple[dict[str, Any], int, str, str]]:
        asked = self.encoder.lengths([one.prompt for one in pairs], ask=True)
        chosen = self.encoder.lengths([[*one.prompt, *one.chosen] for one in pairs])
        rejected = self.encoder.lengths([[*one.prompt, *one.rejected] for one in pairs])
        for one, *lengths in zip(pairs, asked, chosen, rejected, strict=True):
            reason, detail, tokens = self._fits(lengths)
            yield {"prompt": one.prompt, "chosen": one.chosen, "rejected": one.rejected}, tokens, reason, detail

    def _fits(self, lengths: list[int | str]) -> tuple[str, str, int]:
        """(reason to leave a pair out, detail, tokens) from the lengths of prompt, chosen and rejected conversation."""
        for length in lengths:
            if isinstance(length, str):
                return "refused by the chat template", length, 0
        prompt, *sides = [int(length) for length in lengths]
        limit = self.config.max_length
        if max(sides) <= limit:
            return "", "", sum(sides)
        if self.config.too_long != "truncate":
            return "too long", f"{max(sides):,} tokens, and max_length={limit:,}", 0
        if prompt >= limit:
            return "no answer within the limit", f"the prompt has {prompt:,} tokens, and max_length={limit:,}", 0
        self.cut += 1
        return "", "", sum(min(side, limit) for side in sides)

    def _prompts(self, prompts: list[list[Message]]) -> Iterator[tuple[dict[str, Any], int, str, str]]:
        limit = self.config.max_length
        for prompt, length in zip(prompts, self.encoder.lengths(prompts, ask=True), strict=True):
            if isinstance(length, str):
                yield {}, 0, "refused by the chat template", length
            else:
                over = length >= limit  # a prompt is never cut: it would be another question
                yield {"prompt": prompt}, length, "too long" if over else "", f"{length:,} tokens, and max_length={limit:,}"

    def _reject(self, one: Opened, number: int, reason: str, detail: str) -> None:
        self.rejected.append(Rejected(one.use.source, one.use.split, number + 1, reason, detail))

    def _judge(self, say: Callable[[str], None]) -> None:
        """Raise where rows are bad and that is an error, or none is left; tell what was left out or cut."""
        long = [one for one in self.rejected if one.reason in {"too long", "no answer within the limit"}]
        bad = [one for one in self.rejected if one not in long] if len(long) < len(self.rejected) else []
        if bad and self.config.bad_rows == "error":
            raise UsageError(f"{_listed(bad)}; mend them, or leave them out with bad_rows=reject")
        if long and self.config.too_long == "error":
            raise UsageError(f"{_listed(long)}; raise max_length, or say too_long=reject or truncate")
        if not self.rows:
            raise UsageError(f"no row is left to learn from: {_listed(self.rejected)}")
        for reason, number in Counter(one.reason for one in self.rejected).most_common():
            say(f"left out {number:,} of {self.read:,} rows: {reason} (listed in rejected.jsonl)")
        if self.cut:
            say(f"cut {self.cut:,} of {self.read:,} rows to max_length={self.config.max_length:,} tokens")

    def _features(self, opened: Sequence[Opened]) -> Any:
        """The Arrow schema; columns that are kept for a reward are found by looking."""
        import datasets

        if self.form == "tokens":
            return datasets.Features({"input_ids": datasets.List(datasets.Value("int32")),
                                      "assistant_masks": datasets.List(datasets.Value("int8"))})
        if any(one.keep for one in opened):
            return None
        turns = datasets.List({"role": datasets.Value("string"), "content": datasets.Value("string")})
        names = ("prompt", "chosen", "rejected") if self.form == "pair" else ("prompt",)
        return datasets.Features(dict.fromkeys(names, turns))


def check_turns(turns: Sequence[Message], *, ends: str = "assistant", name: str = "") -> None:
    """Raise `BadRow` unless roles go (system) user assistant user ..., end as they should, and every text has letters."""
    where = f"{name}: " if name else ""
    spoken = turns[1:] if turns and turns[0]["role"] == "system" else turns
    if not spoken:
        raise BadRow("no messages", f"{where}nothing but a system message" if turns else f"{where}none")
    for place, message in enumerate(spoken, 1 + len(turns) - len(spoken)):
        wanted = ("user", "assistant")[(place - 1 - (len(turns) - len(spoken))) % 2]
        if message["role"] != wanted:
            raise BadRow("roles out of order", f"{where}message {place} is the {message['role']}'s, where the {wanted}'s "
                                               "belongs")
    for place, message in enumerate(turns, 1):
        if not message["content"].strip():
            raise BadRow("empty message" if message["role"] != "assistant" else "empty answer",
                         f"{where}message {place}, the {message['role']}'s")
    if spoken[-1]["role"] != ends:
        raise BadRow(f"does not end with the {ends}", f"{where}the last of {len(turns)} messages is the "
                                                      f"{spoken[-1]['role']}'s")


def _listed(rejected: Sequence[Rejected]) -> str:
    """Counts by reason, with the numbers of a few rows: `2 of D: empty answer (rows 3, 8)`."""
    parts = []
    groups: dict[tuple[str, str], list[Rejected]] = {}
    for one in rejected:
        groups.setdefault((one.source, one.reason), []).append(one)
    for (source, reason), members in sorted(groups.items(), key=lambda item: -len(item[1])):
        shown = ", ".join(str(one.row) for one in members[:SHOWN]) + (", ..." if len(members) > SHOWN else "")
        first = f"; the first: {members[0].detail}" if members[0].detail else ""
        rows = "rows" if len(members) > 1 else "row"
        parts.append(f"{source}: {len(members):,} {rows} with {reason!r} ({rows} {shown}{first})")
    return "; ".join(parts)


def write_rejected(rejected: Sequence[Rejected], path: Path) -> None:
    """One JSON line for each row that was left out; no file where there are none."""
    path.unlink(missing_ok=True)
    if rejected:
        path.write_bytes(b"".join(orjson.dumps(msgspec.to_builtins(one)) + b"\n" for one in rejected))
