"""A report as one self-contained HTML file: `write_report(report, path)`.

The page needs no network and runs no code but its own: its Content-Security-Policy names its one script and one style
by their hashes. Rows travel as base64, so that nothing in them can end an element, and reach the page as text alone.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from importlib.resources import files
from pathlib import Path

from pica.synth.errors import UsageError
from pica.synth.report.charts import draw
from pica.synth.report.parts import Report, ReportInfo
from pica.synth.report.sample import Sample, choose, encode, pack, squeeze
from pica.synth.report.text import count, escape

_MAX_BYTES = 128 * 2**20


def write_report(report: Report, path: Path, *, max_rows: int = 10_000, max_bytes: int = _MAX_BYTES) -> ReportInfo:
    """Write `report` to `path`, whole or not at all; equal input gives equal bytes.

    Rows are read once. Of more than `max_rows` rows, or more than `max_bytes` of their JSON, a sample is shown that
    depends on their places alone, and the page says how large it is. Raises `UsageError` for a `max_rows` below 2.
    """
    if max_rows < 2:
        raise UsageError(f"max_rows is {max_rows}; a report shows 2 rows or more: one accepted, one rejected")
    texts, accepted, rejected = choose(report.rows, max_rows, max_bytes)
    part = path.with_name(path.name + ".part")
    try:
        with part.open("w", encoding="utf-8", newline="\n") as file:
            for piece in _page(report, texts, accepted, rejected):
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return ReportInfo(str(path), size, accepted.seen, rejected.seen, len(accepted), len(rejected))


def _page(report: Report, texts: Sequence[bytes], accepted: Sample, rejected: Sample) -> Iterator[str]:
    """The page in pieces: everything before the rows, the rows chunk by chunk, everything after."""
    style, script = _asset("page.css"), _asset("page.js")
    slots = {
        "policy": _policy(style, script), "style": style, "script": script,
        "title": escape(report.title), "verdict": escape(report.verdict),
        "subtitle": f'<p class="subtitle">{escape(report.subtitle)}</p>' if report.subtitle else "",
        "warnings": _warnings(report.warnings), "facts": _facts(report.facts),
        "sections": "".join(draw(section) for section in report.sections),
        "scope": escape(_scope(accepted, rejected)), "rows": count(len(texts)),
        "meta": squeeze(encode(_meta(report, accepted, rejected))),
    }
    for piece in re.split(r"(\{\{\w+\}\})", _asset("page.html")):
        if piece == "{{chunks}}":
            for chunk in pack(texts):
                yield f'<script type="application/octet-stream" class="chunk">{chunk}</script>\n'
        else:
            yield slots[piece[2:-2]] if piece.startswith("{{") else piece


def _meta(report: Report, accepted: Sample, rejected: Sample) -> Mapping[str, object]:
    """What the page's script needs to know of the rows."""
    return {
        "columns": [asdict(column) for column in report.columns], "panes": [asdict(pane) for pane in report.panes],
        "preview": report.preview, "trace": report.trace, "rows": len(accepted) + len(rejected),
        "given": accepted.seen + rejected.seen,
    }


def _scope(accepted: Sample, rejected: Sample) -> str:
    """What share of the rows the page holds, in words."""
    named = (("accepted", accepted), ("rejected", rejected))
    parts = [f"{count(len(sample))} of {count(sample.seen)} {name}" for name, sample in named if sample.seen]
    if not parts:
        return "This report has no rows."
    if len(accepted) + len(rejected) == accepted.seen + rejected.seen:
        return ""
    return (f"A sample drawn by hash: {' and '.join(parts)} rows are in this page. "
            "Searches, filters and counts below see these only.")


def _warnings(warnings: Sequence[str]) -> str:
    if not warnings:
        return ""
    items = "".join(f"<li>{escape(text)}</li>" for text in warnings)
    return f'<ul class="warnings" aria-label="Warnings">{items}</ul>'


def _facts(facts: Sequence[tuple[str, str]]) -> str:
    if not facts:
        return ""
    items = "".join(f"<div><dt>{escape(label)}</dt><dd>{escape(value)}</dd></div>" for label, value in facts)
    return f'<dl class="facts">{items}</dl>'


def _policy(style: str, script: str) -> str:
    return (f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
            "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def _asset(name: str) -> str:
    return files("pica.synth.report").joinpath(name).read_text(encoding="utf-8")
