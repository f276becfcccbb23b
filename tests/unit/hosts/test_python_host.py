"""Hosts of a user's own Python file."""

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
