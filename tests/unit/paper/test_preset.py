"""Presets: what they name, and what is refused before anything runs."""

import json
from pathlib import Path

import pytest
import timm

import reprogram
from helpers_runs import tiny_plan
from reprogram.paper import published
from reprogram.paper.experiments import base
from reprogram.paper.plan import short_name, with_choices
from reprogram.paper.preset import preset_names, read_preset
from reprogram.paper.run import begin, left_out, plan
from reprogram.paper.store import ResultStore
from reprogram.paper.validate import check
from reprogram.registry import configure


@pytest.mark.parametrize("name", preset_names())
def test_presets_name_real_parts(name):
    experiment_plan, pretrained = read_preset(name), timm.list_pretrained()
    for spec in experiment_plan.hosts.values():
        variant, config = configure("hosts", spec)
        if variant.name() == "timm":
            assert config.model in pretrained, spec
    for experiment in base.names():
        planned = base.find(experiment).runs(experiment_plan)
        distinct = {json.dumps([run.config.identity(), run.config.baselines]) for run in planned}
        assert planned and len({run.name for run in planned}) == len(distinct)
        for run in planned:
            for family, spec in (
                ("canvases", run.config.canvas),
                ("programs", run.config.program),
                ("hosts", run.config.host),
            ):
                configure(family, spec)


def test_the_paper_preset_has_the_papers_hosts():
    assert set(read_preset("paper-2018").hosts) == set(published.TABLE1)


def test_the_same_run_has_the_same_name_in_every_experiment():
    experiment_plan = tiny_plan(seeds=[0, 1])
    named = {
        e: {run.name for run in base.find(e).runs(experiment_plan)}
        for e in ("table1", "transfer", "confidence", "baselines")
    }
    assert len(named["transfer"]) == 2
    assert named["transfer"] == named["confidence"] == named["baselines"] < named["table1"]
    other = {run.name for run in base.find("transfer").runs(tiny_plan(seeds=[0, 1], budget="123"))}
    assert not other & named["transfer"]


def test_task_images_are_as_large_in_every_experiment_as_in_table_1(tmp_path):
    """So the run with the pixels as they are is that of table 1, and limits meet the recipe's window."""
    text = "[fit]\nbaselines = ['map-alone', 'linear-probe']\n[hosts]\na = 'linear:64'\n[tasks.digits]\ncanvas = {}\n"
    (tmp_path / "p.toml").write_text(text.format("'centre(size=24)'"))
    (tmp_path / "own.toml").write_text(text.format("'resize'"))
    preset, own = (read_preset(str(tmp_path / name)) for name in ("p.toml", "own.toml"))
    named = {name: base.find(name).runs(preset) for name in ("table1", "shuffled", "amplitude", "concealed", "size")}
    usual, other = named["shuffled"]
    assert usual.name == named["table1"][0].name
    assert (usual.config.canvas, other.config.canvas) == ("centre(size=24)", "shuffled(size=24)")
    built = {run.config.canvas: configure("canvases", run.config.canvas)[1] for runs in named.values() for run in runs}
    assert {config.size for config in built.values()} == {24}
    assert {run.config.canvas for run in named["concealed"]} == {"shuffled(size=24)"}
    faint = {run.config.canvas for run in named["amplitude"]} - {"centre(size=24)"}
    assert len(faint) > 3 and all("contrast" in canvas and "round_8bit=True" in canvas for canvas in faint)
    # A task that a preset shows in another way stands in the centre, at its own size, as in the paper.
    assert [run.config.canvas for run in base.find("shuffled").runs(own)] == ["centre", "shuffled"]


@pytest.mark.parametrize(
    "budget,field,value",
    [("20000", "images", 20000), ("90s", "seconds", 90), ("2m", "seconds", 120), ("1.5h", "seconds", 5400)],
)
def test_a_budget_is_images_or_time(budget, field, value):
    (run,) = base.find("transfer").runs(tiny_plan(budget=budget))
    limits = {name: getattr(run.config, name) for name in ("epochs", "images", "seconds")}
    assert limits.pop(field) == value and set(limits.values()) == {None}


def test_the_command_lines_hosts_and_tasks_are_every_experiments():
    preset = read_preset("cpu")
    assert {run.host for run in base.find("size").runs(preset)} == {"efficientnet-lite0"}
    chosen = with_choices(preset, hosts=["x=linear:32"], tasks=["digits"])
    assert {(run.host, run.task) for run in base.find("size").runs(chosen)} == {("x", "digits")}


def test_an_experiments_recipe_counts_more_than_a_tasks_and_the_budget_most(tmp_path):
    text = "[hosts]\na = 'linear:32'\n[tasks.digits]\nimages = 10\n[experiments.transfer.fit]\nimages = 20\n"
    (tmp_path / "p.toml").write_text(text)
    preset = read_preset(str(tmp_path / "p.toml"))
    images = [base.find(e).runs(preset)[0].config.images for e in ("baselines", "transfer")]
    assert images == [10, 20]
    assert base.find("transfer").runs(with_choices(preset, budget="30"))[0].config.images == 30


def test_a_preset_that_chooses_unknown_hosts_is_refused(tmp_path, one_line):
    (tmp_path / "p.toml").write_text(
        "[hosts]\nabc = 'linear:32'\n[tasks.digits]\n[experiments.size]\nhosts = ['abd']\n"
    )
    with pytest.raises(reprogram.ConfigError) as error:
        base.find("size").runs(read_preset(str(tmp_path / "p.toml")))
    one_line(error, "did you mean 'abc'")


@pytest.mark.parametrize("choice", [{"budget": "5 days"}, {"budget": "0"}, {"data": ["mnist=x"]}, {"data": ["x"]}])
def test_choices_that_make_no_sense_are_refused(choice, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        tiny_plan(**choice)
    one_line(error)


@pytest.mark.parametrize("text", ["[fit]\nbatchsize = 3", "[hots]\na = 'b'", "[tasks.x]\nout = 'y'", "fit = 3", "x ="])
def test_bad_presets_are_refused(tmp_path, text, one_line):
    (tmp_path / "p.toml").write_text(text)
    with pytest.raises(reprogram.ConfigError) as error:
        read_preset(str(tmp_path / "p.toml"))
    one_line(error, "p.toml")


OPTIONS = {
    "[experiments.tabel1]": "did you mean 'table1'",
    "[experiments.table1]\nstates = ['trained']": "'states'; did you mean",
    "[experiments.size]\npixel = [16]": "did you mean 'pixels'",
    "[experiments.size]\npixels = 16": "[experiments.size] pixels: ",
    "[experiments.size]\npixels = [16, 'x']": "[experiments.size] pixels item 1: ",
    "[experiments.size]\nplaces = ['outermots']": "'outermost'",
    "[experiments.size]\nlevels = [16]": "no option 'levels'",
    "[experiments.amplitude]\nfit = 3": "[experiments.amplitude] fit: ",
    "[experiments.amplitude]\nfit.image = 3": "did you mean 'images'",
    "[experiments.amplitude]\ntasks = ['digit']": "did you mean 'digits'",
    "[experiments.table1]\nuntrained = ['abd']": "did you mean 'abc'",
    "[experiments.table1]\nhosts = ['abc']\nuntrained = ['other']": "names 'other'",
    "[experiments.table1]\nseeds = ['x']": "[experiments.table1] seeds item 0: ",
    "[tasks]\nmnist = 3": "[tasks].mnist: ",
}


@pytest.mark.parametrize("text", OPTIONS)
def test_what_no_experiment_would_read_is_refused(tmp_path, text, one_line):
    hosts = "[hosts]\nabc = 'linear:32'\nother = 'linear:40'\n"
    tasks = "" if text.startswith("[tasks]") else "[tasks.digits]\n"
    (tmp_path / "p.toml").write_text(hosts + tasks + text)
    with pytest.raises(reprogram.ConfigError) as error:
        read_preset(str(tmp_path / "p.toml"))
    one_line(error, "p.toml", OPTIONS[text])


@pytest.mark.parametrize("seeds", [[0, 0], [1, 2, 1]])
def test_a_seed_given_twice_is_refused(seeds, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        tiny_plan(seeds=seeds)
    one_line(error, f"seeds: {seeds[0]} is given 2 times")


def test_unknown_presets_and_experiments_name_the_nearest(one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        read_preset("paper-2019")
    one_line(error, "paper-2018")
    with pytest.raises(reprogram.ConfigError) as error:
        base.find("tabel1")
    one_line(error, "table1")


def test_names_of_hosts_are_short():
    assert short_name("timm:resnet50.a1_in1k?size=64") == "resnet50.a1_in1k"
    assert short_name("checkpoint:a/b/net.safetensors?architecture=timm:resnet18") == "net"
    assert short_name("efficientnet-lite0") == "efficientnet-lite0"
    assert short_name("linear(size=32)") == "linear"
    assert short_name("folder:some/where/letters?size=32") == "letters"
    assert short_name("arrays:a/cifar.npz") == "cifar"


def test_an_experiment_with_nothing_to_run_is_refused(tmp_path, one_line):
    preset = tmp_path / "mine.toml"
    preset.write_text('[hosts]\na = "linear:32"\n[tasks.digits]\n[experiments.amplitude]\nlevels = []\n')
    with pytest.raises(reprogram.ConfigError) as error:
        plan(["amplitude"], read_preset(str(preset)))
    one_line(error, "list in the preset's [experiments.amplitude] is empty")


WRONG = {
    "host": ({"hosts": ["efficientnet-lite1"]}, "did you mean 'efficientnet-lite0'"),
    "model": ({"hosts": ["timm:resnet5O"]}, "did you mean 'resnet50"),
    "host of a twin": ({"hosts": ["untrained:timm:resnet5O"]}, "did you mean 'resnet50"),
    "option": ({"hosts": ["linear(sise=3)"]}, "did you mean 'size'"),
    "checkpoint": (
        {"hosts": ["checkpoint:no.safetensors?architecture=timm:test_resnet"]},
        "no.safetensors: no such file",
    ),
    "task": ({"tasks": ["squars"]}, "did you mean 'squares'"),
    "folder": ({"tasks": ["folder:nowhere"]}, "nowhere: no such file or folder"),
    "data": ({"tasks": ["mnist"], "data": ["mnist=nowhere"]}, "nowhere: no such file or folder"),
    "data for none": ({"data": ["digits=nowhere"]}, "takes no data"),
    "photo": ({"photo": "nothing.png"}, "nothing.png: no such file"),
    "photographs": ({"photographs": Path("nowhere")}, "nowhere: no such folder"),
    "empty photographs": ({"photographs": Path("empty")}, "no images"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_can_be_found_before_the_runs_is(tmp_path, monkeypatch, name, one_line):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    choices, text = WRONG[name]
    with pytest.raises(reprogram.ReprogramError) as error:
        experiment_plan = with_choices(read_preset("cpu"), **{"hosts": ["linear:32"], "tasks": ["digits"], **choices})
        check(plan(["table1"], experiment_plan)["table1"], experiment_plan)
    one_line(error, text)


def test_weights_that_would_be_fetched_are_not_looked_for():
    experiment_plan = with_choices(read_preset("paper-2018"), data=[])
    check([run for runs in plan(base.names(), experiment_plan).values() for run in runs], experiment_plan)


def test_points_that_a_small_frame_does_not_have_are_left_out_and_named():
    experiment_plan = tiny_plan()  # 32 x 32 less 8 x 8 pixels of the digit.
    sizes = {run.axis["pixels"] for run in base.find("size").runs(experiment_plan)}
    assert sizes == {16, 64, 256}
    assert left_out(["size", "table1"], experiment_plan) == [
        "table1: linear:32: has no BatchNorm, left out: untrained, BatchNorm conditioned",
        "size: digits on 32: the frame has 960 pixels, left out: 1024, 4096, 16384",
    ]


def test_two_hosts_of_one_name_are_refused(one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        with_choices(read_preset("cpu"), hosts=["a=linear:32", "a=linear:40"])
    one_line(error, "both called 'a'")


def test_tasks_whose_runs_would_lie_in_one_folder_are_refused(tmp_path, one_line):
    """The files of a task aren't part of a run's name, and spaces become hyphens or the like."""
    tasks = ["my data=digits", "my-data=digits"]
    named = plan(["confidence"], with_choices(read_preset("cpu"), hosts=["a=linear:32"], tasks=tasks))
    with pytest.raises(reprogram.ConfigError) as error:
        begin(named, ResultStore(tmp_path), print)
    one_line(error, "'my data' and 'my-data'", "another name")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name,says", [("gone.toml", "gone.toml: can't be read (No such file"), ("cpi", "did you mean 'cpu'")]
)
def test_a_preset_that_isnt_there_is_named(tmp_path, monkeypatch, name, says, one_line):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(reprogram.ConfigError) as error:
        read_preset(name)
    one_line(error, says)
