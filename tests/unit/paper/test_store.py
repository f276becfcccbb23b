"""The store of measurements: each is made once, and what is damaged is said in one line."""

import hashlib
import json
import multiprocessing
from dataclasses import replace

import pytest

import reprogram
from helpers_runs import finished_result, tiny_plan
from reprogram.paper.experiments import base
from reprogram.paper.page import write_page
from reprogram.paper.plan import with_choices
from reprogram.paper.preset import read_preset
from reprogram.paper.run import plan as plan_of
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


def seeds_shown(store, experiment, runs, **changes):
    """Write the plan, finish its runs, and give host, axis and seed of each that the tables show."""
    store.write_plan(experiment, runs)
    for run in runs:
        (store.runs / run.name).mkdir(parents=True, exist_ok=True)
        (store.runs / run.name / "result.json").write_text(json.dumps({**finished_result(), **changes}))
    return [(row.host, *row.axis.values(), row.seed) for row in store.rows(experiment)]


def test_the_same_seed_is_one_run_also_with_other_baselines(tmp_path):
    store, experiment = ResultStore(tmp_path), base.find("table1")
    first = seeds_shown(store, "table1", experiment.runs(tiny_plan()))
    fewer = experiment.runs(tiny_plan(fixed={"baselines": ("linear-probe",)}))
    assert {run.name for run in fewer}.isdisjoint(run.name for run in experiment.runs(tiny_plan()))
    assert seeds_shown(store, "table1", fewer) == first
    assert {row.folder.name for row in store.rows("table1")} == {run.name for run in fewer}


def test_a_host_that_a_name_no_longer_means_leaves_all_places_of_a_table(tmp_path):
    store, experiment = ResultStore(tmp_path), base.find("amplitude")

    def runs(host, level, **choices):
        plan = with_choices(read_preset("cpu"), hosts=[f"T={host}", "other=linear:8"], tasks=["digits"], **choices)
        return experiment.runs(replace(plan, options={"amplitude": {"levels": [level]}}))

    shown = seeds_shown(store, "amplitude", runs("linear:32", 8))
    assert {where[0] for where in shown} == {"T", "other"} and {where[1] for where in shown} == {8}
    shown = seeds_shown(store, "amplitude", runs("linear:32", 16))
    assert {where[:2] for where in shown} == {("T", 8), ("T", 16), ("other", 8), ("other", 16)}
    shown = seeds_shown(store, "amplitude", runs("linear:40", 32))
    assert {where[:2] for where in shown} == {("T", 32), ("other", 8), ("other", 16), ("other", 32)}


def test_hosts_that_an_experiment_builds_for_each_task_keep_the_runs_of_the_other_tasks(tmp_path):
    store, experiment = ResultStore(tmp_path), base.find("linear-host")

    def runs(tasks, **choices):
        plan = with_choices(read_preset("cpu"), tasks=tasks, **choices)
        return experiment.runs(replace(plan, options={"linear-host": {"slopes": [0.5]}}))

    both = runs(["digits", "squares"])
    assert len({run.config.host for run in both}) == 4
    shown = seeds_shown(store, "linear-host", both)
    assert store.write_plan("linear-host", runs(["digits"])) == 0
    assert [(row.host, row.seed) for row in store.rows("linear-host")] == shown
    assert store.write_plan("linear-host", runs(["digits"], budget="160")) == 2
    assert {row.task for row in store.rows("linear-host")} == {"squares"}


def test_a_measurement_on_a_host_that_a_name_no_longer_means_isnt_shown(tmp_path):
    store, experiment = ResultStore(tmp_path), base.find("transfer")

    def runs(spec):
        return experiment.runs(with_choices(read_preset("cpu"), hosts=["A=linear:8", f"B={spec}"], tasks=["digits"]))

    def cells():
        tables = [block for block in experiment.show(store) if "on B" in block.head]
        return [row[table.head.index("on B")] for table in tables for row in table.rows]

    seeds_shown(store, "transfer", runs("linear:16"))
    ways = {"n": 10, "ways": {"as it is": 5}}
    run = next(run for run in runs("linear:16") if run.host == "A")
    store.measurement("transfer", run.name, {}, lambda: ways)
    store.measurement("transfer", f"{run.name} on B", {"host": "linear:16"}, lambda: {"right": 3})
    assert len(cells()) == 1 and cells()[0].startswith("0.3000")
    seeds_shown(store, "transfer", runs("linear:40"))
    assert cells() == []


def _join_the_plan(folder, host, barrier):
    runs = base.find("transfer").runs(with_choices(read_preset("cpu"), hosts=[f"{host}=linear:8"], tasks=["digits"]))
    barrier.wait()
    ResultStore(folder).write_plan("transfer", runs)


def test_two_calls_at_once_keep_both_plans(tmp_path):
    context = multiprocessing.get_context("fork")
    for turn in range(3):
        folder, barrier = tmp_path / str(turn), context.Barrier(3)
        calls = [context.Process(target=_join_the_plan, args=(folder, host, barrier)) for host in "ABC"]
        for call in calls:
            call.start()
        for call in calls:
            call.join()
            assert call.exitcode == 0
        plan = json.loads((folder / "plans" / "transfer.json").read_text())
        assert sorted(row["host"] for row in plan) == ["A", "B", "C"]
        assert [path.name for path in (folder / "plans").iterdir()] == ["transfer.json"]


@pytest.mark.parametrize(
    "changes",
    [
        {"test": {"accuracy": float("nan"), "n": 10}},
        {"test": {"accuracy": 2, "n": 10}},
        {"test": {"accuracy": 0.5, "n": 0}},
        {"validation": None},
        {"versions": 3},
        {"machine": {}},
        {"images_seen": "many"},
        {"learned_numbers": None},
    ],
)
def test_a_result_whose_numbers_cant_be_shown_is_named(tmp_path, one_line, changes):
    store = ResultStore(tmp_path)
    runs = base.find("transfer").runs(tiny_plan())
    seeds_shown(store, "transfer", runs, **changes)
    with pytest.raises(reprogram.DataError) as error:
        write_page(store)
    one_line(error, f"remove {store.runs / runs[0].name} and run")


def test_what_an_experiment_cant_show_is_one_line(tmp_path, one_line):
    store, experiment = ResultStore(tmp_path), base.find("confidence")
    (run,) = experiment.runs(tiny_plan())
    seeds_shown(store, "confidence", [run])
    store.measurement("confidence", run.name, {}, lambda: {})
    with pytest.raises(reprogram.DataError) as error:
        write_page(store)
    one_line(error, "facts/confidence")


HOSTS, TASKS = "[hosts]\nA = 'linear'\n", "[tasks.digits]\n"


@pytest.mark.parametrize(
    "experiment,text,says",
    [
        ("programs", HOSTS, "no tasks"),
        ("transfer", HOSTS, "no tasks"),
        ("linear-host", HOSTS, "no tasks"),
        ("programs", TASKS, "no hosts"),
        ("transfer", TASKS, "no hosts"),
        ("programs", HOSTS + TASKS + "[experiments.programs]\nseeds = []\n", "no seeds"),
        ("transfer", HOSTS + TASKS + "[experiments.transfer]\ntasks = []\n", "no tasks"),
        ("size", HOSTS + TASKS + "[experiments.size]\npixels = []\n", "a list in the preset's [experiments.size]"),
        ("size", HOSTS + TASKS + "[experiments.size]\npixels = [8, 8]\n", "pixels=[8, 8] names one twice"),
        ("transfer", "[fit]\nbaselines = 3\n" + HOSTS + TASKS, "baselines"),
    ],
)
def test_a_presets_mistake_is_one_line(tmp_path, one_line, experiment, text, says):
    (tmp_path / "p.toml").write_text(text)
    with pytest.raises(reprogram.ConfigError) as error:
        plan_of([experiment], with_choices(read_preset(str(tmp_path / "p.toml"))))
    one_line(error, says)


@pytest.mark.parametrize("choice", [{"budget": "100.9"}, {"budget": "0.5"}, {"data": ["digits="]}])
def test_what_would_be_taken_for_something_else_is_refused(choice, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        tiny_plan(**choice)
    one_line(error, "--" + next(iter(choice)))


def test_what_is_left_out_whole_is_said_instead_of_run(tmp_path, one_line):
    plan = replace(tiny_plan(), options={"size": {"pixels": [100_000]}})
    with pytest.raises(reprogram.ConfigError) as error:
        plan_of(["size"], plan)
    one_line(error, "nothing can be run", "100000")
