"""What a person looks at first after a training: curves, what the data was, which rows were left out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from pica.synth.progress import duration
from pica.synth.report import Bars, Column, Lines, Point, Report, Section, Table

MOST_POINTS = 600  # of a curve


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl; one cut short by a crash is left out."""
    if not path.is_file():
        return []
    lines = []
    for line in path.read_bytes().splitlines():
        try:
            lines.append(orjson.loads(line))
        except orjson.JSONDecodeError:
            continue
    return lines


def curves(title: str, metrics: Sequence[dict[str, Any]], names: Sequence[str], *, y: str = "", note: str = "") -> list[Section]:
    """One chart with a curve for each of `names` over the steps; none where nothing was measured.

    A metric `eval_NAME` is drawn beside NAME.
    """
    series: dict[str, Sequence[Point]] = {}
    for name in [*names, *(f"eval_{name}" for name in names)]:
        points: list[Point] = [(float(line["step"]), float(line[name]), None, None)
                               for line in metrics if _finite(line.get(name))]
        if points:
            series[name] = _thinned(points)
    return [Lines(title, series, x="step", y=y, note=note)] if series else []


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _thinned(points: list[Point]) -> list[Point]:
    """Every k-th point, and the last one."""
    stride = -(-len(points) // MOST_POINTS)
    kept = points[::stride]
    return kept if kept[-1] is points[-1] else [*kept, points[-1]]


def training_report(folder: Path, manifest: dict[str, Any], metrics: list[dict[str, Any]], more: list[Section],
                    rejected: Iterator[dict[str, Any]]) -> Report:
    """The report of the finished training in `folder`."""
    rows, loss = manifest["rows"], manifest["loss"]
    verdict = (f"{manifest['steps']:,} steps over {rows['used']:,} rows; loss {_number(loss['first'])} at first, "
               f"{_number(loss['last'])} at the end")
    sections: list[Section] = [
        *curves("Loss", metrics, ["loss"], y="loss"), *more,
        *curves("Learning rate", metrics, ["learning_rate"], y="learning rate"),
        *curves("Gradient norm", metrics, ["grad_norm"], y="norm", note="before clipping"),
        *curves("Tokens a second", metrics, ["tokens_per_second"], y="tokens/s")]
    if rows["rejected"]:
        sections.append(Bars("Why rows were left out", list(rows["rejected"].items()), field="reject_reason"))
    sections.append(Table("Data", ["source", "split", "rows", "weight", "rows an epoch", "fingerprint"],
                          [[one["source"], one["split"], one["rows"], one["weight"], one["drawn"], one["fingerprint"][:12]]
                           for one in manifest["data"]]))
    return Report(title=f"{manifest['stage']}: {manifest['steps']:,} steps", subtitle=folder.name, verdict=verdict,
                  warnings=manifest["notes"].get("warnings", []), facts=_facts(manifest), sections=sections, rows=rejected,
                  columns=[Column("reject_reason", "category", "why the row was left out")],
                  trace="see rejected.jsonl for the source and number of the row")


def _facts(manifest: dict[str, Any]) -> list[tuple[str, str]]:
    config, batch = manifest["config"], manifest["batch"]
    return [
        ("stage", manifest["stage"]), ("started from", manifest["model"]["name"]),
        ("weights trained", "adapters" if config["lora"] else "all"),
        ("batch", f"{batch['size']} rows: {batch['per_device']} x {batch['accumulation']} x {batch['processes']} processes"),
        ("epochs", f"{manifest['epochs']:.2f}"), ("tokens", f"{manifest['tokens']:,}"),
        ("time", duration(manifest["seconds"])), ("device", manifest["device"]), ("seed", str(config["seed"])),
        ("pica", manifest["versions"]["pica"]), ("trl", manifest["versions"]["trl"])]


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"
