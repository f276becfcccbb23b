"""Hosts of a user's own Python file."""

import json

import numpy as np
import pytest
import torch

import reprogram
from reprogram import Host
from reprogram.cli import main

FILE = """
import numpy
import torch

from beside import COUNT

LABELS = [f"label {i}" for i in range(COUNT)]
torch.manual_seed(0)
module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 48 * 48, COUNT))


def scores(pixels):
    return pixels.mean((2, 3)) @ torch.linspace(-9, 9, 3 * COUNT).reshape(3, COUNT)


def labels(pixels):
    return [LABELS[i] for i in scores(pixels).argmax(1)]


def broken(pixels):
    raise RuntimeError("no luck")
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "beside.py").write_text("COUNT = 12\n")
    path = tmp_path / "mine.py"
    path.write_text(FILE + "\nimport reprogram\nhost = reprogram.Host.wrap(scores, size=48, name='made here')\n")
    return path


def pixels():
    return torch.rand(5, 3, 48, 48, generator=torch.Generator().manual_seed(0))


def test_a_function_a_module_and_a_host(file):
    expected = pixels().numpy().mean((2, 3)) @ np.linspace(-9, 9, 36).reshape(3, 12)
    host = reprogram.load_host(f"python:{file}:scores?size=48")
    np.testing.assert_allclose(host(pixels()).numpy(), expected, rtol=1e-4)
    assert host.info.id == "python(function='mine.py:scores', size=48)"
    module = reprogram.load_host(f"python:{file}:module?size=48")
    assert module.info.access == "gradient" and module.info.num_classes == 12
    ready = reprogram.load_host(f"python:{file}:host")
    assert ready.info.id == "made here"
    np.testing.assert_allclose(ready(pixels()).numpy(), expected, rtol=1e-4)
    names = ",".join(f"label {i}" for i in range(12))
    answers = reprogram.load_host(f"python:{file}:labels?size=48&outputs=labels&class_names={tuple(names.split(','))}")
    assert (answers(pixels()).argmax(1).numpy() == expected.argmax(1)).all() and answers.info.access == "label"


def test_a_program_that_was_learned_in_python_loads_on_the_command_line(file, tmp_path, capsys):
    space = {}
    task = "squares(train=16, validation=8, test=8)"
    exec(FILE.replace("from beside import COUNT", "COUNT = 12"), space)  # noqa: S102
    host = Host.wrap(space["scores"], size=48)
    model = reprogram.Reprogrammed.build(host, reprogram.load_task(task))
    path = model.save(tmp_path / "program.safetensors")
    assert main(["evaluate", str(path), "--task", task, "--quiet"]) == 5
    assert "give the host with --host" in capsys.readouterr().err
    assert main(["evaluate", str(path), "--task", task, "--quiet", "--host", f"python:{file}:scores?size=48"]) == 0
    assert main(["evaluate", str(path), "--task", task, "--quiet", "--host", f"python:{file}:module?size=48"]) == 5


def test_a_program_file_runs_no_file(file, tmp_path, monkeypatch):
    (tmp_path / "evil.py").write_text("import pathlib\npathlib.Path('was-run').touch()\n\ndef f(x):\n    return x\n")
    model = reprogram.Reprogrammed.build(
        reprogram.load_host(f"python:{file}:scores?size=48"), "squares(train=16, validation=8, test=8)"
    )
    monkeypatch.chdir(tmp_path)
    for name in ("python(function='evil.py:f')", "untrained(host=\"python(function='evil.py:f')\")"):
        model.host.info = reprogram.HostInfo(
            id=name, num_classes=12, size=(48, 48), mean=(0,) * 3, std=(1,) * 3, access="scores"
        )
        path = model.save(tmp_path / "program.safetensors")
        with pytest.raises(reprogram.HostUnavailableError, match="give the host with --host"):
            reprogram.load(path)
    assert not (tmp_path / "was-run").exists()


@pytest.mark.parametrize(
    "spec, words",
    [
        ("python:{}/none.py:f", "no such file"),
        ("python:{}/mine.py:none", "defines no 'none'"),
        ("python:{}/mine.py", "FILE.py:NAME is expected"),
        ("python:{}/mine.py:broken?size=48", "no luck"),
        ("python:{}/mine.py:LABELS?size=48", "can't be called"),
        ("python:{}/bad.py:f", "SyntaxError"),
    ],
)
def test_mistakes_get_one_line(file, spec, words):
    (file.parent / "bad.py").write_text("def f(:\n")
    with pytest.raises(reprogram.ReprogramError, match=words) as error:
        reprogram.load_host(spec.format(file.parent))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("around", ["{}", "restricted:({})", "defended:({})?by=rounding", "averaged:({})"])
def test_what_loading_asks_is_on_the_bill_whatever_stands_around_it(around, tmp_path):
    file, log = tmp_path / "counting.py", tmp_path / "asked"
    file.write_text(
        f"def ask(x):\n    with open({str(log)!r}, 'a') as file:\n        file.write('.' * len(x))\n"
        "    return x.mean((2, 3)).detach() - 0.2\n"
    )
    host = reprogram.load_host(around.format(f"python:{file}:ask?size=8"))
    assert host.meter.images == len(log.read_text()) > 0


def fit(file, name, out, *more):
    host = f"python:{file}:{name}?size=48"
    options = ("--task", "squares(train=40, validation=20, test=20)", "--images", "20", "--baselines", "none")
    return main(["fit", "--host", host, *options, "--quiet", "--out", str(out), *more])


@pytest.mark.parametrize(
    "line",
    [
        "import sys; sys.exit()",
        "import sys; sys.exit(0)",
        "import argparse; p = argparse.ArgumentParser(); p.add_argument('must'); p.parse_args()",
    ],
)
def test_a_file_that_ends_the_process_is_one_line(file, tmp_path, capsys, line):
    file.write_text(FILE + line + "\n")
    assert fit(file, "scores", tmp_path / "run") == 3
    err = capsys.readouterr().err.strip().splitlines()
    assert "the file ends the process (SystemExit" in err[-1] and 'if __name__ == "__main__":' in err[-1]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("calls", [0, 5])
def test_a_function_that_ends_the_process_is_one_line(file, tmp_path, capsys, calls):
    count = f"CALLS = []\n\ndef ends(pixels):\n    CALLS.append(1)\n    if len(CALLS) > {calls}:\n"
    file.write_text(FILE + count + "        raise SystemExit(0)\n    return scores(pixels)\n")
    assert fit(file, "ends", tmp_path / "run") == 3
    err = capsys.readouterr().err.strip().splitlines()[-1]
    assert err.startswith(f"reprogram: {file}, line") and "ends the process (SystemExit: 0)" in err


def test_a_file_that_parses_arguments_gets_none_of_ours(file, tmp_path, capsys):
    file.write_text(FILE + "import argparse\nprint(argparse.ArgumentParser().parse_args())\n")
    assert fit(file, "scores", tmp_path / "run", "--json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["task"] and "Namespace()" in err  # What it prints is no result.


def test_a_file_that_goes_elsewhere_moves_no_run(file, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    file.write_text(FILE + "import os; os.chdir('/')\n")
    assert fit(file, "scores", "run") == 0
    assert (tmp_path / "here" / "run" / "result.json").exists()


def test_options_beside_a_wrapped_host_are_refused(file):
    assert reprogram.load_host(f"python:{file}:host").info.size == (48, 48)
    with pytest.raises(reprogram.ConfigError, match=r"is a Host already, and size, access would change nothing"):
        reprogram.load_host(f"python:{file}:host?size=64&access=label")
