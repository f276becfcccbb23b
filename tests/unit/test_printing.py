"""What people see of evaluations, tasks and results, in a console and in a notebook: short, accuracy first, escaped."""

import dataclasses
from html.parser import HTMLParser

import pytest
import torch

import reprogram
from helpers import random_task

HOSTILE = ("<script>alert(1)</script>", "\x1b[31mred", "a&b", "d")


class Cells(HTMLParser):
    """The texts of a table's cells, and the tags that made them."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts = set(), []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture(scope="module")
def learned():
    task = random_task(num_classes=4)
    model = reprogram.Reprogrammed.build("linear(size=24, num_classes=16)", task)
    shown = []
    result = reprogram.fit(model, task, images=80, on_progress=shown.append)
    return task, result, reprogram.evaluate(model, task), shown[-1]


def test_the_accuracy_comes_first_and_the_text_is_one_line(learned):
    task, result, evaluation, progress = learned
    right = f"{evaluation.correct / evaluation.n:.4f}"
    assert repr(evaluation).startswith(f"Evaluation: accuracy {right} (n=16, 95 % interval ")
    chosen = f"{result.validation.correct / 12:.4f} (n=12,"
    assert repr(result).startswith(f"FitResult: validation accuracy {chosen}")
    assert "training images 80 in" in repr(result)  # 16, 16, 8; 16, 16, 8
    assert repr(progress).startswith("FitProgress: validation accuracy ") and "100 % of the budget" in repr(progress)
    assert repr(task).startswith("Task random: images 40 train, 12 validation, 16 test; size 3 × 8 × 8; classes 4: ")
    assert repr(task.train) == "Split: 40 images of 3 × 8 × 8, 4 different labels"
    for value in (*learned, task.train):
        assert "\n" not in repr(value) and len(repr(value)) < 200


def test_a_notebook_shows_a_table(learned):
    task, result, evaluation, _ = learned
    low, high = reprogram.wilson_interval(evaluation.correct, 16)
    cells = Cells(evaluation._repr_html_())
    assert (
        cells.texts[:2] == ["accuracy", f"{evaluation.correct / 16:.4f}"] and f"{low:.4f} to {high:.4f}" in cells.texts
    )
    assert Cells(result._repr_html_()).texts[0] == "validation accuracy"
    assert "polyline" in Cells(dataclasses.replace(result, history=result.history * 2)._repr_html_()).tags
    assert Cells(task._repr_html_()).texts[:2] == ["task", "random"]


def test_names_of_strangers_stay_text():
    task = random_task(num_classes=4)
    hostile = reprogram.Task(
        name="<img src=x>", train=task.train, validation=task.validation, test=task.test, class_names=HOSTILE
    )
    cells = Cells(hostile._repr_html_())
    assert cells.tags == {"table", "tr", "th", "td"} and any("<script>" in text for text in cells.texts)
    assert "\x1b" not in repr(hostile) + hostile._repr_html_()


def test_hosts_and_models_are_a_line_with_shapes_first(learned):
    info = reprogram.HostInfo(id="x\x1b", num_classes=1000, size=(24, 32), class_names=tuple(map(str, range(1000))))
    text = repr(info)
    assert text.startswith("HostInfo x\ufffd: input 3 × 24 × 32; classes 1,000: 0, 1, 2, 3, 4 and 995 more; mean ")
    assert "access gradient" in text and len(text) < 300
    host = reprogram.Host.wrap(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 5)), size=2, name="<b>")
    assert repr(host) == "Host <b>: input 3 × 2 × 2; classes 5; access gradient; frozen parameters 65"
    assert Cells(host._repr_html_()).tags == {"table", "tr", "th", "td"} and "Linear" in repr(host.net)
    model = reprogram.Reprogrammed.build("linear(size=24, num_classes=16)", learned[0], program="tiles(side=3)")
    assert repr(model).startswith("Reprogrammed random on linear:") and "images 3 × 8 × 8; classes 4: " in repr(model)
    assert "\n" not in repr(model) and "tiles(side=3), 27 learned numbers" in repr(model)
    assert Cells(model._repr_html_()).texts[0] == "task" and Cells(info._repr_html_()).texts[2:4] == [
        "input",
        "3 × 24 × 32",
    ]


def test_a_thousand_classes_are_not_all_named():
    labels = torch.arange(1000)
    split = reprogram.Split(images=torch.zeros(1000, 1, 4, 4, dtype=torch.uint8), labels=labels)
    names = tuple(f"class {i}" for i in range(1000))
    text = repr(reprogram.Task(name="many", train=split, validation=split, test=split, class_names=names))
    assert "classes 1000: class 0, class 1" in text and text.endswith("and 990 more") and len(text) < 250


def test_a_result_in_which_nothing_was_learned_says_so(learned):
    evaluation = learned[2]
    nothing = reprogram.FitResult(images_seen=0, seconds=1.0, validation=evaluation, best_step=0, history=[{}])
    assert "nothing was learned" in repr(nothing) and "nothing was learned" in nothing._repr_html_()
    assert "nothing was learned" not in repr(learned[1])
