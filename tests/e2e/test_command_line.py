"""Every verb, in this process: results on stdout, one line on stderr where something is wrong, designed exit codes."""

import contextlib
import io
import json
import os
import re
import shutil
from pathlib import Path

import jsonschema
import pytest
import safetensors.numpy
from PIL import Image

import reprogram
from helpers import random_task
from reprogram.cli import main
from reprogram.registry import FAMILIES, names

HOST = "timm:test_resnet(pretrained=False, num_classes=16, size=48)"
TASK = "squares(train=160, validation=40, test=60)"
FIT = ("fit", "--host", HOST, "--task", TASK, "--epochs", "1", "--quiet")
QUICK = ("fit", "--host", "linear:40", "--task", TASK, "--epochs", "1", "--baselines", "none", "--quiet")
KEYS = {"host", "task", "program", "label_map", "seed", "command", "validation", "test", "baselines", "images_seen"}
KEYS |= {"seconds", "versions"}


def cli(*arguments, stdin=""):
    """Exit code, stdout and stderr of a call."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        code = main([str(a) for a in arguments])
    return code, out.getvalue(), err.getvalue()


def refused(code, *arguments, stdin=""):
    """A call that ends with this code, one line on stderr and nothing on stdout; the line."""
    got, out, err = cli(*arguments, stdin=stdin)
    assert got == code, err
    assert out == ""
    assert err.count("\n") == 1 and err.endswith("\n") and err.startswith("reprogram: ")
    assert "Traceback" not in err and err.strip().isprintable()
    return err.strip()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run with its result."""
    folder = tmp_path_factory.mktemp("runs") / "a"
    code, out, err = cli(*FIT, "--json", "--out", folder)
    assert code == 0, err
    return folder, json.loads(out), err


@pytest.fixture(scope="module")
def program(run):
    return run[0] / "program.safetensors"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Six test images of the task as PNG files, one of them of another size and colour."""
    folder = tmp_path_factory.mktemp("pictures")
    task = reprogram.load_task(TASK)
    for i in range(5):
        Image.fromarray(task.test.images[i, 0].numpy()).save(folder / f"{i}.png")
    Image.fromarray(task.test.images[5, 0].numpy()).convert("RGB").resize((100, 60)).save(folder / "5.jpg")
    return folder


def test_fit_writes_the_run_folder(run):
    folder, result, err = run
    assert err == ""
    assert sorted(p.name for p in folder.iterdir()) == [
        "config.toml",
        "examples.json",
        "history.jsonl",
        "predictions.csv",
        "program.safetensors",
        "report.html",
        "result.json",
        "run.json",
    ]
    stored = json.loads((folder / "result.json").read_text())
    assert {**stored, "folder": str(folder)} == result


def test_result_carries_its_evidence(run):
    _, result, _ = run
    assert result.keys() >= KEYS
    assert result["splits"] == {"train": 160, "validation": 40, "test": 60}
    assert result["images_seen"] == 160 and result["seed"] == 0
    assert result["baselines"].keys() == {"chance", "majority", "map_alone", "linear_probe"}
    assert result["baselines"]["chance"] == {"accuracy": 0.1}
    accuracies = [result["test"], result["validation"]]
    accuracies += [v for k, v in result["baselines"].items() if k != "chance"]
    for value in accuracies:
        correct = value["accuracy"] * value["n"]
        assert correct == pytest.approx(round(correct))
        assert value["interval"] == pytest.approx(reprogram.wilson_interval(round(correct), value["n"]))
    assert result["test"]["n"] == 60 and result["validation"]["n"] == 40
    assert result["versions"]["reprogram"] == reprogram.__version__


def test_result_follows_its_schema(run):
    path = Path(reprogram.__file__).parent / "runs" / "result.schema.json"
    if not path.exists():
        pytest.skip("result.schema.json isn't written yet")
    schema = json.loads(path.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    stored = json.loads((run[0] / "result.json").read_text())
    assert [error.message for error in validator.iter_errors(stored)] == []
    for change in ({"test": {"accuracy": 2, "n": 60, "interval": [0, 1]}}, {"seed": "0"}, {"versions": None}):
        assert list(validator.iter_errors({**stored, **change}))
    for key in KEYS:
        assert list(validator.iter_errors({k: v for k, v in stored.items() if k != key})), key


def test_report_is_one_self_contained_file(run):
    page = (run[0] / "report.html").read_text()
    assert page.count("data:image/png;base64,") >= 2 and "data:image/svg+xml;base64," in page
    assert not re.search(r"""(src|href)\s*=\s*["']?+(?!data:|#)""", page)
    assert not re.search(r"<script|@import|url\(\s*['\"]?http", page)
    assert page.index("data:image/png") < page.index("squares(train=160")
    assert "chance" in page and "95" in page


def test_report_verb_writes_it_anew(run, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(run[0], folder)
    before = (folder / "report.html").read_bytes()
    (folder / "report.html").unlink()
    code, out, err = cli("report", folder)
    assert (code, err) == (0, "") and out.strip() == str(folder / "report.html")
    assert len((folder / "report.html").read_bytes()) == pytest.approx(len(before), rel=0.01)


def test_names_of_strangers_can_not_script_the_report(run, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(run[0], folder)
    evil = "<script>alert(1)</script>"
    for name in ("result.json", "examples.json"):
        value = json.loads((folder / name).read_text())
        value |= {"host": evil, "task": evil} if name == "result.json" else {"classes": [evil, *value["classes"][1:]]}
        (folder / name).write_text(json.dumps(value))
    (folder / "config.toml").write_text(f"# {evil}\n")
    assert cli("report", folder)[0] == 0
    assert "<script" not in (folder / "report.html").read_text()


@pytest.mark.parametrize(
    "change",
    [
        {"baselines": {}},
        {"program_worth": {"n": 3}},
        {"program_worth": 3},
        {"host_shows": []},
        {"host_shows": {"needed": "x"}},
    ],
)
def test_report_of_a_damaged_result_is_refused(run, tmp_path, change):
    shutil.copy(run[0] / "examples.json", tmp_path)
    result = json.loads((run[0] / "result.json").read_text())
    (tmp_path / "result.json").write_text(json.dumps({**result, **change}))
    refused(3, "report", tmp_path)


@pytest.mark.parametrize("damage", ["empty folder", "bad json", "empty result", "list"])
def test_report_of_no_run_is_refused(run, tmp_path, damage):
    if damage != "empty folder":
        for name in ("result.json", "examples.json"):
            shutil.copy(run[0] / name, tmp_path)
        (tmp_path / "result.json").write_text({"bad json": "{", "empty result": "{}", "list": "[]"}[damage])
    refused(3, "report", tmp_path)


def test_config_of_a_run_runs_again_to_the_same_bytes(run, program, tmp_path):
    code, out, err = cli("fit", "--config", run[0] / "config.toml", "--out", tmp_path / "b", "--quiet", "--json")
    assert code == 0, err
    assert (tmp_path / "b" / "program.safetensors").read_bytes() == program.read_bytes()
    again = json.loads(out)
    for key in ("test", "validation", "baselines", "host_calls", "host_images", "selected_step"):
        assert again[key] == run[1][key]


def test_precedence_is_flags_environment_file_defaults(tmp_path, monkeypatch):
    config = tmp_path / "run.toml"
    config.write_text('[fit]\nseed = 1\nbatch-size = 16\nlearner = "gradient(learning_rate=0.2)"\n')

    def seed(name, *flags):
        code, out, err = cli(*QUICK, "--json", "--out", tmp_path / name, *flags)
        assert code == 0, err
        return json.loads(out)

    assert seed("default")["seed"] == 0
    fromfile = seed("file", "--config", config)
    assert (fromfile["seed"], fromfile["learner"]) == (1, "gradient(learning_rate=0.2)")
    monkeypatch.setenv("REPROGRAM_SEED", "2")
    assert seed("environment", "--config", config)["seed"] == 2
    both = seed("flag", "--config", config, "--seed", "3")
    assert (both["seed"], both["learner"]) == (3, "gradient(learning_rate=0.2)")
    assert "seed = 3" in (tmp_path / "flag" / "config.toml").read_text()
    assert "batch_size = 16" in (tmp_path / "flag" / "config.toml").read_text()


CONFIGS = {
    "unknown key": ("[fit]\nsede = 1\n", "did you mean 'seed'"),
    "wrong type": ('[fit]\nseed = "x"\n', "seed"),
    "no toml": ("[fit\n", "TOML"),
    "other table": ("[fit]\nseed = 1\n[other]\na = 1\n", "[fit]"),
    "unknown baseline": ('[fit]\nbaselines = ["probe"]\n', "probe"),
    "negative seed": ("[fit]\nseed = -1\n", "seed"),
    "bytes": (b"\xff\xfe\x00", ""),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_bad_config_files_are_refused(tmp_path, name):
    text, expected = CONFIGS[name]
    path = tmp_path / "run.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert expected in refused(3, "fit", "--config", path, "--out", tmp_path / "out")
    assert not (tmp_path / "out" / "config.toml").exists()


WRONG = {
    "host": (3, ["--host", "efficientnet-lite1"], "did you mean 'efficientnet-lite0'"),
    "timm model": (3, ["--host", "timm:resnet5O"], "did you mean 'resnet50"),
    "torchvision model": (3, ["--host", "torchvision:resnet19"], "did you mean 'resnet18'"),
    "weights": (3, ["--host", "timm:resnet50.a1_in1kk"], "did you mean 'resnet50.a1_in1k'"),
    "task": (3, ["--task", "squars"], "did you mean 'squares'"),
    "canvas": (3, ["--canvas", "center"], "did you mean 'centre'"),
    "program": (3, ["--program", "frme"], "did you mean 'frame'"),
    "label map": (3, ["--label-map", "frist"], "did you mean 'first'"),
    "learner": (3, ["--learner", "gradiant"], "did you mean 'gradient'"),
    "option": (3, ["--program", "frame(ini=1)"], "did you mean 'init'"),
    "baseline": (3, ["--baselines", "probe"], "linear-probe"),
    "device": (3, ["--device", "abacus"], "abacus"),
    "threads": (3, ["--threads", "0"], "threads"),
    "epochs": (3, ["--epochs", "-1"], "epochs"),
    "batch": (3, ["--batch-size", "0"], "batch_size"),
    "few labels": (3, ["--host", "linear:40?num_classes=9"], "9"),
    "small host": (3, ["--host", "linear:30", "--canvas", "centre"], "30x30"),
    "no data": (3, ["--task", "cifar10"], "--data"),
    "data for none": (3, ["--task", "digits", "--data", "x"], "data"),
    "no folder": (3, ["--task", "folder:nowhere"], "nowhere"),
    "no weights": (5, ["--host", "timm:resnet18.a1_in1k"], "--download"),
    "no torchvision weights": (5, ["--host", "torchvision:resnet18"], "--download"),
    "no checkpoint": (5, ["--host", "checkpoint:no.safetensors?architecture=timm:test_resnet"], "no.safetensors"),
    "no architecture": (3, ["--host", "checkpoint:no.safetensors"], "architecture"),
    "flag": (2, ["--sede", "1"], "--sed"),
    "type": (2, ["--seed", "x"], "seed"),
    "rounding": (2, ["--images", "3.5"], "no whole number"),
    "too many parts": (3, ["--parts", "1000000000000"], "num_microbatches"),
    "too large a number": (3, ["--label-map", "frequency(images=99999999999999999999)"], "64 bits"),
    "augmentation": (3, ["--augmentation", "shfit"], "did you mean 'shift'"),
    "loss": (3, ["--loss", "hosts"], "did you mean 'host'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_one_line_with_its_exit_code(tmp_path, monkeypatch, name):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.chdir(tmp_path)
    code, flags, text = WRONG[name]
    defaults = {"--host": "linear:40", "--task": TASK, "--epochs": "1", "--baselines": "none", "--out": "out"}
    defaults |= dict(zip(flags[::2], flags[1::2], strict=True))
    assert text in refused(code, "fit", "--quiet", *(part for pair in defaults.items() for part in pair))
    left = [p.name for p in (tmp_path / "out").iterdir()] if (tmp_path / "out").exists() else []
    assert "result.json" not in left and "program.safetensors" not in left


@pytest.mark.parametrize(
    "arguments",
    [["fti"], ["list"], ["list", "hostss"], ["predict"], ["evaluate", "x"], ["inspect"], ["report"]],
)
def test_usage_errors_are_two(arguments):
    assert "--help" in refused(2, *arguments)


def test_a_finished_run_is_not_overwritten(run):
    before = {p.name: p.read_bytes() for p in run[0].iterdir()}
    assert "seed=" in refused(3, *FIT, "--out", run[0], "--seed", "9")
    assert "baselines=" in refused(3, *FIT, "--out", run[0], "--baselines", "none")
    code, out, _ = cli(*FIT, "--out", run[0], "--json")
    assert (code, json.loads(out)) == (0, run[1])
    assert {p.name: p.read_bytes() for p in run[0].iterdir()} == before


def test_an_unwritable_run_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    assert "file" in refused(3, *QUICK, "--out", tmp_path / "file" / "run")
    assert "file" in refused(3, *QUICK, "--out", tmp_path / "file")
    assert (tmp_path / "file").read_text() == "x"


def test_another_config_on_an_interrupted_run_is_refused(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr("reprogram.runs.measure.read_answers", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
        assert cli(*QUICK, "--out", folder)[0] == 130
    assert (folder / "checkpoint.safetensors").exists()
    for flags, field in (
        (["--seed", "5"], "seed"),
        (["--program", "full"], "program"),
        (["--seconds", "2"], "seconds"),
    ):
        line = refused(3, *QUICK, "--out", folder, *flags)
        assert f"{field}=" in line and "interrupted" in line
    assert cli(*QUICK, "--out", folder)[0] == 0
    assert not (folder / "checkpoint.safetensors").exists()


def test_evaluate_agrees_with_the_run(run, program):
    code, out, err = cli("evaluate", program, "--task", TASK, "--json", "--quiet")
    result = json.loads(out)
    assert (code, err) == (0, "")
    assert result["accuracy"] == run[1]["test"]["accuracy"] and result["interval"] == run[1]["test"]["interval"]
    assert sum(map(sum, result["confusion"])) == result["n"] == 60
    code, out, _ = cli("evaluate", program, "--task", TASK, "--split", "validation", "--json", "--quiet")
    assert json.loads(out)["accuracy"] == run[1]["validation"]["accuracy"]
    code, out, err = cli("evaluate", program, "--task", TASK)
    assert code == 0 and f"{run[1]['test']['accuracy']:.4f}" in out and "n=60" in out
    assert result["host_shows"] == run[1]["host_shows"] and "by the host's top label alone" in out


def test_evaluate_takes_a_sample(program):
    code, out, err = cli("evaluate", program, "--task", TASK, "--test-images", "20", "--json", "--quiet")
    assert (code, err) == (0, "")
    sample = reprogram.load_task(TASK).with_test_sample(20, seed=0)
    measured = reprogram.evaluate(reprogram.load(program), sample)
    assert (json.loads(out)["n"], json.loads(out)["accuracy"]) == (20, measured.accuracy)
    for value, word in (("0", "at least 1"), ("-3", "whole number"), ("some", "whole number"), ("1e2", "whole number")):
        assert word in refused(3, "evaluate", program, "--task", TASK, f"--test-images={value}", "--quiet")


def test_evaluate_on_other_images_says_so_and_on_another_task_refuses(program):
    code, _, err = cli("evaluate", program, "--task", "squares(train=160, validation=40, test=60, seed=1)")
    assert code == 0 and "other images" in err
    refused(3, "evaluate", program, "--task", "digits", "--quiet")


def test_inspect_tells_the_truth_without_the_host(run, program):
    code, out, err = cli("inspect", program, "--json")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert found["bytes"] == program.stat().st_size
    assert found["tensors"] == {"label_map.groups": [10, 1], "program.weight": [1, 3, 48, 48]}
    assert found["assignment"] == safetensors.numpy.load_file(program)["label_map.groups"].tolist()
    assert found["assignment"] == [[label] for label in range(10)]  # The first ten, whatever they mean.
    assert found["host"]["fingerprint"] == run[1]["host_fingerprint"]
    assert found["metrics"]["test_accuracy"] == run[1]["test"]["accuracy"]
    code, out, err = cli("inspect", program)
    assert (code, err) == (0, "") and "squares" in out and "\x1b" not in out


@pytest.fixture
def altered(program, tmp_path):
    raw = bytearray(program.read_bytes())
    raw[-9] ^= 1
    path = tmp_path / "altered.safetensors"
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize("verb", [["inspect"], ["evaluate", "--task", TASK], ["predict", "x.png"]])
def test_refused_program_files_are_four(verb, altered, tmp_path):
    for path in (altered, tmp_path / "missing", tmp_path):
        assert path.name in refused(4, verb[0], path, *verb[1:])


def test_predict_files(program, pictures, run):
    code, out, err = cli("predict", program, pictures / "0.png", pictures / "5.jpg", "--json", "--quiet")
    answers = json.loads(out)
    assert (code, err) == (0, "") and [a["image"] for a in answers] == [str(pictures / n) for n in ("0.png", "5.jpg")]
    task = reprogram.load_task(TASK)
    scores = reprogram.load(program)(task.test.images[:1]).softmax(1)[0]
    assert answers[0]["label"] == task.class_names[int(scores.argmax())]
    assert answers[0]["probability"] == pytest.approx(float(scores.max().detach()), rel=1e-5)
    assert len(answers[0]["host"]) == 3
    probabilities = [h["probability"] for h in answers[0]["host"]]
    assert probabilities == sorted(probabilities, reverse=True)


def test_predict_a_folder_is_predict_its_files(program, pictures):
    code, out, _ = cli("predict", program, pictures, "--json", "--quiet")
    one_by_one = [json.loads(cli("predict", program, p, "--json", "--quiet")[1])[0] for p in sorted(pictures.iterdir())]
    answers = json.loads(out)
    assert code == 0 and [a["image"] for a in answers] == [a["image"] for a in one_by_one]
    for a, b in zip(answers, one_by_one, strict=True):
        assert a["label"] == b["label"] and a["probability"] == pytest.approx(b["probability"], rel=1e-4)


def test_predict_reads_a_list_from_stdin(program, pictures):
    listed = "".join(f"{pictures / f'{i}.png'}\n" for i in (3, 1))
    code, out, err = cli("predict", program, "-", "--json", "--quiet", stdin=listed)
    assert code == 0, err
    assert [Path(a["image"]).name for a in json.loads(out)] == ["3.png", "1.png"]


def test_predict_answers_the_others_when_an_image_is_corrupt(program, pictures, tmp_path):
    good, bad = pictures / "0.png", tmp_path / "bad.png"
    bad.write_bytes(good.read_bytes()[:60])
    (tmp_path / "text.png").write_text("hello")
    paths = [bad, good, tmp_path / "text.png", tmp_path / "missing.png", pictures / "1.png"]
    code, out, err = cli("predict", program, *paths, "--json", "--quiet")
    assert code == 3
    assert [a["image"] for a in json.loads(out)] == [str(good), str(pictures / "1.png")]
    lines = err.splitlines()
    assert len(lines) == 3 and all(line.startswith("reprogram: ") for line in lines)
    assert [name in line for name, line in zip(("bad.png", "text.png", "missing.png"), lines, strict=True)] == [
        True
    ] * 3
    code, out, _ = cli("predict", program, *paths, "--quiet")
    assert code == 3 and out.count("\n") == 2


def test_predict_without_images_is_refused(program, tmp_path):
    refused(3, "predict", program)
    refused(3, "predict", program, tmp_path)


def test_predict_names_of_files_can_not_steer_the_terminal(program, pictures, tmp_path):
    path = tmp_path / "a\x1b[31m\nb.png"
    shutil.copy(pictures / "0.png", path)
    code, out, _ = cli("predict", program, path, "--quiet")
    assert code == 0 and "\x1b" not in out and out.count("\n") == 1
    _, _, err = cli("predict", program, tmp_path / "no\x1b\nfile.png", "--quiet")
    assert "\x1b" not in err and err.count("\n") == 1


def test_another_host_is_five_and_any_host_a_note(program, pictures):
    other = HOST.replace("num_classes=16", "num_classes=16, seed=1")
    assert "--any-host" in refused(5, "predict", program, pictures / "0.png", "--host", other)
    code, out, err = cli("predict", program, pictures / "0.png", "--host", other, "--any-host", "--json")
    assert code == 0 and len(json.loads(out)) == 1 and "warning" in err
    refused(5, "evaluate", program, "--task", TASK, "--host", "linear:40", "--any-host", "--quiet")


@pytest.mark.parametrize("family", FAMILIES)
def test_list(family):
    code, out, err = cli("list", family, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert [row["name"] for row in found] == names(family) and all(row["summary"] for row in found)
    code, out, _ = cli("list", family)
    assert code == 0 and [line.split()[0] for line in out.splitlines()] == names(family)


def test_list_with_a_pattern():
    assert cli("list", "programs", "fr*")[1].split()[0] == "frame"
    out = cli("list", "hosts", "resnet1*")[1]
    assert "timm:resnet18.a1_in1k" in out and "torchvision:resnet18" in out
    out = cli("list", "hosts", "timm:resnet18*")[1]
    assert "timm:resnet18.a1_in1k" in out and "torchvision" not in out
    refused(3, "list", "programs", "xyz*")


def test_doctor(monkeypatch):
    code, out, err = cli("doctor", "--json")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert found["reprogram"] == reprogram.__version__ and "cpu" in found["devices"]
    assert found["default_host"].endswith(".pth") and Path(found["default_host"]).is_file()
    assert {"versions", "caches", "extras", "processor"} <= found.keys()
    code, out, _ = cli("doctor")
    assert code == 0 and "torch" in out


def test_json_is_stable(program, pictures):
    for arguments in (
        ("inspect", program, "--json"),
        ("list", "programs", "--json"),
        ("predict", program, pictures, "--json", "--quiet"),
        ("evaluate", program, "--task", TASK, "--json", "--quiet"),
    ):
        assert cli(*arguments)[1] == cli(*arguments)[1]


def test_progress_goes_to_stderr_without_escapes(tmp_path):
    arguments = [a for a in QUICK if a != "--quiet"]
    code, out, err = cli(*arguments, "--out", tmp_path / "run")
    assert code == 0 and "test accuracy" in out and "chance" in out and "95 %" in out
    assert str(tmp_path / "run" / "program.safetensors") in out
    assert "learning" in err and "100 %" in err
    assert "\x1b" not in out + err and "\r" not in err


def test_untrained_baseline(tmp_path):
    quick = [a if a != "none" else "untrained" for a in QUICK]
    code, out, err = cli(*quick, "--json", "--out", tmp_path / "run")
    assert code == 0, err
    untrained = json.loads(out)["baselines"]["untrained"]
    assert untrained["n"] == 60 and len(untrained["interval"]) == 2


def test_folder_task_from_fit_to_predict(tmp_path):
    """A user's own folder: names of classes come back from predict."""
    task = random_task(num_classes=2, n=(40, 4, 4))
    for i, (image, label) in enumerate(zip(task.train.images, task.train.labels.tolist(), strict=True)):
        path = tmp_path / "data" / ("dark", "light")[label] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)
    data = tmp_path / "data"
    code, _, err = cli(
        *("fit", "--host", HOST, "--task", f"folder:{data}", "--epochs", "2", "--quiet", "--out", tmp_path / "run")
    )
    assert code == 0, err
    code, out, _ = cli("predict", tmp_path / "run" / "program.safetensors", data / "dark", "--json", "--quiet")
    assert code == 0 and {a["label"] for a in json.loads(out)} <= {"dark", "light"}
    assert str(tmp_path) not in (tmp_path / "run" / "program.safetensors").read_bytes().decode("latin1")


def test_environment_does_not_leak_between_calls():
    assert "REPROGRAM_SEED" not in os.environ
