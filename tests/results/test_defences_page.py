"""The table of defences: numbers of a small made-up table, by hand."""

import csv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def page(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs/_ext"))
    import defences

    return defences


def line(defence, attacker, seed, accuracy, curve="", images=1000, alone=0.2):
    return {
        **{"host": "h", "task": "t", "rung": "weights", "defence": defence, "attacker": attacker, "seed": str(seed)},
        **{"accuracy": str(accuracy), "alone": str(alone), "images": str(images), "curve": curve},
    }


def test_gain_left_and_images_are_those_of_the_best_attacker(page):
    """The bare host's gain is .4 on both seeds: half of it is .4, nine tenths .56."""
    runs = [
        line("", "adam", 0, 0.6, "100:0.3 200:0.4 400:0.56 1000:0.6"),
        line("", "adam", 1, 0.6, "100:0.4 1000:0.6"),
        line("blur", "static", 0, 0.2),
        line("blur", "static", 1, 0.3),
        line("blur", "adam", 0, 0.3, "1000:0.3"),
        line("blur", "adam", 1, 0.3, "1000:0.3"),
        line("blur", "eot", 0, 0.5, "300:0.4 3000:0.5", images=3000),
        line("blur", "eot", 1, 0.4, "300:0.4 3000:0.4", images=3000, alone=0.0),
    ]
    bare, blur = page.rows(runs)
    assert bare == ["none", "–", "0.600 (0.60 to 0.60)", "100 %", "`adam`", "1", "1", "2"]
    # (.5 - .2 + .4 - .1) / 2 of .4, as guessing gives .1 at least; 300 / 200 and 300 / 100 images. None comes to .56
    # within 3,000 images, which are 7.5 times 400 and 3 times 1,000.
    assert blur[:5] == ["`blur`", "0.250 (0.20 to 0.30)", "0.450 (0.40 to 0.50)", "75 %", "`eot`"]
    assert blur[5:] == ["3.0", "more than 7.5", "2"]


def test_who_only_asks_the_bare_host_is_as_good_as_behind_a_defence_that_shows_less(page):
    """He can leave out himself what the defence leaves out; so the bare host's gain is .2, not .1."""
    scores = {"rung": "scores"}
    runs = [
        line("", "snes", 0, 0.3) | scores,
        line("label-only", "counts", 0, 0.4) | scores,
        line("temperature(t=0.2)+rounding(decimals=1)", "rank", 0, 0.35) | scores,
        line("jpeg", "snes", 0, 0.5) | scores,
        line("rounding", "static", 0, 0.9) | scores,
    ]
    bare, *others = page.rows(runs)
    assert (bare[0], bare[2], bare[3]) == ("none", "0.400", "100 %")
    assert [row[3] for row in others] == ["100 %", "75 %", "150 %"]
    weights = [{**run, "rung": "weights"} for run in runs]
    assert page.rows(weights)[0][2] == "0.300"


def test_every_stored_line_can_be_read_and_has_its_command(page):
    tables = [path for path in (ROOT / "results/defences").glob("*.csv") if not path.name.endswith(".hosts.csv")]
    for path in tables:
        with path.open(newline="", encoding="utf-8") as file:
            lines = list(csv.DictReader(file))
        assert lines and path.with_suffix(".toml").exists()
        keys = [tuple(row[key] for key in ("rung", "defence", "attacker", "seed")) for row in lines]
        assert len(set(keys)) == len(keys)
        for row in lines:
            assert 0 <= float(row["accuracy"]) <= 1 and row["command"].startswith("reprogram ")
            if row["defence"] and ":" not in row["defence"]:  # Others are hosts that stand in another's place.
                assert f"by={row['defence']}" in row["command"]
    assert "nan" not in page.page()


def test_costs_are_left_out_where_validations_cant_tell(page):
    weak = [line("", "adam", 0, 0.3, "100:0.3"), line("blur", "adam", 0, 0.3, "100:0.3")]
    assert page.rows(weak)[1][5:7] == ["–", "–"]
    lucky = [line("", "adam", 0, 0.6, "100:0.4"), line("blur", "adam", 0, 0.6, "150:0.6")]
    assert page.rows(lucky)[1][5:7] == ["1.5", "–"]
