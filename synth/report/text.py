"""Text and numbers as a report shows them: escaped, with invisible characters made visible."""

from __future__ import annotations

import html
import math
import re

#: Characters that hide or reorder text: controls, soft hyphen, zero-width, bidi and tag characters, surrogates.
HIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f\ud800-\udfff]"
)


def escape(text: object) -> str:
    """`str(text)` as HTML that can only be text: escaped, and each hidden character shown by its code point."""
    return HIDDEN.sub(_code_point, html.escape(str(text), quote=True))


def _code_point(match: re.Match[str]) -> str:
    return f'<span class="ctl">U+{ord(match[0]):04X}</span>'


def attribute(text: object) -> str:
    """`str(text)` for use inside a quoted HTML attribute or an SVG title, where no element can stand."""
    return HIDDEN.sub(lambda match: f"[U+{ord(match[0]):04X}]", html.escape(str(text), quote=True))


_PAGE = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]*/)*[A-Za-z0-9_][A-Za-z0-9_.-]*\.html")


def is_page(text: str) -> bool:
    """Whether this is the path of a page below the report's own folder: no scheme, no root, no step up. The page's script
    has the same rule."""
    return _PAGE.fullmatch(text) is not None


def count(number: float) -> str:
    """A count with thousands separators: `12,345`."""
    return f"{number:,.0f}"


def quantity(number: float | None, unit: str = "") -> str:
    """A measured number in at most four significant digits (whole numbers in full), with its unit.

    >>> quantity(0.012345), quantity(1234567.0, "tokens"), quantity(None)
    ('0.01235', '1,234,567 tokens', '–')
    """
    if number is None or not math.isfinite(number):
        return "–"
    text = f"{abs(number):,.0f}" if number == round(number) or abs(number) >= 1000 else f"{abs(number):.4g}"
    signed = ("-" if number < 0 else "") + text
    return f"{signed} {unit}".rstrip().replace("-", "\N{MINUS SIGN}", signed.count("-"))


def share(part: float, whole: float) -> str:
    """A percentage with one decimal, `–` of nothing."""
    return f"{100 * part / whole:.1f} %" if whole else "–"
