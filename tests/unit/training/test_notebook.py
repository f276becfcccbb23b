"""`fit` shows its progress in a notebook, and only there. The notebook is a stand-in for IPython's kernel."""

import sys
import types

import pytest

import reprogram
from helpers import random_task, tiny_model


class Handle:
    def __init__(self, shown):
        self.shown = shown

    def update(self, data, *, raw):
        assert raw
        assert data["text/html"].startswith("<progress max='1' value='")
        self.shown.append(data["text/plain"])


@pytest.fixture
def notebook(monkeypatch):
    shown, shell = [], types.SimpleNamespace(kernel=object())

    def display(data, *, raw, display_id):
        assert raw and display_id
        shown.append(data["text/plain"])
        return Handle(shown)

    module = types.SimpleNamespace(get_ipython=lambda: shell, display=types.SimpleNamespace(display=display))
    monkeypatch.setitem(sys.modules, "IPython", module)
    return shown, shell


def fit(**options):
    task = random_task()
    return reprogram.fit(tiny_model(task), task, epochs=1, batch_size=8, validations=2, **options)


def test_a_notebook_shows_the_progress_to_the_end(notebook):
    shown, _ = notebook
    result = fit()
    assert shown[0].lstrip()[0].isdigit() and "loss" in shown[0]
    assert shown[-1].startswith("100 %") and f"{result.images_seen} images" in shown[-1]


def test_a_given_function_counts_more_and_other_shells_show_nothing(notebook):
    shown, shell = notebook
    seen = []
    fit(on_progress=seen.append)
    assert seen and not shown
    shell.kernel = None  # IPython in a terminal.
    fit()
    assert not shown
