"""Text of others in Markdown: it shows, and does nothing."""

from __future__ import annotations

import pytest

from pica.synth.markdown import code, plain, table

HOSTILE = "x`\n\n# Owned <script>alert(1)</script> | ![a](b) &lt; \u202e"


@pytest.mark.parametrize(("text", "shown"), [
    ("the judge fails", "the judge fails"), ("/data/my_pool/E-1", "/data/my_pool/E-1"), ("R&D & more", "R\\&D & more"),
    (HOSTILE, "x\\`\\\\n\\\\n\\# Owned \\<script\\>alert(1)\\</script\\> \\| !\\[a\\](b) \\&lt; \\\\u202e"),
    ("_a_ *b* ~c~ $d$", "\\_a\\_ \\*b\\* \\~c\\~ \\$d\\$"), ("- a - b", "\\- a - b"), ("a\\|b", "a\\\\\\|b")])
def test_text_within_a_line(text: str, shown: str) -> None:
    assert plain(text) == shown


@pytest.mark.parametrize(("text", "shown"), [
    ("hf/my_model", "`hf/my_model`"), (HOSTILE, "`x'\\n\\n# Owned <script>alert(1)</script> | ![a](b) &lt; \\u202e`"),
    (" ", "(no name)"), ("", "(no name)")])
def test_a_name(text: str, shown: str) -> None:
    assert code(text) == shown


def test_a_cell_is_one_cell() -> None:
    cells = [code("a|b"), plain("a|b"), code("a\\|b"), code("a\\\\|b")]
    assert table(["x", "y"], [["1", cell] for cell in cells]).splitlines() == [
        "| x | y |", "| --- | --- |", "| 1 | `a\\|b` |", "| 1 | a\\|b |", "| 1 | `a\\|b` |", "| 1 | `a\\\\\\|b` |"]
