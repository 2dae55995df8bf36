"""Reports: what is in the file, without a browser."""

import base64
import hashlib
import json
import math
import random
import re
import xml.etree.ElementTree as ET
import zlib
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pica.synth.errors import UsageError
from pica.synth.report import (
    Bars,
    Column,
    Distribution,
    Histogram,
    Intervals,
    Lines,
    Link,
    Matrix,
    Report,
    Table,
    write_report,
)
from pica.synth.report import sample as sampling
from pica.synth.report.charts import draw
from pica.synth.report.sample import plain
from pica.synth.report.scales import bin_edges, log_edges, log_ticks, ticks
from pica.synth.report.text import attribute, escape, quantity

HOSTILE = "</script><script>window.pwned=1</script><img src=x onerror=alert(1)>\u202e\x00\ud800'\"&"
numbers = st.floats(-1e12, 1e12).map(lambda value: value if abs(value) > 1e-200 else 0.0)


def row(i, **more):
    return {"id": f"r{i}", "messages": [{"role": "user", "content": f"question {i}"}], **more}


def rows_in(page):
    chunks = re.findall(r'class="chunk">([^<]*)</script>', page)
    return [item for chunk in chunks for item in json.loads(zlib.decompress(base64.b64decode(chunk)))]


def written(tmp_path, report, **options):
    path = tmp_path / "report.html"
    info = write_report(report, path, **options)
    return info, path.read_text(encoding="utf-8")


# ---- the file ----


def test_equal_input_gives_equal_bytes_and_the_size_is_told(tmp_path):
    report = [Report("t", "v", sections=[Bars("b", [("x", 1)])], rows=(row(i) for i in range(50))) for _ in range(2)]
    infos = [write_report(r, tmp_path / f"{i}.html") for i, r in enumerate(report)]
    first, second = (tmp_path / "0.html").read_bytes(), (tmp_path / "1.html").read_bytes()
    assert first == second
    assert infos[0].bytes == len(first)
    assert (infos[0].accepted, infos[0].accepted_shown, infos[0].sampled) == (50, 50, False)


def test_a_report_that_cannot_be_finished_leaves_the_old_one(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")

    def rows():
        yield row(0)
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="disk is gone"):
        write_report(Report("t", "v", rows=rows()), path)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_the_policy_names_exactly_the_script_and_the_style(tmp_path):
    _, page = written(tmp_path, Report("t", "v"))
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    for tag, directive in (("script", "script-src"), ("style", "style-src")):
        body = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}';" in policy
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy


class Elements(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def test_hostile_text_makes_no_element_and_no_handler(tmp_path):
    sections = [Bars(HOSTILE, [(HOSTILE, 1)], note=HOSTILE, field=HOSTILE),
                Table(HOSTILE, [HOSTILE], [[HOSTILE], [Link(HOSTILE, HOSTILE)]]),
                Histogram(HOSTILE, [1, 2], HOSTILE, field=HOSTILE), Intervals(HOSTILE, [(HOSTILE, 1, 0, 2)], HOSTILE),
                Lines(HOSTILE, {HOSTILE: [(0, 1, 0, 2)]}, HOSTILE, HOSTILE), Matrix(HOSTILE, [HOSTILE], [[1]])]
    hostile = Report(HOSTILE, HOSTILE, HOSTILE, [HOSTILE], [(HOSTILE, HOSTILE)], sections,
                     [row(0, **{HOSTILE: HOSTILE})], [Column(HOSTILE, "category", HOSTILE, HOSTILE)])
    tame = Report("t", "v", "s", ["w"], [("a", "b")],
                  [type(s)(**{**s.__dict__, "title": "t"}) for s in sections], [row(0)], [Column("c", "category")])
    _, page = written(tmp_path, hostile)
    _, other = written(tmp_path, tame)
    names = [tag for tag, _ in Elements(page).found if tag != "span"]
    assert "img" not in names
    assert names.count("script") == [tag for tag, _ in Elements(other).found].count("script") == 3
    assert not [name for _, attrs in Elements(page).found for name in attrs if name.startswith("on")]
    assert "\u202e" not in page and "\x00" not in page and "U+202E" in page
    assert rows_in(page)[0][HOSTILE] == HOSTILE


def test_the_page_asks_for_nothing_outside_itself(tmp_path):
    _, page = written(tmp_path, Report("t", "v", sections=[Bars("b", [("x", 1)], field="f")]))
    links = [v for _, attrs in Elements(page).found for k, v in attrs.items() if k in ("src", "href", "action", "data")]
    assert links
    assert all(link.startswith(("#", "data:,")) for link in links)
    assert not re.search(r"url\(|@import", page)


def test_the_script_has_no_way_to_turn_text_into_markup():
    script = Path(sampling.__file__).with_name("page.js").read_text()
    ways = r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|Function\(|DOMParser|</script|fetch\("
    assert not re.search(ways, script)


# ---- rows ----


def test_rows_reach_the_page_whole_and_exact(tmp_path):
    more = {"text": "ü\x00</script>\ud800" * 50, "n": 1.5, "seed": 2**63, "nothing": None, "deep": {"a": [1, "b"]}}
    given_rows = [row(i, **more) for i in range(700)]
    _, page = written(tmp_path, Report("t", "v", rows=iter(given_rows)))
    assert rows_in(page) == [{**item, "seed": str(2**63)} for item in given_rows]
    assert page.count('class="chunk"') > 1


@pytest.mark.parametrize(("value", "shown"), [
    (math.nan, "nan"), (-math.inf, "-inf"), (np.float32(0.5), 0.5), (np.int64(7), 7), (True, True),
    (b"\x01\xff", "01ff"),
    (2**53 - 1, 2**53 - 1), (-(2**53), str(-(2**53))), (("a", {1: 2}), ["a", {"1": 2}]), (Path("x"), "x"),
])
def test_what_json_cannot_say_becomes_text(value, shown):
    assert plain(value) == shown


def test_a_text_beyond_the_limit_is_cut_and_says_so(tmp_path):
    whole = "x" * (sampling.TEXT_LIMIT + 5)
    _, page = written(tmp_path, Report("t", "v", rows=[{"id": "a", "text": whole}]))
    text = rows_in(page)[0]["text"]
    assert text.startswith("x" * sampling.TEXT_LIMIT + "\n")
    assert text.endswith("[cut here: 1,000,005 characters in all, 1,000,000 of them in this page]")


@pytest.mark.parametrize(("accepted", "rejected", "shown"), [
    (500, 100, (500, 100)), (5000, 100, (900, 100)), (100, 5000, (100, 900)), (5000, 5000, (500, 500)),
    (1000, 0, (1000, 0)),
])
def test_a_sample_shows_both_kinds_and_says_how_many(tmp_path, accepted, rejected, shown):
    rows = [row(i) for i in range(accepted)] + [row(accepted + i, reject_reason="bad") for i in range(rejected)]
    info, page = written(tmp_path, Report("t", "v", rows=rows), max_rows=1000)
    kept = rows_in(page)
    assert (info.accepted, info.rejected, info.accepted_shown, info.rejected_shown) == (accepted, rejected, *shown)
    assert sum("reject_reason" in r for r in kept) == shown[1]
    assert [int(r["id"][1:]) for r in kept] == sorted(int(r["id"][1:]) for r in kept)
    told = f"{shown[0]:,} of {accepted:,} accepted"
    assert (told in page) is info.sampled


def test_the_sample_is_spread_over_the_whole_input(tmp_path):
    _, page = written(tmp_path, Report("t", "v", rows=(row(i) for i in range(20_000))), max_rows=1000)
    tenths = np.bincount([int(r["id"][1:]) // 2000 for r in rows_in(page)], minlength=10)
    assert tenths.sum() == 1000
    assert tenths.min() > 60


def test_rows_are_held_within_the_byte_limit(tmp_path):
    rows = ({"id": f"r{i}", "text": "y" * 10_000} for i in range(1000))
    info, page = written(tmp_path, Report("t", "v", rows=rows), max_bytes=400_000)
    assert 15 <= info.accepted_shown < 20
    assert len(rows_in(page)) == info.accepted_shown
    assert "of 1,000 accepted" in page


def test_max_rows_must_leave_room():
    with pytest.raises(UsageError, match="max_rows is 1"):
        write_report(Report("t", "v"), Path("never.html"), max_rows=1)


# ---- distributions ----


@given(st.lists(numbers, min_size=1))
def test_a_distribution_knows_what_a_list_knows(values):
    spread = Distribution(values)
    edges, counts = spread.binned()
    assert (spread.n, spread.least, spread.greatest) == (len(values), min(values), max(values))
    assert spread.mean == math.fsum(values) / len(values)
    assert sum(counts) == len(values)
    slack = 1e-6 * (max(values) - min(values) or abs(min(values)))
    assert edges[0] - slack <= min(values) <= max(values) <= edges[-1] + slack


@given(st.lists(st.integers(-2000, 2000), min_size=1))
def test_bins_of_whole_numbers_agree_with_numpy(values):
    edges, counts = Distribution(values).binned()
    padded = [*edges[:-1], np.nextafter(edges[-1], -np.inf)]  # numpy's last bin holds its upper edge as well
    assert counts == np.histogram(values, padded)[0].tolist()


@given(st.lists(numbers, min_size=1), st.randoms())
def test_a_distribution_does_not_depend_on_order(values, rng):
    shuffled = list(values)
    rng.shuffle(shuffled)
    assert Distribution(values).histogram("t") == Distribution(shuffled).histogram("t")


def test_the_least_number_there_is_has_a_bin():
    assert Distribution([5e-324]).binned() == ([0.0, 1.0], [1])


def test_a_long_stream_stays_small_and_nearly_exact():
    rng = random.Random(0)
    values = [rng.gauss(0, 1) for _ in range(50_000)]
    spread = Distribution(values)
    assert len(spread._cells) <= 4096
    assert spread.quantile(0.5) == pytest.approx(np.median(values), abs=0.005)
    edges, counts = spread.binned()
    assert np.abs(np.array(counts) - np.histogram(values, edges)[0]).max() < 60


def test_values_that_are_none_are_counted_as_missing():
    spread = Distribution([1.0, None, math.nan, math.inf, 1e300, 3.0])
    assert (spread.n, spread.missing) == (2, 4)
    assert spread.summary("s") == "n 2 · min 1 · median 1 · mean 2 · max 3 s · 4 missing"
    assert Distribution([None]).summary() == "no values, 1 missing"
    assert Distribution([0.0, 10.0], log=True).missing == 1


@given(st.lists(st.floats(1e-6, 1e9), min_size=1))
def test_logarithmic_bins_hold_every_value(values):
    edges, counts = Distribution(values, log=True).binned()
    assert sum(counts) == len(values)
    assert edges[0] <= min(values) * (1 + 1e-6) and max(values) <= edges[-1] * (1 + 1e-6)


@given(numbers, st.floats(1e-9, 1e12))
def test_ticks_and_edges_are_few_and_inside(low, span):
    high = low + max(span, abs(low) * 1e-6)
    marks = ticks(low, high)
    assert 1 <= len(marks) <= 7
    slack = (high - low) * 1e-6
    assert all(low - slack <= t <= high + slack for t in marks)
    assert 2 <= len(bin_edges(low, high, 30, whole=False)) <= 33


@given(st.floats(1e-6, 1e6), st.floats(1.5, 1e9))
def test_logarithmic_edges_rise_and_cover(low, ratio):
    edges = log_edges(low, low * ratio, 30)
    assert edges == sorted(edges)
    assert 2 <= len(edges) <= 33
    assert all(low * 0.99 <= t <= low * ratio * 1.01 for t in log_ticks(low, low * ratio))


# ---- charts and text ----

SECTIONS = [
    Bars("bars", [("a", 3), ("", 1)]), Bars("none", []), Histogram("values", [1.0, 2.5, 2.5]), Histogram("none", []),
    Histogram("binned", ([0, 1, 2], [3, 4]), "s"), Histogram("log", [1.0, 10.0, 5000.0], log=True, field="n"),
    Histogram("one", [3.0, 3.0]), Table("table", ["a", "b"], [["x", 1], [None, 2.5]]), Table("none", ["a"], []),
    Lines("lines", {"s": [(0, 1, 0.5, 1.5), (1, 2, None, None)], "empty": []}, "step", "loss"), Lines("none", {}),
    Lines("flat", {"s": [(1, 1, None, None)]}), Lines("gap", {"s": [(0, math.nan, None, None), (1, 2, 1, 3)]}),
    Intervals("intervals", [("a", 1, 0.5, 2), ("b", 2, None, None)]), Intervals("none", []),
    Matrix("matrix", ["a", "b"], [[None, 0.25], [0.75, None]]), Matrix("none", ["a"], [[None]]),
]


@pytest.mark.parametrize("section", SECTIONS, ids=lambda s: f"{type(s).__name__}-{s.title}")
def test_every_section_is_well_formed_and_holds_its_title(section):
    figure = ET.fromstring(draw(section))
    assert figure.find("figcaption/h3").text == section.title
    assert "nan" not in draw(section).lower()


def test_every_plot_says_in_words_what_it_shows():
    for section in SECTIONS:
        for svg in ET.fromstring(draw(section)).iter("svg"):
            if svg.get("role") == "img":
                assert section.title in svg.get("aria-label") or section.y in svg.get("aria-label")


def test_bars_are_as_long_as_their_counts_and_link_to_their_rows():
    figure = ET.fromstring(draw(Bars("b", [("Q & A", 1200), ("z", 300)], field="task")))
    assert [rect.get("width") for rect in figure.iter("rect")] == ["100%", "25%"]
    assert [cell.text for cell in figure.iter("td") if cell.text] == ["1,200", "80.0 %", "300", "20.0 %"]
    links = [a.get("href") for a in figure.iter("a")]
    assert links == ["#?status=accepted&task=Q%20%26%20A", "#?status=accepted&task=z"]


def test_small_values_keep_their_scale():
    rates = [(step, step * 1e-7, None, None) for step in range(11)]
    figure = ET.fromstring(draw(Lines("rate", {"s": rates}, "step", "learning rate")))
    assert [text.text for text in figure.iter("text")][:3] == ["0", "5e\N{MINUS SIGN}07", "1e\N{MINUS SIGN}06"]
    assert Distribution([1e-9, 2e-9]).binned(2) == ([1e-9, 1.5e-9, 2e-9, 2.5e-9], [1, 0, 1])


def test_between_whole_places_there_are_no_ticks():
    def across(*places):
        figure = ET.fromstring(draw(Lines("l", {"s": [(x, 1, None, None) for x in places]}, "iteration")))
        return [text.text for text in figure.iter("text") if text.get("text-anchor") == "middle"]

    assert across(0, 1, 2) == ["0", "1", "2"]
    assert across(0, 1) == ["0", "1"]
    assert across(0, 1.5, 2) == ["0", "0.5", "1", "1.5", "2"]


PAGES = [*((page, True) for page in ("report.html", "iterations/01/battles-sft/report.html", "a.b/c_d.html")),
         *((page, False) for page in (
             "", "/etc/x.html", "../x.html", "a/../x.html", "a/./x.html", "a//x.html", "//host/x.html", "javascript:x.html",
             "a b.html", "x.html#y", "x.html?y.html", "a\\x.html", "x.html\n", "\nx.html", "x.pdf", "%2e%2e/x.html"))]


@pytest.mark.parametrize(("page", "linked"), PAGES)
def test_a_cell_links_to_a_page_below_the_report_and_to_nothing_else(page, linked):
    figure = ET.fromstring(draw(Table("t", ["where", "n"], [[Link("<here>", page), 1]])))
    (cell, number) = figure.iter("td")
    assert (number.get("class"), number.text) == ("num", "1")
    assert [(a.get("href"), a.text) for a in cell] == ([(page, "<here>")] if linked else [])
    assert "".join(cell.itertext()) == "<here>"


def test_histogram_edges_must_fit_counts():
    with pytest.raises(ValueError, match=r"'h' has 2 edges for 2 counts"):
        draw(Histogram("h", ([0, 1], [3, 4])))


@pytest.mark.parametrize(("number", "shown"), [
    (0, "0"), (1234567, "1,234,567"), (0.0123456, "0.01235"), (1234.56, "1,235"), (-2.5, "\N{MINUS SIGN}2.5"),
    (None, "–"), (math.nan, "–"),
])
def test_quantities(number, shown):
    assert quantity(number) == shown
    assert quantity(5, "tokens") == "5 tokens"


def test_hidden_characters_are_shown():
    assert escape("a\u202eb<\ud800") == 'a<span class="ctl">U+202E</span>b&lt;<span class="ctl">U+D800</span>'
    assert attribute('"\x00') == "&quot;[U+0000]"
    assert escape("line\nكيف 👩\u200d💻") == "line\nكيف 👩\u200d💻"
