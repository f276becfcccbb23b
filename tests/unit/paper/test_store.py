"""The store of measurements: each is made once, and what is damaged is said in one line."""

import hashlib
import json

import pytest

import reprogram
from helpers_runs import finished_result, tiny_plan
from reprogram.paper.experiments import base
from reprogram.paper.page import write_page
from reprogram.paper.plan import with_choices
from reprogram.paper.preset import read_preset
from reprogram.paper.store import ResultStore


def test_a_fact_is_measured_once_and_again_when_what_it_is_of_changes(tmp_path):
    store, calls = ResultStore(tmp_path), []

    def measure():
        calls.append(1)
        return {"value": len(calls)}

    assert [store.measurement("x", "a b", {"of": 1}, measure) for _ in range(3)] == [{"value": 1}] * 3
    assert store.measurement("x", "a b", {"of": 2}, measure) == {"value": 2}

    def fails():
        raise reprogram.DataError("no program")

    assert store.measurement("x", "a b", {"of": 3}, fails) is None and store.missing == ["x: a b: no program"]
    assert store.facts("x") == {"a b": {"value": 2}}
    assert ResultStore(tmp_path).facts("x") == {"a b": {"value": 2}}


def test_facts_of_long_names_that_end_alike_stay_apart(tmp_path):
    store = ResultStore(tmp_path)
    names = [f"{task}, fully connected, 20000 images, seed 0, and so on" for task in ("mnist", "fashion-mnist")]
    assert [store.measurement("x", name, 1, lambda name=name: name) for name in names] == names
    assert store.facts("x") == {name: name for name in names}


LONG = "squares-a host with a long name that says all of it-frame-s0-0123abcd on another host of that kind"


def test_a_file_is_called_by_the_whole_name(tmp_path):
    store = ResultStore(tmp_path)
    for name in (LONG, "x" * 400 + "a", "x" * 400 + "b"):
        assert store.measurement("x", name, 1, lambda name=name: name[-1]) == name[-1]
    names = sorted(path.name for path in (tmp_path / "facts" / "x").iterdir())
    digest = hashlib.sha256(LONG.encode()).hexdigest()[:8]
    whole = "squares_a_host_with_a_long_name_that_says_all_of_it_frame_s0_0123abcd_on_another_host_of_that_kind"
    assert names[0] == f"{whole}-{digest}.json" and len(names) == 3
    assert store.facts("x") == {LONG: "d", "x" * 400 + "a": "a", "x" * 400 + "b": "b"}


def test_a_measurement_by_its_former_short_name_is_read_until_it_is_made_anew(tmp_path):
    """The name as version 0.1 made it: the last 40 characters, and the digest of all."""
    digest = hashlib.sha256(LONG.encode()).hexdigest()[:8]
    former = tmp_path / "facts" / "x" / f"s0_0123abcd_on_another_host_of_that_kind-{digest}.json"
    former.parent.mkdir(parents=True)
    former.write_text(json.dumps({"name": LONG, "of": 1, "fact": "old"}))
    store = ResultStore(tmp_path)
    assert store.facts("x") == {LONG: "old"}
    assert store.measurement("x", LONG, 1, lambda: "new") == "old" and former.exists()
    assert store.measurement("x", LONG, 2, lambda: "new") == "new" and not former.exists()
    assert store.facts("x") == {LONG: "new"}
    former.write_text(json.dumps({"name": LONG, "of": 1, "fact": "old"}))  # As an earlier version leaves it.
    assert store.facts("x") == {LONG: "new"} and store.measurement("x", LONG, 2, lambda: "newer") == "new"


@pytest.mark.parametrize("text", ["[{", "[]", "{}", "[3]", '[{"run": "x"}]'])
def test_a_damaged_store_is_one_line(tmp_path, text, one_line):
    store = ResultStore(tmp_path)
    (tmp_path / "plans").mkdir()
    (tmp_path / "plans" / "size.json").write_text(text)
    with pytest.raises(reprogram.DataError) as error:
        store.rows("size")
    one_line(error, "size.json")


@pytest.mark.parametrize("damaged", ["result", "fact", "plan"])
def test_a_damaged_file_is_named_with_what_to_remove(tmp_path, one_line, damaged):
    store = ResultStore(tmp_path)
    (run,) = base.find("transfer").runs(tiny_plan())
    store.write_plan("transfer", [run])
    folder = store.runs / run.name
    folder.mkdir(parents=True)
    (folder / "result.json").write_text("{}" if damaged == "result" else json.dumps(finished_result()))
    (tmp_path / "facts" / "transfer").mkdir(parents=True)
    (tmp_path / "facts" / "transfer" / "x.json").write_text("{}")
    if damaged == "plan":
        (tmp_path / "plans" / "transfer.json").write_text("[3]")
    with pytest.raises(reprogram.DataError) as error:
        write_page(store)
    one_line(error, {"result": f"remove {folder} ", "fact": "x.json and run", "plan": "transfer.json"}[damaged])


def test_names_that_come_to_mean_something_else_leave_the_tables(tmp_path):
    """Other hosts, tasks or budgets under the same names can't be pooled with the new ones; other seeds can."""
    store, experiment = ResultStore(tmp_path), base.find("transfer")

    def planned(**choices):
        return experiment.runs(with_choices(read_preset("cpu"), **choices))

    def shown():
        for row in json.loads((tmp_path / "plans" / "transfer.json").read_text()):
            folder = store.runs / row["run"]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "result.json").write_text(json.dumps(finished_result()))
        return [(row.host, row.seed) for row in store.rows("transfer")]

    one = {"hosts": ["a=linear:32"], "tasks": ["t=digits"]}
    assert store.write_plan("transfer", planned(**one, seeds=[0, 1])) == 0
    assert store.write_plan("transfer", planned(**one, seeds=[2])) == 0
    assert shown() == [("a", 0), ("a", 1), ("a", 2)]
    assert store.write_plan("transfer", planned(hosts=["b=linear:32"], tasks=["t=digits"])) == 0
    assert store.write_plan("transfer", planned(**one, budget="160")) == 3
    assert shown() == [("b", 0), ("a", 0)]
    assert store.write_plan("transfer", planned(hosts=["a=linear:40"], tasks=["t=digits"], budget="160")) == 1
    assert store.write_plan("transfer", planned(hosts=["a=linear:40"], tasks=["t=squares"], budget="160")) == 1
    assert shown() == [("b", 0), ("a", 0)]
