"""What a shell is given at the TAB key: the names that there are."""

import pytest

from helpers_runs import cli
from reprogram.paper.experiments import base as experiments
from reprogram.paper.preset import preset_names
from reprogram.registry import names
from reprogram.runs import recipes

WORDS = {
    "fit --recipe": recipes.names(),
    "fit --task": names("tasks"),
    "fit --host": names("hosts"),
    "fit --label-map": names("label-maps"),
    "fit --baselines": names("baselines"),
    "evaluate p --task": names("tasks"),
    "predict p --host": names("hosts"),
    "paper": ["all", "list", "report", *experiments.names()],
    "paper --preset": preset_names(),
}


@pytest.mark.parametrize("words", WORDS)
def test_names_are_completed(words):
    code, out, err = cli("__complete", *words.split(), "")
    assert (code, err) == (0, "")
    assert {line.split("\t")[0] for line in out.splitlines()} >= set(WORDS[words])
