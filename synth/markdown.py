"""Text that a model or a foreign file wrote, as Markdown that shows it and nothing else: for cards.

    f"Battles of {code(label)} ({plain(why)})"
    table(["source", "rows"], [[plain(source), "12"]])
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from pica.synth.visible import visible_line

_ACTS = re.compile(r"[\\`*\[\]<>|~$#]|(?<!\w)_|_(?!\w)|&(?=[#\w])|^[-+=]")  # `_` and `&` within a path or a word are themselves


def plain(text: str) -> str:
    """Text within a line, as it is: nothing of it is a heading, emphasis, a list, a table, an image or a tag."""
    return _ACTS.sub(r"\\\g<0>", visible_line(text))


def code(text: str) -> str:
    """Text as code within a line, such as a name. A backtick, which would end it, becomes an apostrophe."""
    shown = visible_line(text).replace("`", "'")
    return f"`{shown}`" if shown.strip() else "(no name)"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are Markdown already. A bar in one, as in code, does not end it."""
    lines = [header, ["---"] * len(header), *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(text: str) -> str:
    return re.sub(r"(?<!\\)((?:\\\\)*)\|", r"\1\\|", text)  # behind an even number of backslashes, a bar is not escaped yet
