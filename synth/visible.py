"""Text that a model or a server wrote, made safe to show: what acts on a terminal, or hides in it, becomes visible."""

from __future__ import annotations

import unicodedata

# control, format (direction, tags), surrogate, private, unassigned, line and paragraph breaks
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_JOINERS = "\u200c\u200d"  # that emoji and several scripts need


def visible(text: str) -> str:
    """`text` with escapes such as `\\x1b` for what is not printed as itself, but for line feeds and tabs.

    Escape sequences, carriage returns, overridden directions and invisible tag characters show instead of working.
    """
    if text.isascii() and text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return "".join(_escape(char) if unicodedata.category(char) in _HIDDEN and char not in "\n\t" + _JOINERS else char
                   for char in text)


def visible_line(text: str) -> str:
    """As `visible`, in one line: line feeds and tabs show as escapes too."""
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")


def _escape(char: str) -> str:
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")
