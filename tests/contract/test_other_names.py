"""Names of version 0.1 and of the papers come to the same as those of today; both at once is one clear error."""

import json

import pytest
import torch
from safetensors import safe_open

import reprogram
from helpers import random_task, tiny_model
from helpers_runs import cli
from reprogram.registry import configure, format_spec, names, stored_spelling
from reprogram.runs.config import RunConfig, from_values, read_toml, to_toml
from reprogram.training.options import FitOptions, resume_key

PAPER_NAMES = {"flm": "frequency", "ilm": "iterative", "blm": "bayesian", "lda": "discriminant"}
LEARNERS = {
    "gradient": "adam",
    "gradient(learning_rate=0.02, average=0.5)": "adam(learning_rate=0.02, ema=0.5)",
    "gradient(average=0.9)": "adam(ema=0.9)",
    "momentum": "sgd",
    "momentum(momentum=0.5, average=0.25)": "sgd(momentum=0.5, ema=0.25)",
    "normalized(learning_rate=0.2)": "normalized-sgd(learning_rate=0.2)",
}
OPTIONS = {"parts": ("num_microbatches", 3), "start": ("warm_start", "other.safetensors")}


def learned(**options):
    """The state that a short run comes to."""
    task = random_task()
    model = tiny_model(task, label_map=options.pop("label_map", "first"))
    reprogram.fit(model, task, epochs=2, batch_size=8, validations=2, **options)
    return model.learned_state()


def assert_equal_states(a, b):
    assert a.keys() == b.keys() and all(torch.equal(value, b[name]) for name, value in a.items())


@pytest.mark.parametrize("paper,ours", PAPER_NAMES.items())
def test_the_papers_names_of_maps_are_ours(paper, ours, tmp_path):
    assert configure("label-maps", paper) == configure("label-maps", ours)
    assert paper not in names("label-maps")
    task = random_task()
    model = tiny_model(task, label_map=paper)
    assert format_spec(model.label_map) == ours
    assert_equal_states(learned(label_map=paper), learned(label_map=ours))
    path = model.save(tmp_path / "p.safetensors")
    assert path.read_bytes() == tiny_model(task, label_map=ours).save(tmp_path / "q.safetensors").read_bytes()
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["reprogram"])
    assert header["components"]["label_map"]["name"] == ours


def test_what_decides_a_run_holds_our_name_of_the_map():
    assert RunConfig(label_map="flm(images=7)").identity() == RunConfig(label_map="frequency(images=7)").identity()


def test_the_papers_names_take_options():
    assert configure("label-maps", "flm(images=7)") == configure("label-maps", "frequency(images=7)")
    assert configure("label-maps", "lda?shrinkage=0.5") == configure("label-maps", "discriminant?shrinkage=0.5")


def test_a_run_stores_the_map_by_our_name(tmp_path):
    task = "squares(train=32, validation=16, test=16)"
    flags = ["--task", task, "--host", "linear:48", "--canvas", "centre", "--images", "32", "--baselines", "none"]
    assert cli("fit", *flags, "--label-map", "ilm", "--out", tmp_path / "run", "--quiet")[0] == 0
    assert json.loads((tmp_path / "run" / "result.json").read_text())["label_map"] == "iterative"


@pytest.mark.parametrize("former,today", LEARNERS.items())
def test_former_learners_are_those_of_today(former, today):
    assert configure("learners", former) == configure("learners", today)
    assert_equal_states(learned(learner=former), learned(learner=today))


@pytest.mark.parametrize("former,today", LEARNERS.items())
def test_what_decides_a_run_is_spelled_alike_by_both(former, today):
    assert stored_spelling("learners", former) == stored_spelling("learners", today) == former
    assert RunConfig(learner=former).identity() == RunConfig(learner=today).identity()
    model = tiny_model()
    keys = [resume_key(model, FitOptions(learner=learner)) for learner in (former, today)]
    assert keys[0] == keys[1]


def test_options_of_a_run_by_former_names(tmp_path):
    former = from_values({old: value for old, (_, value) in OPTIONS.items()})
    today = from_values(dict(OPTIONS.values()))
    assert former == today and (today.num_microbatches, today.warm_start) == (3, "other.safetensors")
    assert former.identity() == today.identity() and former.identity()["parts"] == 3
    assert former.identity()["start"] == "other.safetensors"
    assert to_toml(former) == to_toml(today)
    (tmp_path / "old.toml").write_text('[fit]\nparts = 3\nstart = "other.safetensors"\n')
    assert from_values(read_toml(tmp_path / "old.toml")) == today
    assert "parts" not in to_toml(today) and "num_microbatches = 3" in to_toml(today)


def test_the_keyword_of_fit_by_its_former_name():
    assert_equal_states(learned(parts=3), learned(num_microbatches=3))


def test_flags_by_former_names(tmp_path):
    """Each is refused by the name of today, and before anything is learned; both at once are one option twice."""
    for flag in ("--parts", "--num-microbatches"):
        code, out, err = cli("fit", flag, "0")
        assert (code, out) == (3, "") and err.count("\n") == 1 and "num_microbatches=0" in err
    for flag in ("--start", "--warm-start"):
        run = ["--host", "linear:16", "--task", "digits", "--canvas", "centre", "--out", tmp_path / flag]
        code, out, err = cli("fit", *run, flag, tmp_path / "nothing.safetensors", "--quiet")
        assert (code, out) == (4, "") and err.count("\n") == 1 and "nothing.safetensors" in err
    code, out, err = cli("fit", "--parts", "2", "--num-microbatches", "2")
    assert (code, out) == (2, "") and err.count("\n") == 1 and "are two names of one option" in err


def test_given_by_both_names_is_one_clear_error(one_line, tmp_path):
    task = random_task()
    with pytest.raises(reprogram.ConfigError) as error:
        reprogram.fit(tiny_model(task), task, epochs=1, parts=2, num_microbatches=2)
    one_line(error, "num_microbatches is given twice")
    for old, (new, value) in OPTIONS.items():
        with pytest.raises(reprogram.ConfigError) as error:
            from_values({old: value, new: value})
        one_line(error, f"{new} is given twice")
    with pytest.raises(reprogram.ConfigError) as error:
        configure("learners", "adam(ema=0.9, average=0.5)")
    one_line(error, "adam: ema is given twice", "average")
    (tmp_path / "both.toml").write_text("[fit]\nparts = 3\nnum_microbatches = 3\n")
    code, out, err = cli("fit", "--config", tmp_path / "both.toml")
    assert (code, out) == (3, "") and err.count("reprogram: ") == 1 and "num_microbatches is given twice" in err
