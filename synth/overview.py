"""The report of a dataset: counts in and out, distributions, costs, and the rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pica.synth.progress import duration
from pica.synth.report import Bars, Distribution, Report, Section
from pica.synth.report import Column as Shown
from pica.synth.rows import REJECTED_COLUMNS, Column
from pica.synth.table import Table

MOST_LABELS = 40  # of a category that are drawn


def overview(recipe: str, folder: Path, table: Table, manifest: dict[str, Any], columns: list[Column],
             more: list[Section]) -> Report:
    """The report of the dataset in `table`; `more` are the recipe's own sections."""
    rows = manifest["rows"]
    rejected = rows["in"] - rows["out"]
    verdict = f"{rows['out']:,} rows accepted of {rows['in']:,} made; {rejected:,} rejected"
    drawn = _distributions(table, columns)
    shown = [Shown(column.name, "number" if column.kind == "number" else "category", column.description, order=column.order)
             for column in columns if column.name in drawn]
    sections: list[Section] = []
    if rows["rejected"]:
        sections.append(Bars("Why rows were rejected", list(rows["rejected"].items()), field="reject_reason"))
    return Report(title=f"{recipe}: {rows['out']:,} rows", subtitle=str(folder.name), verdict=verdict,
                  warnings=_warnings(manifest), facts=facts_of(manifest), sections=[*sections, *more, *drawn.values()],
                  rows=rows_of(table), trace=f"pica trace {folder} {{id}}",
                  columns=[*shown, Shown("reject_reason", "category", REJECTED_COLUMNS[1].description, shown=False)])


def rows_of(table: Table) -> Iterator[Mapping[str, Any]]:
    """The rows of a report: those accepted, then those rejected under an id of their own."""
    yield from table.rows()
    for row in table.rejected():
        yield {"id": f"candidate-{row['index']}", **row} if "id" not in row and "index" in row else row


def _warnings(manifest: dict[str, Any]) -> list[str]:
    failed = {reason: number for reason, number in manifest["rows"]["rejected"].items() if reason.startswith("no answer")}
    warnings = [f"{sum(failed.values()):,} rows got no answer from a model ({', '.join(failed)}); run again with --retry "
                "to ask for them again"] if failed else []
    if manifest["rows"]["out"] < manifest["config"]["n"]:
        warnings.append(f"Only {manifest['rows']['out']:,} of the {manifest['config']['n']:,} rows asked for")
    return [*warnings, *manifest["notes"].get("warnings", [])]


def facts_of(manifest: dict[str, Any]) -> list[tuple[str, str]]:
    """What a report says of a run: models, seed, calls, tokens, time, cost."""
    calls, tokens = manifest["calls"], manifest["tokens"]
    facts = [(role, ", ".join(value["name"] for value in several)) for role, given in manifest["config"].items()
             if (several := [value for value in (given if isinstance(given, list) else [given])
                             if isinstance(value, dict) and "api_key_env" in value])]
    facts += [("seed", str(manifest["seed"])),
              ("calls", f"{calls['made']:,} made, {calls['cached']:,} from the ledger, {calls['failed']:,} failed tries"),
              ("tokens", f"{tokens['prompt']:,} prompt, {tokens['completion']:,} completion"),
              ("time", duration(manifest["seconds"]))]
    total = manifest["folder_total"]
    facts.append(("all runs of this folder", f"{total['calls']:,} calls, "
                                             f"{total['prompt_tokens'] + total['completion_tokens']:,} tokens"))
    if total["cost"]:
        facts.append(("cost", f"${total['cost']:.4f}"))
    return [*facts, ("pica", manifest["versions"]["pica"])]


def _distributions(table: Table, columns: list[Column]) -> dict[str, Section]:
    """A histogram of every number, bars of every category, by column; those with a single value have nothing to show."""
    numbers = {column.name: Distribution() for column in columns if column.kind == "number"}
    counts: dict[str, Counter[str]] = {column.name: Counter() for column in columns if column.kind == "category"}
    for row in table.rows():
        for name, distribution in numbers.items():
            distribution.add(row.get(name))
        for name, counter in counts.items():
            counter[str(row.get(name)) if row.get(name) is not None else "none"] += 1
    sections: dict[str, Section] = {}
    for column in columns:
        name = column.name
        if name in numbers and numbers[name].least < numbers[name].greatest:
            sections[name] = numbers[name].histogram(name, note=column.description, field=name)
        elif name in counts and len(counts[name]) > 1:
            sections[name] = Bars(name, _ranked(counts[name], column.order), note=column.description, field=name)
    return sections


def _ranked(counter: Counter[str], order: tuple[str, ...]) -> list[tuple[str, int]]:
    """Labels in their own order, those without one behind; without any order the most common first."""
    if not order:
        return counter.most_common(MOST_LABELS)
    return [(label, counter[label]) for label in [*order, *(name for name in counter if name not in order)] if counter[label]]
