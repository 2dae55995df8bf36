"""The style of a text, as Arena-Hard counts it: length, headers, lists, bold, blocks of code.

Source: Li et al., "From Crowdsourced Data to High-Quality Benchmarks: Arena-Hard and BenchBuilder Pipeline" (2024), and its
style control. Headers, list items and bold are counted outside fenced blocks, which end at the first backtick.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_BLOCK = re.compile(r"```([^`]*)```")
# the text gets a line feed before it, so that a search need only look at line feeds; spaces before an item are those of its
# own line, which counts the same items as any space would, without reading a run of empty lines over and over
_HEADER = re.compile(r"\n#{1,6}(?=\s)")
_ORDERED = re.compile(r"\n[^\S\n]*\d+\.(?=\s)")
_UNORDERED = re.compile(r"\n[^\S\n]*[-*+](?=\s)")
_STARS = re.compile(r"\*\*[^*\n]+\*\*")
_DASHES = re.compile(r"__[^_\n]+__")


class Style(NamedTuple):
    """Counts in one text: characters, words between spaces, headers of any level, list items, bold spans, fenced blocks."""

    characters: int
    words: int
    headers: int
    lists: int
    bold: int
    code_blocks: int


def measure(text: str) -> Style:
    """The style of `text`."""
    prose, blocks = _BLOCK.subn("", text)
    prose = "\n" + prose
    return Style(
        characters=len(text), words=len(text.split()), headers=len(_HEADER.findall(prose)),
        lists=len(_ORDERED.findall(prose)) + len(_UNORDERED.findall(prose)),
        bold=len(_STARS.findall(prose)) + len(_DASHES.findall(prose)), code_blocks=blocks)
