"""The page of an audit: pictures first, limits said first, everything in it, and nothing from anywhere else."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from reprogram.auditing.file import read_report
from reprogram.auditing.formats import _pictures
from reprogram.auditing.formats._pictures import BEFORE_AND_AFTER, strongest_cell
from reprogram.auditing.formats._words import RUNG_WORDS, signed
from reprogram.auditing.output import format_of

FIXTURES = Path(__file__).parents[2] / "fixtures"
PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUg=="
EVIL = "<script>alert(1)</script>'\" onload=x \u202e"


class Reader(HTMLParser):
    """What a browser would see: tags with their attributes, and the text in order."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text, self.hidden = [], "", False
        self.feed(page)
        self.text = re.sub(r"\s+", " ", self.text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.hidden = tag in ("style", "title", "pre") or (self.hidden and tag == "code")
        self.text += "[img]" if tag == "img" else ""

    def handle_endtag(self, tag):
        self.hidden = False

    def handle_data(self, data):
        self.text += "" if self.hidden else data


@pytest.fixture(scope="module")
def report():
    return read_report(FIXTURES / "audit" / "audit.json")


@pytest.fixture(scope="module")
def page(report, tmp_path_factory):
    """The page of an audit whose folder has the strongest cell's run, in which somebody put hostile texts."""
    folder = tmp_path_factory.mktemp("audit")
    cell = strongest_cell(report)
    assert cell is not None
    run = folder / cell.folder
    run.mkdir(parents=True)
    answer = [{"label": EVIL, "probability": 0.25}, {"label": "tench", "probability": "x"}]
    example = {"picture": PIXEL, "label": "3", "predicted": "4", "host": answer}
    (run / "examples.json").write_text(json.dumps({"program": PIXEL, "examples": [example] * 12}))
    pair = {**example, "before_picture": "javascript:alert(1)", "before": [{"label": "goldfish", "probability": 0.5}]}
    (folder / BEFORE_AND_AFTER).write_text(
        json.dumps({"cell": cell.name, "pairs": [pair, 7, {**pair, "before_picture": PIXEL}]})
    )
    odd = replace(report, host=replace(report.host, spec=EVIL), limits=(*report.limits, EVIL))
    return Reader(format_of("html").render(odd, folder))


def test_nothing_comes_from_elsewhere_and_nothing_runs(page):
    tags = [tag for tag, _ in page.tags]
    assert not {"script", "iframe", "link", "object", "form", "base"} & set(tags)
    for _, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href"):
            assert (attributes.get(name) or "data:").startswith(("data:image/", "#", "data:"))
    policy = next(a["content"] for tag, a in page.tags if tag == "meta" and a.get("http-equiv"))
    assert "default-src 'none'" in policy and "script" not in policy
    assert "\u202e" not in page.text and "javascript" not in page.text


def test_limits_and_pictures_stand_before_the_verdict(page, report):
    verdict = page.text.index(report.verdict.text)
    assert page.text.index(report.limits[0]) < page.text.index("[img]") < verdict
    assert page.text[:verdict].count("[img]") == len(report.grid.tasks) + 1  # The curves and the strongest program.
    low, high = report.verdict.interval
    assert page.text.index("95 % interval") and f"({signed(low)} to {signed(high)})" in page.text


def test_every_estimate_term_and_flag_is_there(page, report):
    for estimate in report.estimates:
        low, high = estimate.interval
        assert f"{signed(estimate.gain)} ({signed(low)} to {signed(high)})" in page.text
        assert estimate.translation.text in page.text
        assert all(f"{value:.3f}" in page.text for value in estimate.terms.values())
    by_label = [e for e in report.estimates if e.rung == "label" and e.budget == max(report.grid.budgets)]
    assert page.text.count("at run time the host must show all scores; whoever sees the top label alone") == 4
    for e in by_label:
        assert f"by the top label alone the program has {e.accuracy:.3f} of the images right (100 % of it)" in page.text
    for flag in report.flags:
        assert flag.text in page.text and flag.advice[1:] in page.text
    assert report.checksum in page.text and all(limit in page.text for limit in report.limits)


def test_pictures_have_words_and_answers_before_and_after_stand_side_by_side(page):
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert all(attributes["alt"] for attributes in images)
    pairs = re.findall(r"Before ?goldfish 50 % ?\[img\]After.*?read as 4, wrong: it is 3", page.text)
    assert len(pairs) == 2 and all(EVIL[:8] in pair and "25 %" in pair for pair in pairs)


def test_headings_and_tables_serve_keyboards_and_screen_readers(page):
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1 and set(levels) == {1, 2}
    assert dict(page.tags)["html"]["lang"] == "en"
    ids = [attributes["id"] for _, attributes in page.tags if attributes.get("id")]
    links = [attributes["href"][1:] for tag, attributes in page.tags if tag == "a"]
    assert len(set(ids)) == len(ids) and set(links) <= set(ids)
    regions = [attributes for _, attributes in page.tags if attributes.get("class") == "scroll"]
    assert regions and all(a.get("tabindex") == "0" and a.get("aria-label") for a in regions)


def test_a_report_of_nothing_makes_a_page(report, tmp_path):
    nothing = dict.fromkeys(("rung", "task", "budget", "gain", "interval"))
    verdict = replace(report.verdict, level="unknown", text="nothing is known", lower_bound_only=False, **nothing)
    grid = replace(report.grid, tasks=report.grid.tasks[:1])
    empty = replace(report, verdict=verdict, grid=grid, estimates=(), cells=(), flags=(), probe=None, price=None)
    text = Reader(format_of("html").render(empty, tmp_path)).text
    assert "nothing is known" in text and "No check raised a flag." in text and report.limits[0] in text


def test_points_of_the_curve_sit_at_their_budgets_with_their_intervals_and_names(report, monkeypatch):
    figures = []
    monkeypatch.setattr(_pictures, "svg", lambda figure: figures.append(figure) or "")
    _pictures.gain_curve(report, report.grid.tasks[0].name)
    (axes,) = figures[0].axes
    lines = {line.get_label(): line for line in axes.get_lines()}
    names = {text.get_text(): text for text in axes.texts}
    markers = set()
    for rung in {estimate.rung for estimate in report.estimates}:
        own = [e for e in report.estimates if (e.rung, e.task) == (rung, report.grid.tasks[0].name)]
        line = lines[RUNG_WORDS[rung].name]
        assert list(line.get_xdata()) == [e.budget for e in own] and list(line.get_ydata()) == [e.gain for e in own]
        caps = [other for other in axes.get_lines() if other.get_marker() == "_"]
        (ends,) = [other for other in caps if other.get_color() == line.get_color()]
        assert sorted(ends.get_ydata()) == sorted(end for e in own for end in e.interval)
        assert set(ends.get_xdata()) == {e.budget for e in own}
        assert names[RUNG_WORDS[rung].name].xy == (own[-1].budget, own[-1].gain)
        markers.add(line.get_marker())
    assert axes.get_xscale() == "log" and len(markers) == 3
    assert len(set(_pictures.LINES)) == len(set(_pictures.MARKERS)) == len(set(_pictures.COLOURS)) == 5
