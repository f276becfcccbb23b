"""What a report says about how answers were read, and about what the program is worth, in its headline."""

import html
import json
import re

import pytest

from helpers_runs import measured
from reprogram.report.page import write_report

HOST = [{"label": "envelope", "probability": 0.5}, {"label": "tench", "probability": 0.2}]
RESULT = {
    "host": "h",
    "task": "t",
    "learned_numbers": 7,
    "seed": 0,
    "label_map": "first",
    "loss": "host",
    "images_seen": 160,
    "seconds": 1.0,
    "selected_step": 10,
    "command": "reprogram fit",
    "test": measured(40),
    "validation": measured(40),
    "baselines": {"chance": {"accuracy": 0.1}, "map_alone": measured(5)},
}
WORTH = {
    "difference": 0.7,
    "n": 50,
    "both": 5,
    "only_program": 35,
    "only_map": 0,
    "neither": 10,
    "interval": [0.6, 0.8],
}


def page(folder, result=None, **example):
    """The text of a made-up run's page, by paragraphs and captions."""
    shown = {"picture": "data:,", "label": "0", "predicted": "0", "probability": 0.4, "host": HOST, **example}
    examples = {
        "program": "data:,",
        "examples": [shown],
        "classes": ["0", "1"],
        "assignment": [["tench"], ["goldfish"]],
        "weights": None,
        "spoken_for_by": [1, 1],
        "history": [{"images": 160, "validation_accuracy": 0.8, "loss": 1.0}],
        "confusion": [[20, 5], [5, 20]],
    }
    (folder / "examples.json").write_text(json.dumps(examples))
    return html.unescape(write_report(folder, result={**RESULT, **(result or {})}).read_text(encoding="utf-8"))


def caption(text):
    return re.sub(r"\s+", " ", re.sub("<[^>]*>", " ", re.findall("<figcaption>(.*?)</figcaption>", text, re.S)[1]))


TOP = {"host_shows": {"needed": "top_label", "top_label": {**measured(30), "outside": 9}}}


def test_a_top_label_outside_the_map_is_not_taken_for_the_answer(tmp_path):
    said = caption(page(tmp_path, TOP, read_by="tench", is_top=False))
    assert "Read as 0" in said and "of the map's labels tench has the highest score" in said
    assert "The host itself says envelope .50, tench .20" in said and "→" not in said


def test_a_top_label_of_the_map_is_the_answer(tmp_path):
    said = caption(page(tmp_path, TOP, read_by="tench", is_top=True, host=HOST[1:]))
    assert "Read as 0" in said and "because the host says tench" in said


@pytest.mark.parametrize(
    ("shows", "words"),
    [
        ({"needed": "all_scores"}, "from all of the scores that it shows"),
        ({"needed": "map_labels", "map_labels": {"labels": 40}}, "from the scores of 40 labels"),
        (TOP["host_shows"], "from the highest of the map's labels"),  # Of an older version, whose examples say no more.
    ],
)
def test_other_maps_say_what_was_read(tmp_path, shows, words):
    assert words in caption(page(tmp_path, {"host_shows": shows}))


def test_the_headline_says_what_the_program_is_worth(tmp_path):
    assert "<h1>h does t: the program is worth +70.0 points</h1>" in page(tmp_path, {"program_worth": WORTH})
    assert "<h1>h does t</h1>" in page(tmp_path)
    nothing = {**WORTH, "difference": 0.0, "interval": [-0.1, 0.1]}
    text = page(tmp_path, {"program_worth": nothing})
    assert "<h1>h on t: the program is worth +0.0 points</h1>" in text and "may do as well" in text


def test_labels_and_baselines_are_text_that_a_narrow_screen_can_wrap(tmp_path):
    text = page(tmp_path, {"program_worth": WORTH})
    for words in ("<td>0</td><td>tench", "<td>1</td><td>goldfish", "label map alone, no program", "0.1000"):
        assert words in text
    assert "width=device-width" in text and "prefers-color-scheme: dark" in text


@pytest.mark.parametrize(
    ("learner", "words"),
    [
        ({}, "Gradients were needed to learn the program; the top label alone"),
        ({"learner": "adam(learning_rate=0.1)"}, "Gradients were needed to learn the program; the top label alone"),
        ({"learner": "snes"}, "The program was learned from the host's answers alone; the top label alone"),
        ({"learner": "somebodys-own"}, None),
    ],
)
def test_what_it_took_to_learn_is_said_by_the_learner(tmp_path, learner, words):
    top = {"host_shows": {"needed": "top_label", "top_label": {**RESULT["test"], "outside": 0}}}
    text = page(tmp_path, {**top, **learner})
    assert words in text if words else "needed to use it" not in text


def test_a_run_without_a_program_shows_none(tmp_path):
    top = {"host_shows": {"needed": "top_label", "top_label": {**RESULT["test"], "outside": 0}}}
    text = page(tmp_path, {**top, "learned_numbers": 0, "learner": "none"})
    assert "without a learned input" in text and "the learned program" not in text and "Gradients" not in text
