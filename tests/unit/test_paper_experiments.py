"""The paper's experiments: plans, measurements and pages, each against an independent oracle."""

import json
import math
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

import reprogram
from helpers import random_task
from reprogram.paper import published
from reprogram.paper.book import Book
from reprogram.paper.check import check
from reprogram.paper.experiments import base, confidence, programs, transfer
from reprogram.paper.page import ORDER, markdown, write_page
from reprogram.paper.preset import preset_names, read_preset
from reprogram.paper.run import left_out, plan
from reprogram.paper.setup import short_name, with_choices
from reprogram.paper.shifts import best_shift
from reprogram.paper.similarity import psnr, ssim
from reprogram.registry import configure


def pictures(seed=0, shape=(3, 3, 40, 48)):
    generator = torch.Generator().manual_seed(seed)
    a = torch.rand(shape, generator=generator)
    return a, (a + 0.1 * torch.randn(shape, generator=generator)).clamp(0, 1)


def test_ssim_and_psnr_agree_with_torchmetrics():
    a, b = (x.double() for x in pictures())
    for i in range(len(a)):
        one, other = a[i : i + 1], b[i : i + 1]
        theirs = structural_similarity_index_measure(one, other, data_range=1.0, sigma=1.5)
        assert ssim(one, other).item() == pytest.approx(float(theirs), abs=5e-3)  # Theirs pads, and cuts the rim off.
        assert psnr(one, other).item() == pytest.approx(float(peak_signal_noise_ratio(one, other, data_range=1.0)))
    assert ssim(a, a).tolist() == pytest.approx([1, 1, 1]) and math.isinf(psnr(a, a)[0])


def test_ssim_of_flat_pictures_has_a_closed_form():
    a, b = torch.full((1, 1, 16, 16), 0.2), torch.full((1, 1, 16, 16), 0.6)
    expected = (2 * 0.2 * 0.6 + 0.01**2) / (0.2**2 + 0.6**2 + 0.01**2)
    assert ssim(a.double(), b.double()).item() == pytest.approx(expected, rel=1e-6)


def test_the_best_shift_is_found_where_there_is_one_number_to_find():
    scores = torch.tensor([[0.0, 1.0], [0.0, 3.0], [0.0, 2.0], [0.0, 5.0], [0.0, 0.5]]).double()
    labels = torch.tensor([0, 1, 0, 1, 0])  # Class 1 is right from 3 on: a shift by a number in (-3, -2).
    shift = best_shift(scores, labels)
    assert ((scores + shift).argmax(dim=1) == labels).all()
    assert -3 < float(shift[1] - shift[0]) < -2


def test_the_best_shift_beats_random_ones():
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(0, 4, (600,), generator=generator)
    scores = torch.randn(600, 4, generator=generator).double() + torch.tensor([0.0, 2.0, -1.0, 4.0])
    scores[torch.arange(600), labels] += 1

    def right(shift):
        return int(((scores + shift).argmax(dim=1) == labels).sum())

    found = right(best_shift(scores, labels))
    others = [right(4 * torch.randn(4, generator=generator)) for _ in range(2000)]
    assert found >= max(others) > right(torch.zeros(4))


def test_a_waves_power_lies_in_its_ring():
    _, x = np.mgrid[0:64, 0:64]
    for cycles in (4, 12, 20):
        wave = torch.from_numpy(np.sin(2 * np.pi * cycles * x / 64))[None]
        found = programs.spectrum(wave)
        assert int(np.argmax(found)) == int(cycles / 64 / 0.5 * programs.BINS)
        turned = programs.spectrum(wave.transpose(1, 2))
        assert turned == pytest.approx(found)


def test_the_area_under_the_curve_counts_pairs():
    positive, negative = [0.9, 0.5, 0.7], [0.1, 0.5]
    pairs = [(p > n) + 0.5 * (p == n) for p in positive for n in negative]
    assert confidence._area(positive, negative) == pytest.approx(sum(pairs) / len(pairs))


def test_statistics_of_scores_are_those_of_numpy():
    scores = torch.randn(5, 7, generator=torch.Generator().manual_seed(2))
    found = confidence._statistics([scores[:2], scores[2:]])
    raw = scores.double().numpy()
    p = np.exp(raw) / np.exp(raw).sum(axis=1, keepdims=True)
    assert found["entropy"] == pytest.approx((-(p * np.log(p)).sum(axis=1)).tolist(), abs=1e-5)
    assert found["maximum"] == pytest.approx(p.max(axis=1).tolist(), abs=1e-5)
    assert found["energy"] == pytest.approx((-np.log(np.exp(raw).sum(axis=1))).tolist(), abs=1e-5)


def test_the_ways_of_pictures_change_what_they_say():
    a, _ = pictures(shape=(2, 3, 24, 32))
    np.testing.assert_allclose(transfer._round(a).numpy(), np.round(a.numpy() * 255) / 255, atol=1e-7)
    errors = [float((transfer._jpeg(a, q) - a).abs().mean()) for q in transfer.QUALITIES]
    assert 0 < errors[0] < errors[1] < errors[2] and transfer._jpeg(a, 95).shape == a.shape
    flat = torch.full((1, 3, 24, 32), 0.5)
    torch.testing.assert_close(transfer._resized(flat), flat)
    assert transfer._resized(a).shape == a.shape and not torch.equal(transfer._resized(a), a)


@pytest.mark.parametrize("name", preset_names())
def test_presets_name_real_parts(name):
    setup = read_preset(name)
    for spec in setup.hosts.values():
        variant, config = configure("hosts", spec)
        if variant.name() == "timm":
            assert config.model in timm.list_pretrained(), spec
    for experiment in base.names():
        planned = base.find(experiment).runs(setup)
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


def tiny(**choices):
    return with_choices(read_preset("cpu"), hosts=["linear:32"], tasks=["digits"], **choices)


def test_the_same_run_has_the_same_name_in_every_experiment():
    setup = tiny(seeds=[0, 1])
    named = {
        e: {run.name for run in base.find(e).runs(setup)} for e in ("table1", "transfer", "confidence", "baselines")
    }
    assert len(named["transfer"]) == 2
    assert named["transfer"] == named["confidence"] == named["baselines"] < named["table1"]
    other = {run.name for run in base.find("transfer").runs(tiny(seeds=[0, 1], budget="123"))}
    assert not other & named["transfer"]


@pytest.mark.parametrize(
    "budget,field,value",
    [("20000", "images", 20000), ("90s", "seconds", 90), ("2m", "seconds", 120), ("1.5h", "seconds", 5400)],
)
def test_a_budget_is_images_or_time(budget, field, value):
    (run,) = base.find("transfer").runs(tiny(budget=budget))
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
        tiny(**choice)
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
        tiny(seeds=seeds)
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


def test_a_fact_is_measured_once_and_again_when_what_it_is_of_changes(tmp_path):
    book, calls = Book(tmp_path), []

    def measure():
        calls.append(1)
        return {"value": len(calls)}

    assert [book.fact("x", "a b", {"of": 1}, measure) for _ in range(3)] == [{"value": 1}] * 3
    assert book.fact("x", "a b", {"of": 2}, measure) == {"value": 2}

    def fails():
        raise reprogram.DataError("no program")

    assert book.fact("x", "a b", {"of": 3}, fails) is None and book.gaps == ["x: a b: no program"]
    assert book.facts("x") == {"a b": {"value": 2}}
    assert Book(tmp_path).facts("x") == {"a b": {"value": 2}}


def test_facts_of_long_names_that_end_alike_stay_apart(tmp_path):
    book = Book(tmp_path)
    names = [f"{task}, fully connected, 20000 images, seed 0, and so on" for task in ("mnist", "fashion-mnist")]
    assert [book.fact("x", name, 1, lambda name=name: name) for name in names] == names
    assert book.facts("x") == {name: name for name in names}


@pytest.mark.parametrize("text", ["[{", "[]", "{}", "[3]", '[{"run": "x"}]'])
def test_a_damaged_book_is_one_line(tmp_path, text, one_line):
    book = Book(tmp_path)
    (tmp_path / "plans").mkdir()
    (tmp_path / "plans" / "size.json").write_text(text)
    with pytest.raises(reprogram.DataError) as error:
        book.rows("size")
    one_line(error, "size.json")


def test_every_experiment_has_its_place_and_shows_an_empty_book(tmp_path):
    assert set(ORDER) == set(base.names())
    for name in base.names():
        experiment = base.find(name)
        assert experiment.title and experiment.question.strip()[-1] in ".?"
        for block in experiment.show(Book(tmp_path)):
            assert isinstance(block, base.Table | base.Picture | base.Strip | str)
    assert "No run is finished yet" in write_page(Book(tmp_path)).read_text()


def test_the_page_names_the_runs_that_are_missing(tmp_path):
    book = Book(tmp_path)
    there, missing = base.find("transfer").runs(tiny(seeds=[0, 1]))
    book.write_plan("transfer", [there, missing])
    kept = Path(__file__).parents[2] / "results" / "paper" / "runs" / "squares-MobileNet_V2-frame-s0-a1f6eced"
    shutil.copytree(kept, book.runs / there.name)
    assert book.unfinished("transfer") == [missing.name]
    text = write_page(book).read_text()
    assert f"Not finished, so not shown: {missing.name}." in text and text.count(missing.name) == 1


def test_an_experiment_with_nothing_to_run_is_refused(tmp_path, one_line):
    preset = tmp_path / "mine.toml"
    preset.write_text('[hosts]\na = "linear:32"\n[tasks.digits]\n[experiments.amplitude]\nlevels = []\n')
    with pytest.raises(reprogram.ConfigError) as error:
        plan(["amplitude"], read_preset(str(preset)))
    one_line(error, "list in the preset's [experiments.amplitude] is empty")


def test_what_strangers_name_stays_text(tmp_path):
    block = base.Table(head=["a|b", "c"], rows=[["<script>", "\x1b[31mred"]], caption="x")
    text = markdown(block)
    assert "a\\|b" in text and "\x1b" not in text


def test_accuracies_of_seeds_are_pooled():
    def row(accuracy, n):
        return base.Row(
            host="h",
            task="t",
            seed=0,
            axis={},
            folder=None,
            result={"test": {"accuracy": accuracy, "n": n}, "baselines": {}},
        )

    assert base.pooled([]) == "–"
    assert base.pooled([row(0.5, 100)]) == base.accuracy(50, 100) + ", n=100"
    text = base.pooled([row(0.5, 100), row(0.7, 100)])
    assert text.startswith(base.accuracy(120, 200)) and "2 seeds" in text
    assert f"sd {np.std([0.5, 0.7], ddof=1):.4f}" in text


@pytest.mark.parametrize("kind", ["fully connected", "convolutional"])
def test_direct_training_learns_and_is_a_function_of_its_seed(kind):
    from reprogram.direct import train

    task = random_task(n=(200, 40, 60))
    first, again = (train(task, kind, 12000, seed=3) for _ in range(2))
    assert first == again and first.accuracy > 0.9


def test_direct_training_sees_as_many_images_as_it_is_given(monkeypatch):
    from reprogram import direct
    from reprogram.tasks.base import Split

    task, seen = random_task(n=(121, 20, 20)), []
    take = Split.take
    monkeypatch.setattr(Split, "take", lambda split, chosen: seen.append(len(chosen)) or take(split, chosen))
    for images, expected in ((306, 306), (1210, 1210), (121, 121)):
        seen.clear()
        direct.train(task, "fully connected", images, seed=0)
        assert sum(seen) == expected


def test_published_numbers_are_marked():
    marked = [
        e
        for e in base.names()
        if published.MARK in json.dumps([getattr(b, "caption", "") for b in base.find(e).show(_EMPTY)])
    ]
    assert marked == ["shuffled", "table1"]


class _Nothing:
    def rows(self, _):
        return []

    def facts(self, _):
        return {}


_EMPTY = _Nothing()


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
        setup = with_choices(read_preset("cpu"), **{"hosts": ["linear:32"], "tasks": ["digits"], **choices})
        check(plan(["table1"], setup)["table1"], setup)
    one_line(error, text)


def test_weights_that_would_be_fetched_are_not_looked_for():
    setup = with_choices(read_preset("paper-2018"), data=[])
    check([run for runs in plan(base.names(), setup).values() for run in runs], setup)


def test_table_1_says_whose_weights_are_random():
    specs = {
        "a": "timm:test_resnet(pretrained=False, size=48)",
        "b": "untrained:timm:test_resnet?seed=1",
        "c": "two-layer(size=32)",
        "d": "efficientnet-lite0",
    }
    setup = with_choices(read_preset("cpu"), hosts=[f"{name}={spec}" for name, spec in specs.items()], tasks=["digits"])
    states = {host: [] for host in specs}
    for run in base.find("table1").runs(setup):
        states[run.host].append(run.axis["state"])
    twins = ["untrained", "untrained, BatchNorm conditioned"]
    assert states == {
        "a": ["random weights", *twins],
        "b": ["random weights"],
        "c": ["random weights", "untrained"],  # It has no BatchNorm.
        "d": ["as given", *twins],
    }


def test_points_that_a_small_frame_does_not_have_are_left_out_and_named():
    setup = tiny()  # 32 x 32 less 8 x 8 pixels of the digit.
    sizes = {run.axis["pixels"] for run in base.find("size").runs(setup)}
    assert sizes == {16, 64, 256}
    assert left_out(["size", "table1"], setup) == [
        "table1: linear:32: has no BatchNorm, left out: untrained, BatchNorm conditioned",
        "size: digits on 32: the frame has 960 pixels, left out: 1024, 4096, 16384",
    ]


def result(correct, n, **baselines):
    return {"test": {"accuracy": correct / n, "n": n}, "baselines": {"chance": {"accuracy": 0.1}, **baselines}}


def test_what_can_not_be_told_from_guessing_is_marked():
    def row(correct, n, **baselines):
        return base.Row(host="h", task="t", seed=0, axis={}, folder=None, result=result(correct, n, **baselines))

    assert base.pooled([row(11, 100)]).endswith("n=100 (at chance)")
    assert "chance" not in base.pooled([row(30, 100)]) and "chance" not in base.pooled([row(0, 1000)])
    assert base.pooled([row(11, 100), row(12, 100)]).endswith(" (at chance)")
    assert base.pooled([row(13, 100)] * 9).endswith(" (at chance)"), "seeds share their test images"
    largest = {"majority": {"accuracy": 0.45, "n": 100}}
    assert base.pooled([row(45, 100, **largest)]).endswith("n=100 (at chance)"), "as by saying the largest class"
    assert "chance" not in base.pooled([row(60, 100, **largest)])
    alone = {"map_alone": {"accuracy": 0.1, "n": 100}, "linear_probe": {"accuracy": 0.9, "n": 100}}
    rows = [row(50, 100, **alone)]
    shown = [base.baseline(rows, name) for name in ("map_alone", "linear_probe", "chance", "none")]
    assert shown == [base.accuracy(10, 100, 0.1), base.accuracy(90, 100), "0.1000", "–"]
    assert shown[0].endswith(" (at chance)") and shown[1].endswith(")") and "chance" not in shown[1]
    assert base.baseline([row(50, 100, map_alone={"accuracy": 0.13, "n": 100})] * 9, "map_alone").endswith(
        "(at chance)"
    )


def test_the_papers_numbers_stand_in_our_columns():
    def row(host, task):
        axis = {"state": "as given"}
        return base.Row(host=host, task=task, seed=0, axis=axis, folder=Path(host + task), result=result(50, 100))

    class Ours(_Nothing):
        def rows(self, _):
            return [row(host, task) for task in ("cifar10-jpeg", "digits") for host in ("mine", "Inception V4")]

    tables = [block for block in base.find("table1").show(Ours()) if isinstance(block, base.Table)]
    table = tables[0]
    head = ["from", "host", "weights", "cifar10-jpeg (the paper's: cifar10)", "digits", "squares", "mnist"]
    assert list(table.head) == head and published.MARK in table.caption
    assert all(len(cells) == len(head) for cells in table.rows)
    assert [cells[1] for cells in table.rows[:4]] == ["mine", "Inception V4", "Inception V4", "Inception V4"]
    v4 = published.TABLE1["Inception V4"]
    assert table.rows[2] == [published.THEIRS, "Inception V4", "trained", "0.6683", "–", f"{v4['squares']}", "0.9646"]
    assert table.rows[3] == [published.THEIRS, "Inception V4", "untrained", "–", "–", "–", "0.1861"]
    assert sum(cells[0] == published.THEIRS for cells in table.rows) == 7 + 6


def test_two_hosts_of_one_name_are_refused(one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        with_choices(read_preset("cpu"), hosts=["a=linear:32", "a=linear:40"])
    one_line(error, "both called 'a'")


@pytest.mark.parametrize("damaged", ["result", "fact", "plan"])
def test_a_damaged_file_is_named_with_what_to_remove(tmp_path, one_line, damaged):
    book = Book(tmp_path)
    (run,) = base.find("transfer").runs(tiny())
    book.write_plan("transfer", [run])
    folder = book.runs / run.name
    folder.mkdir(parents=True)
    (folder / "result.json").write_text("{}" if damaged == "result" else json.dumps(whole()))
    (tmp_path / "facts" / "transfer").mkdir(parents=True)
    (tmp_path / "facts" / "transfer" / "x.json").write_text("{}")
    if damaged == "plan":
        (tmp_path / "plans" / "transfer.json").write_text("[3]")
    with pytest.raises(reprogram.DataError) as error:
        write_page(book)
    one_line(error, {"result": f"remove {folder} ", "fact": "x.json and run", "plan": "transfer.json"}[damaged])


def test_transfer_to_other_hosts_adds_up_over_calls(tmp_path):
    book = Book(tmp_path)
    (run,) = base.find("transfer").runs(tiny())
    book.write_plan("transfer", [run])
    (book.runs / run.name).mkdir(parents=True)
    (book.runs / run.name / "result.json").write_text(json.dumps(whole()))
    book.fact("transfer", run.name, 1, lambda: {"n": 10, "ways": {transfer.AS_IS: 8, "JPEG 95": 6}})
    for host, right in (("b", 7), ("c d", None)):
        book.fact("transfer", run.name + transfer.ON + host, 1, lambda right=right: {"right": right})
    ways, hosts = base.find("transfer").show(book)
    assert ways.head[-2:] == [transfer.AS_IS, "JPEG 95"] and ways.rows[0][3:] == [
        "10",
        *(base.accuracy(k, 10, 0.1) for k in (8, 6)),
    ]
    assert hosts.head[4:] == [f"on {run.host}", "on b", "on c d"]
    assert hosts.rows[0][4:] == [base.accuracy(8, 10, 0.1), base.accuracy(7, 10, 0.1), "–"]


def whole():
    return {**result(5, 10), "images_seen": 320}


def test_names_that_come_to_mean_something_else_leave_the_tables(tmp_path):
    """Other hosts, tasks or budgets under the same names can't be pooled with the new ones; other seeds can."""
    book, experiment = Book(tmp_path), base.find("transfer")

    def planned(**choices):
        return experiment.runs(with_choices(read_preset("cpu"), **choices))

    def shown():
        for row in json.loads((tmp_path / "plans" / "transfer.json").read_text()):
            folder = book.runs / row["run"]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "result.json").write_text(json.dumps(whole()))
        return [(row.host, row.seed) for row in book.rows("transfer")]

    one = {"hosts": ["a=linear:32"], "tasks": ["t=digits"]}
    assert book.write_plan("transfer", planned(**one, seeds=[0, 1])) == 0
    assert book.write_plan("transfer", planned(**one, seeds=[2])) == 0
    assert shown() == [("a", 0), ("a", 1), ("a", 2)]
    assert book.write_plan("transfer", planned(hosts=["b=linear:32"], tasks=["t=digits"])) == 0
    assert book.write_plan("transfer", planned(**one, budget="160")) == 3
    assert shown() == [("b", 0), ("a", 0)]
    assert book.write_plan("transfer", planned(hosts=["a=linear:40"], tasks=["t=digits"], budget="160")) == 1
    assert book.write_plan("transfer", planned(hosts=["a=linear:40"], tasks=["t=squares"], budget="160")) == 1
    assert shown() == [("b", 0), ("a", 0)]


def test_test_images_are_drawn_from_all_classes():
    split = random_task(n=(8, 8, 400)).test
    sorted_split = split.take(split.labels.argsort())
    drawn = base.some(sorted_split, 100, seed=1)
    assert len(drawn) == 100 and len(drawn.labels.unique()) == len(split.labels.unique())
    assert torch.equal(drawn.images, base.some(sorted_split, 100, seed=1).images)
    assert not torch.equal(drawn.images, base.some(sorted_split, 100, seed=2).images)
    assert len(base.some(split, 1000, seed=0)) == 400


def test_the_paper_stands_beside_its_own_tasks_alone():
    """A table of a stranger's task has no rows and columns of the paper's."""
    rows = [
        base.Row(
            host="h",
            task="letters",
            seed=0,
            axis={"state": "as given", "pixels": "shuffled"},
            folder=Path("x"),
            result=whole(),
        )
    ]
    book = SimpleNamespace(rows=lambda name: rows, facts=lambda name: {})
    for name in ("table1", "shuffled"):
        for block in base.find(name).show(book):
            if isinstance(block, base.Table):
                assert not any(published.THEIRS in cells for cells in block.rows)
                assert not {"squares", "mnist", "cifar10"} & set(block.head)
