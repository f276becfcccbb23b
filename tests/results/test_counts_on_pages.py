"""Numbers that pages work out: steps, images of a measurement, and how sure an accuracy is."""

import csv
import json
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def ext(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs/_ext"))


@pytest.fixture
def defences(ext: None) -> ModuleType:
    import defences

    return defences


@pytest.mark.parametrize("train, batch", [(1295, 16), (1295, 128), (100, 10), (7, 16), (16, 16)])
def test_steps_are_counted_as_batches_are_taken(ext: None, train: int, batch: int) -> None:
    from compared import steps

    images = left = 0
    for step in range(1, 60):
        left = left or train
        taken = min(batch, left)
        images, left = images + taken, left - taken
        assert steps(images, train, batch) == step


def test_a_recipe_that_chose_its_last_step_shows_as_many(ext: None) -> None:
    import kept
    from compared import steps

    runs = kept.load("recipes")
    counts = [
        (result["selected_step"], steps(result["images_seen"], result["splits"]["train"], config["batch_size"]))
        for config, result in runs
    ]
    assert all(chosen <= count for chosen, count in counts)
    assert sum(chosen == count for chosen, count in counts) > len(counts) / 4


@pytest.mark.parametrize("there, n", [(500, 500), (4000, 1000)])
def test_no_more_images_were_drawn_than_there_are(ext: None, tmp_path: Path, there: int, n: int) -> None:
    import results_rows

    folder = tmp_path / "facts" / "transfer"
    folder.mkdir(parents=True)
    of = {"test": {"accuracy": 0.9, "n": there}, "drawn": 1000, "host": "x"}
    (folder / "x.json").write_text(json.dumps({"name": "r on B", "of": of, "fact": {"right": n // 2}}))
    (row,) = results_rows.rows(tmp_path / "facts")
    assert (row.measured["n"], float(row.measured["accuracy"])) == (str(n), 0.5)


def test_the_page_of_defences_says_how_sure_each_of_its_tests_is(defences: ModuleType) -> None:
    counts = set()
    for plan in (ROOT / "results/defences").glob("*.toml"):
        with plan.with_suffix(".csv").open(newline="", encoding="utf-8") as file:
            counts |= {line["n"] for line in csv.DictReader(file)}
    (sentence,) = (line for line in defences.page().splitlines() if line.startswith("A test accuracy of one run"))
    assert all(f"n = {n})" in sentence for n in counts)
    assert ".026 (n = 359)" in sentence and ".022 (n = 500)" in sentence
