"""What is counted in a text, against the published expressions applied one by one."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pica.synth.style import Style, measure

PIECES = st.lists(st.sampled_from(["#", "##", "#######", " ", "\n", "\r\n", "\t", "-", "*", "**", "__", "_", "+", "1.",
                                   "23.", ".", "a", "b c", "```", "`", "# x\n", "- y\n", "**z**",
                                   "__w__", "\u2028", "\x0b"]), max_size=40)


def published(text: str) -> tuple[int, int, int]:
    """(headers, lists, bold) by Arena-Hard's expressions as they were published."""
    prose = re.sub(r"```([^`]*)```", "", text)

    def count(*expressions: str) -> int:
        return sum(len(re.findall(expression, prose, re.MULTILINE)) for expression in expressions)

    return (count(*(rf"^#{{{level}}}\s" for level in range(1, 7))), count(r"^\s*\d+\.\s", r"^\s*[-*+]\s"),
            count(r"\*\*[^*\n]+\*\*", r"__[^_\n]+__"))


@pytest.mark.parametrize(("text", "expected"), [
    ("", Style(0, 0, 0, 0, 0, 0)),
    ("Two words", Style(9, 2, 0, 0, 0, 0)),
    ("# Head\n\nText with **bold** and __more__.\n\n- one\n  * two\n10. three\n", Style(66, 13, 1, 3, 2, 0)),
    ("#hash 1.5 -x **open\n", Style(20, 4, 0, 0, 0, 0)),
    ("See:\n```py\n# no header\n- no item\n```\n# header\n", Style(46, 11, 1, 0, 0, 1)),
])
def test_counts(text: str, expected: Style) -> None:
    assert measure(text) == expected


@given(PIECES)
def test_as_published(pieces: list[str]) -> None:
    text = "".join(pieces)
    found = measure(text)
    assert (found.headers, found.lists, found.bold) == published(text)
    assert (found.characters, found.words) == (len(text), len(text.split()))


@pytest.mark.parametrize("piece", ["\n", " ", "1", "**a", "__", "`", "#", "- ", "\t\n", "```"])
def test_a_hostile_text_is_read_once(piece: str) -> None:
    """A million characters; reading anything again and again would take hours."""
    text = piece * (1_000_000 // len(piece))
    assert measure(text).characters == len(text)
