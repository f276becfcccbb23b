"""Learning that starts from the program of another task or host."""

import numpy as np
import pytest
import torch
from PIL import Image

import reprogram
from helpers import random_task, tiny_model
from reprogram.cli import main

HOST = "timm:test_resnet?pretrained=0&size=64&num_classes=16"


def test_the_program_is_taken_over_and_the_label_map_is_not(tmp_path):
    learned = tiny_model(random_task(num_classes=4))
    with torch.no_grad():
        learned.program.weight.normal_(generator=torch.Generator().manual_seed(3))
    path = learned.save(tmp_path / "p.safetensors")
    fresh = tiny_model(random_task(num_classes=3), label_map="linear")
    before = fresh.label_map.matrix.detach().clone()
    assert fresh.warm_start(path) == reprogram.programfile.file.read(path).header.digest
    assert torch.equal(fresh.program.weight, learned.program.weight)
    assert torch.equal(fresh.label_map.matrix, before)


@pytest.mark.parametrize("program", ["window", "none", "bounded(eps=0.1)"])
def test_another_program_is_refused(program, tmp_path, one_line):
    path = tiny_model(random_task()).save(tmp_path / "p.safetensors")
    with pytest.raises(reprogram.ConfigError) as error:
        tiny_model(random_task(), program=program).warm_start(path)
    one_line(error, "start of", "frame")


def test_a_program_on_other_pixels_is_refused(tmp_path, one_line):
    task = random_task()
    path = tiny_model(task, program="sized(pixels=50)").save(tmp_path / "p.safetensors")
    tiny_model(task, program="sized(pixels=50, init=0.5)").warm_start(path)
    for other in ("sized(pixels=50, where='innermost')", "sized(pixels=50, seed=3)"):
        with pytest.raises(reprogram.ConfigError) as error:
            tiny_model(task, program=other).warm_start(path)
        one_line(error, "lie elsewhere", "sized(pixels=50)")


@pytest.mark.parametrize(
    "learned,other",
    [
        ("random-basis(numbers=64, seed=1)", "random-basis(numbers=64, seed=2)"),
        ("fourier(power=0.0)", "fourier(power=3.0)"),
        ("sized(pixels=50, where='random', seed=1)", "sized(pixels=50, where='random', seed=2)"),
    ],
)
def test_a_task_of_another_size_lets_no_other_pixels_through(learned, other, tmp_path, one_line):
    path = tiny_model(random_task(), program=learned).save(tmp_path / "p.safetensors")
    smaller = random_task((1, 5, 5))
    with pytest.raises(reprogram.ConfigError) as error:
        tiny_model(smaller, program=other).warm_start(path)
    one_line(error, "lie elsewhere", other)
    tiny_model(smaller, program=learned).warm_start(path)


def test_another_photograph_to_hide_in_is_no_other_place(tmp_path):
    task, rng = random_task(), np.random.default_rng(0)
    for name in ("one", "other"):
        Image.fromarray(rng.integers(0, 256, (30, 30, 3), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    files = [str(tmp_path / f"{name}.png") for name in ("one", "other")]
    models = [tiny_model(task, program=f"concealed(photo={file!r})") for file in files]
    path = models[0].save(tmp_path / "p.safetensors")
    models[1].warm_start(path)
    assert torch.equal(models[0].program.weight, models[1].program.weight)
    assert not torch.equal(models[0].program.photo, models[1].program.photo)


def test_what_is_no_program_file_is_refused(tmp_path, one_line):
    path = tmp_path / "p.safetensors"
    path.write_bytes(b"\0" * 100)
    for wrong in (path, tmp_path / "nothing"):
        with pytest.raises(reprogram.ProgramFileError) as error:
            tiny_model(random_task()).warm_start(wrong)
        one_line(error, wrong.name)


@pytest.mark.usefixtures("undrawn")
def test_a_run_starts_where_another_one_ended(tmp_path, capsys):
    """A run with hardly a step moves hardly from its start, so the two programs are nearly the same."""
    shared = ["fit", "--host", HOST, "--task", "digits", "--baselines", "none", "--threads", "1", "--quiet"]
    shared += ["--validations", "1"]
    first, second = tmp_path / "first", tmp_path / "second"
    assert main([*shared, "--images", "320", "--out", str(first)]) == 0
    start = first / "program.safetensors"
    still = "adam(learning_rate=1e-6)"
    options = ["--images", "16", "--learner", still, "--canvas", "centre"]
    assert main([*shared, *options, "--out", str(second), "--start", str(start)]) == 0
    files = [reprogram.programfile.file.read(folder / "program.safetensors") for folder in (first, second)]
    torch.testing.assert_close(
        files[0].tensors["program.weight"], files[1].tensors["program.weight"], atol=1e-5, rtol=0
    )
    assert f'start = "{start}"' in (second / "config.toml").read_text(encoding="utf-8")
    assert main([*shared, *options, "--out", str(tmp_path / "third"), "--start", "missing"]) == 4
    message = capsys.readouterr().err
    assert "missing" in message and "Traceback" not in message
    assert not (tmp_path / "third" / "program.safetensors").exists()
