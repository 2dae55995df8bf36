"""The page of a campaign: its first line, what its sections hold, links to the steps' own pages, and hostile text."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from made_up import CANDIDATES, REFUSAL, campaign, pages, start, step

from pica.recipes.flywheel.records import Campaign, Decision, Gate, Iteration, Rating, Spent, StepRecord
from pica.recipes.flywheel.report import campaign_report, verdict, write_campaign_report
from pica.synth.report import Intervals, Lines, Link, Report, Section, Table

EVIL = "</script><script>window.pwned=1</script><img src=x onerror='window.pwned=1'>"


def section(report: Report, title: str) -> Section:
    """The one section of this title."""
    (found,) = [one for one in report.sections if one.title == title]
    return found


def table(report: Report, title: str) -> Table:
    found = section(report, title)
    assert isinstance(found, Table)
    return found


def lines(report: Report, title: str) -> Lines:
    found = section(report, title)
    assert isinstance(found, Lines)
    return found


def under_way(**more: Any) -> Campaign:
    """A campaign in its second iteration, after the battles for sft."""
    made = campaign(1)
    turn = Iteration(number=2, started_from="iteration 1", candidate="iteration 2",
                     steps=[step(2, "battles-sft", "battle", 1000, Spent(4000, 2_400_000, 1.25, 0, 610.0))])
    return msgspec.structs.replace(made, iterations=[*made.iterations, turn], **{"state": "running", **more})


# ---- the first line ----


@pytest.mark.parametrize(("made", "said"), [
    (campaign(4), "3 of 4 iterations promoted: iteration 4 is the best, +120 [70, 171] above the start"),
    (campaign(3), "2 of 3 iterations promoted: iteration 2 is the best, +85 [40, 130] above the start"),
    (campaign(1), "1 of 1 iteration promoted: iteration 1 is the best, +40 [12, 69] above the start"),
    (campaign(1, ratings=[Rating("start", 1000, 1000, 1000, 9), Rating("iteration 1", 1040.0, 993.0, None, 9)]),
     "1 of 1 iteration promoted: iteration 1 is the best, +40 [\N{MINUS SIGN}7, \N{INFINITY}] above the start"),
    (campaign(1, ratings=[Rating("start", 1000, None, None, 9), Rating("iteration 1", 1040.0, None, None, 9)]),
     "1 of 1 iteration promoted: iteration 1 is the best, +40 above the start"),
    (campaign(1, ratings=[Rating("start", 1000, 1000, 1000, 9), Rating("iteration 1", 1040.0, None, None, 9)]),
     "1 of 1 iteration promoted: iteration 1 is the best, +40 [\N{MINUS SIGN}\N{INFINITY}, \N{INFINITY}] above the start"),
    (campaign(1, ratings=[Rating("iteration 1", None, None, None, 9, "won every game"), Rating("start", 1000, 1000, 1000, 9)]),
     "1 of 1 iteration promoted: iteration 1 is the best, its lead over the start has no figure (iteration 1: won every game)"),
    (campaign(1, ratings=[]), "1 of 1 iteration promoted: iteration 1 is the best"),
    (campaign(0), "No iteration is decided yet"),
    (under_way(), "Running (iteration 2 after battles-sft): 1 of 1 iteration promoted: iteration 1 is the best, +40 [12, 69] "
                  "above the start"),
    (under_way(state="stopped", reason="budget.calls=9 is spent; raise it and give the same command to go on"),
     "Stopped (iteration 2 after battles-sft): 1 of 1 iteration promoted: iteration 1 is the best, +40 [12, 69] above the start"),
    (campaign(0, state="stopped", reason="no judge"), "Stopped: no iteration is decided yet"),
    (campaign(0, state="running"), "Running: no iteration is decided yet")])
def test_the_first_line_says_what_became_of_the_campaign(made: Campaign, said: str) -> None:
    assert verdict(made) == said


def test_where_nothing_was_promoted_the_start_is_still_the_best() -> None:
    kept = Iteration(number=1, started_from="start", candidate="iteration 1",
                     decision=Decision(promoted=False, reason="better: it lost", best="start"))
    made = msgspec.structs.replace(campaign(0), iterations=[start(), kept])
    assert verdict(made) == "0 of 1 iteration promoted: the start is still the best"


def test_why_it_stopped_is_the_first_warning_and_the_first_line_says_where(tmp_path: Path) -> None:
    stopped = StepRecord(name="sft", kind="train", folder="iterations/01/sft", state="stopped", reason="the loss is nan")
    made = msgspec.structs.replace(
        campaign(0), state="stopped", reason="the loss is nan", warnings=["a warning"],
        iterations=[start(), Iteration(number=1, started_from="start", candidate="iteration 1", steps=[stopped])])
    report = campaign_report(made, tmp_path)
    assert report.verdict == "Stopped in iteration 1, sft: no iteration is decided yet"
    assert list(report.warnings) == ["the loss is nan", "a warning"]


# ---- sections ----


def test_ratings_are_a_line_of_candidates_and_a_staircase_of_the_best(tmp_path: Path) -> None:
    report = campaign_report(campaign(), tmp_path)
    ratings = lines(report, "Ratings over iterations")
    assert ratings.series == {
        "candidate": [(0, 1000.0, 1000.0, 1000.0), *((number, *ends) for number, ends in CANDIDATES.items())],
        "best so far": [(x, y, None, None) for x, y in (
            (0, 1000.0), (1, 1000.0), (1, 1040.0), (2, 1040.0), (2, 1085.0), (3, 1085.0), (3, 1085.0), (4, 1085.0), (4, 1120.0))]}
    models = section(report, "All models")
    assert isinstance(models, Intervals)
    assert models.items == [
        ("a large rival", 1302.5, 1250.0, math.inf), ("iteration 4 (best)", *CANDIDATES[4]), ("iteration 2", *CANDIDATES[2]),
        ("iteration 3", *CANDIDATES[3]), ("iteration 1", *CANDIDATES[1]), ("start", 1000.0, 1000.0, 1000.0)]
    assert models.note.endswith("intervals by bootstrap. Without a rating: silent rival.")


def test_who_has_no_rating_or_an_open_end_is_shown_so(tmp_path: Path) -> None:
    swept = "won every game against the rest"
    made = campaign(4, ratings=[
        Rating("iteration 1", None, None, None, 48, swept), Rating("iteration 2", 1300.0, 1210.0, None, 48),
        Rating("iteration 4", 1100.0, None, None, 48), Rating("start", 1000.0, 1000.0, 1000.0, 48),
        Rating("iteration 3", 900.0, None, 950.0, 48), Rating("silent", None, None, None, 0)])
    report = campaign_report(made, tmp_path)
    curve = lines(report, "Ratings over iterations")
    assert curve.series["candidate"] == [(0, 1000.0, 1000.0, 1000.0), (2, 1300.0, 1210.0, math.inf),
                                         (3, 900.0, -math.inf, 950.0), (4, 1100.0, -math.inf, math.inf)]
    assert curve.note.endswith(f"; iteration 1 has no rating ({swept}); iteration 2 has at least 1,210; "
                               "iteration 3 has at most 950; iteration 4 may have any")
    models = section(report, "All models")
    assert isinstance(models, Intervals)
    assert models.items == [("iteration 2", 1300.0, 1210.0, math.inf), ("iteration 4 (best)", 1100.0, -math.inf, math.inf),
                            ("start", 1000.0, 1000.0, 1000.0), ("iteration 3", 900.0, -math.inf, 950.0)]
    assert models.note.endswith(f" Without a rating: iteration 1 ({swept}), silent.")
    figures = table(report, "Ratings")
    assert figures.header == ["model", "rating", "at least", "at most", "games", "unbounded"]
    assert figures.rows == [
        ["iteration 1", None, None, None, 48, swept], ["iteration 2", 1300.0, 1210.0, None, 48, None],
        ["iteration 4 (best)", 1100.0, None, None, 48, None], ["start", 1000.0, 1000.0, 1000.0, 48, None],
        ["iteration 3", 900.0, None, 950.0, 48, None], ["silent", None, None, None, 0, None]]


def test_decisions_and_gates_have_their_reasons_and_link_to_the_evaluation(tmp_path: Path) -> None:
    made = campaign(3)
    pages(tmp_path, made)
    (tmp_path / "iterations/02/evaluation/report.html").unlink()
    report = campaign_report(made, tmp_path)
    assert table(report, "Decisions").rows == [
        [Link("iteration 1", "iterations/01/evaluation/report.html"), "start", "promoted", "iteration 1", "all gates passed"],
        [Link("iteration 2", ""), "iteration 1", "promoted", "iteration 2", "all gates passed"],
        [Link("iteration 3", "iterations/03/evaluation/report.html"), "iteration 2", "\N{BALLOT X} refused", "iteration 2",
         f"better: {REFUSAL}"]]
    gates = table(report, "Gates").rows
    assert len(gates) == 12
    assert [row for row in gates if row[2] != "passed"] == [
        ["iteration 3", "better", "\N{BALLOT X} refused", -31.25, 0.0, "95%", REFUSAL]]
    assert gates[3] == ["iteration 1", "budget", "passed", None, None, None, "12 % of the calls are used"]


def test_data_by_iteration_and_stage(tmp_path: Path) -> None:
    made = under_way()
    skipped = StepRecord(name="data-reward", kind="select", folder="iterations/02/data-reward", state="skipped", reason="k=9")
    last = msgspec.structs.replace(made.iterations[-1], data={"sft": 0, "reward": 0}, steps=[*made.iterations[-1].steps, skipped])
    report = campaign_report(msgspec.structs.replace(made, iterations=[*made.iterations[:-1], last]), tmp_path)
    assert table(report, "Data").rows == [
        ["iteration 1", "sft", 500, 1000, 500, 100.0, 500, 62], ["iteration 1", "dpo", 500, 1000, 250, 50.0, 250, 31],
        ["iteration 2", "sft", None, 1000, 0, None, None, None], ["iteration 2", "reward", None, None, 0, None, None, None]]
    assert lines(report, "Data over iterations").series == {
        "sft": [(1, 500, None, None), (2, 0, None, None)], "dpo": [(1, 250, None, None)], "reward": [(2, 0, None, None)]}


def test_what_the_answers_look_like_is_told_beside_the_start_and_drawn(tmp_path: Path) -> None:
    report = campaign_report(campaign(2), tmp_path)
    found = table(report, "What the answers look like")
    assert found.header == ["figure", "start", "iteration 1", "iteration 2"]
    rows = {row[0]: list(row[1:]) for row in found.rows}
    assert rows["topic_entropy"] == [0.9, 0.9, None]
    assert rows["kl"] == [None, 0.12, 0.24]
    assert lines(report, "Divergence from the start").series == {"kl": [(1, 0.12, 0.1, 0.14), (2, 0.24, 0.2, 0.28)]}
    assert lines(report, "Length of the answers").series["length_ratio"][0] == (0, 1.0, 1.0, 1.0)
    variety = lines(report, "Variety of the answers").series
    assert list(variety) == ["distinct_1", "distinct_2", "distinct_3", "self_similarity", "repeated", "topic_entropy"]
    assert variety["topic_entropy"] == [(0, 0.9, None, None), (1, 0.9, None, None)]


def test_cost_adds_up_by_iteration_and_by_step(tmp_path: Path) -> None:
    report = campaign_report(campaign(2), tmp_path)
    assert table(report, "Cost by iteration").rows == [
        ["start", 1200, 700_000, 0.4, 0, 180.0], ["iteration 1", 9600, 5_760_000, 3.0, 93, 1664.0],
        ["iteration 2", 9600, 5_760_000, 3.0, 75, 1664.0], ["everything else", 0, 0, 0.0, 0, 12.5],
        ["all", 20_400, 12_220_000, 6.4, 168, 3520.5]]
    by_step = {row[0]: list(row[1:]) for row in table(report, "Cost by step").rows}
    assert by_step["evaluation"] == [4400, 2_620_000, 1.4, 0, 680.0]
    assert by_step["sft"] == [0, 0, 0.0, 112, 191.0]


def test_every_step_is_a_row_with_its_page_and_what_else_has_one(tmp_path: Path) -> None:
    made = campaign(1)
    pages(tmp_path, made)
    (tmp_path / "iterations/01/dpo/report.html").unlink()
    (tmp_path / "iterations/07/battles-sft").mkdir(parents=True)
    (tmp_path / "iterations/07/battles-sft/report.html").write_text("of an iteration that no record knows")
    report = campaign_report(made, tmp_path)
    rows = {row["id"]: row for row in report.rows}
    assert list(rows) == ["pool", "start/evaluation", *(f"iterations/01/{name}" for name in (
        "battles-sft", "data-sft", "sft", "battles-dpo", "data-dpo", "dpo", "evaluation", "divergence"))]
    assert rows["iterations/01/battles-sft"] == {
        "id": "iterations/01/battles-sft", "what": "iteration 1: battles-sft", "iteration": "iteration 1", "step": "battles-sft",
        "kind": "battle", "state": "done", "rows": 1000, "model_calls": 4000, "tokens": 2_400_000, "dollars": 1.25,
        "training_steps": 0, "seconds": 610.0, "report": "iterations/01/battles-sft/report.html", "reason": "",
        "figures": {"prompts": 500, "unscored": 3}}
    assert rows["iterations/01/dpo"]["report"] == ""
    assert rows["pool"] == {"id": "pool", "what": "campaign: pool", "iteration": "campaign", "step": "pool",
                            "report": "pool/report.html"}
    links = {column.name for column in report.columns if column.kind == "link"}
    assert links == {"report"}


def test_warnings_are_those_of_the_campaign(tmp_path: Path) -> None:
    told = ["the judge leans", "iteration 4: answers grew by 20 % in length"]
    assert campaign_report(campaign(4, warnings=told), tmp_path).warnings == told


def test_a_campaign_that_has_just_begun_has_a_page(tmp_path: Path) -> None:
    made = Campaign(state="running", best="start", best_model="local")
    report = campaign_report(made, tmp_path)
    assert (report.sections, list(report.rows), report.verdict) == ([], [], "Running: no iteration is decided yet")
    info = write_campaign_report(made, tmp_path)
    assert Path(info.path) == tmp_path / "report.html"


def test_equal_records_give_equal_bytes(tmp_path: Path) -> None:
    pages(tmp_path, campaign())
    write_campaign_report(campaign(), tmp_path)
    first = (tmp_path / "report.html").read_bytes()
    write_campaign_report(campaign(), tmp_path)
    assert (tmp_path / "report.html").read_bytes() == first


# ---- in a browser ----


def hostile() -> Campaign:
    """Labels, reasons, names and figures that mean harm."""
    made = campaign(2, state="stopped", reason=EVIL, method=EVIL, warnings=[EVIL], best_model=EVIL)
    bad = StepRecord(name=EVIL, kind="train", folder="javascript:window.pwned=1", state="stopped", reason=EVIL,
                     figures={EVIL: EVIL})
    turn = Iteration(number=3, started_from=EVIL, candidate=EVIL, gates=[Gate(EVIL, False, EVIL)], data={EVIL: 3}, steps=[bad],
                     decision=Decision(promoted=False, reason=EVIL, best=EVIL), collapse={EVIL: 0.5}, warnings=[EVIL])
    return msgspec.structs.replace(made, iterations=[*made.iterations, turn], ratings=[*made.ratings, Rating(EVIL, 1, 0, 2, 3)])


def test_hostile_text_is_text(tmp_path: Path) -> None:
    write_campaign_report(hostile(), tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<img" not in page and page.count("</script>") == page.count("<script")
    assert page.count("&lt;img src=x onerror=") > 15
    assert not re.search(r'href="(?!#|data:,)', page)


FLAGS = ("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
         "disable-component-update", "disable-sync", "disable-dev-shm-usage", "window-size=1400,900")
browser = [pytest.mark.browser, pytest.mark.skipif(
    not (shutil.which("chromium") and shutil.which("chromedriver")),
    reason="needs chromium and chromedriver (Debian: apt install chromium chromium-driver)")]


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in (*FLAGS, f"user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    yield found
    found.quit()


def opened(driver: Any, made: Campaign, folder: Path) -> Any:
    """The page of a campaign in the browser."""
    from selenium.webdriver.support.ui import WebDriverWait

    pages(folder, campaign(2))
    write_campaign_report(made, folder)
    driver.get((folder / "report.html").as_uri())
    WebDriverWait(driver, 300).until(lambda one: one.execute_script("return document.documentElement.dataset.ready"))
    return driver


class TestBrowser:
    """What a person sees and clicks."""

    pytestmark = browser

    def test_links_lead_to_the_pages_of_the_steps(self, driver: Any, tmp_path: Path) -> None:
        page = opened(driver, campaign(2), tmp_path)
        assert page.find_element("css selector", ".verdict").text == verdict(campaign(2))
        page.execute_script("[...document.querySelectorAll('a')].find((a) => a.textContent === 'iteration 2').click()")
        assert page.title == "iterations/02/evaluation"
        page.back()
        listed = page.execute_script("return [...document.querySelectorAll('.row a')].map((a) => a.getAttribute('href'))")
        assert listed[:3] == ["pool/report.html", "start/evaluation/report.html", "iterations/01/battles-sft/report.html"]
        page.execute_script("document.querySelector('.row a').click()")
        assert page.title == "pool"
        assert page.get_log("browser") == []

    def test_no_number_is_cut_in_the_list_of_steps(self, driver: Any, tmp_path: Path) -> None:
        page = opened(driver, campaign(2), tmp_path)
        cut = "return [...document.querySelectorAll('.row .number')].filter((e) => e.scrollWidth > e.clientWidth).length"
        assert page.execute_script(cut) == 0
        assert page.execute_script("return [...document.querySelectorAll('.row .number')].some((e) => "
                                   "e.textContent === '2,400,000')")

    def test_nothing_hostile_runs_or_becomes_a_link(self, driver: Any, tmp_path: Path) -> None:
        page = opened(driver, hostile(), tmp_path)
        page.execute_script("document.querySelector('.row:last-child').click()")
        assert page.execute_script("return document.querySelector('#detail h3').textContent") == "javascript:window.pwned=1"
        assert page.execute_script("return document.querySelectorAll('#detail a').length") == 0
        assert page.execute_script("return [window.pwned, document.querySelectorAll('img').length]") == [None, 0]
        assert page.get_log("browser") == []
