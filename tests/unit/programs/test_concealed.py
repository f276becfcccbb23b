"""A task image and its program hidden in a photograph, against NumPy, also after rounding to 8 bits."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import reprogram
from helpers import random_task, tiny_model
from helpers_components import BOX, SIZE, as_png, drawn, images, randomize_weight
from reprogram.programfile.file import read


@pytest.fixture
def photo(tmp_path):
    """A photograph of 60 x 40 pixels in a folder with a name that is nobody's business."""
    folder = tmp_path / "secret place"
    folder.mkdir()
    array = np.random.default_rng(3).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(array).save(folder / "cat.png")
    return folder / "cat.png"


def fitted_photo(path):
    """Pillow's own: resized to cover 16 x 16, the centre cut out."""
    from PIL import ImageOps

    image = Image.open(path).convert("RGB")
    return np.asarray(ImageOps.fit(image, (SIZE, SIZE), method=Image.Resampling.BILINEAR)).transpose(2, 0, 1)


@pytest.mark.parametrize("std", [0.0, 0.5, 5.0, 1e30])
@pytest.mark.parametrize("contrast", [0.01, 0.1, 1.0])
@pytest.mark.parametrize("eps", [0.004, 0.0314, 0.2])
def test_concealed_is_photo_program_and_faint_task_image(photo, eps, contrast, std):
    model = randomize_weight(
        tiny_model(program=f"concealed(photo={str(photo)!r}, eps={eps}, contrast={contrast})"), std
    )
    levels = int(255 * eps + 1e-4)
    under = fitted_photo(photo) / 255
    change = np.zeros((16, 3, SIZE, SIZE)) + levels / 255 * np.tanh(model.program.weight.detach().double().numpy())
    change[:, :, BOX, BOX] += contrast * (images().double().numpy() / 255 - 0.5)
    both = int(255 * (eps + contrast / 2) + 1e-4)
    np.testing.assert_allclose(drawn(model), np.clip(under + np.clip(change, -both / 255, both / 255), 0, 1), atol=1e-6)


@pytest.mark.parametrize("std", [0.5, 1e30])
def test_concealed_bound_holds_in_the_8bit_picture(photo, std):
    eps, contrast = 0.0314, 0.1
    spec = f"concealed(photo={str(photo)!r}, eps={eps}, contrast={contrast}, round_8bit=True)"
    model = randomize_weight(tiny_model(program=spec, canvas="shuffled"), std)
    got = drawn(model)
    stored = as_png(got)
    np.testing.assert_allclose(got * 255, stored, atol=1e-4)
    change = np.abs(stored - fitted_photo(photo).astype(int))
    assert change[:, :, BOX, BOX].max() <= int(255 * (eps + contrast / 2))
    change[:, :, BOX, BOX] = 0
    assert change.max() <= 8 and (std < 1 or change.max() == 8)


def test_concealed_carries_the_photograph_and_not_its_place(photo, tmp_path):
    model = tiny_model(program=f"concealed(photo={str(photo)!r}, round_8bit=True)", canvas="shuffled")
    path = model.save(tmp_path / "program.safetensors")
    assert b"secret place" not in path.read_bytes() and b"cat.png" in path.read_bytes()
    want = drawn(model)
    photo.unlink()  # Reading a program opens no other file.
    again = reprogram.load(path, host=model.host)
    np.testing.assert_array_equal(drawn(again), want)
    assert again.save(tmp_path / "again.safetensors").read_bytes() == path.read_bytes()
    config = json.loads(read(path).header.model_dump_json())["components"]["program"]["config"]
    assert config["photo"].startswith("cat.png#") and "/" not in config["photo"]


def test_concealed_default_is_a_photograph():
    model = tiny_model(program="concealed")
    assert model.program.photo.float().std() > 20 and model.program.config.photo == ""
    other = tiny_model(program="concealed", seed=1)
    assert torch.equal(model.program.photo, other.program.photo)


def test_concealed_run_goes_on_with_its_photograph_only(photo, tmp_path, one_line):
    """Interrupted and gone on is never interrupted; another photograph of the same name is another run."""
    task = random_task()
    spec = f"concealed(photo={str(photo)!r}, eps=0.2)"

    def run(checkpoint, on_progress=None):
        model = tiny_model(task, program=spec)
        reprogram.fit(
            model, task, epochs=4, batch_size=8, validations=2, checkpoint=checkpoint, checkpoint_every=1,
            on_progress=on_progress,
        )  # fmt: skip
        return model

    def stop(report):
        if report.images >= 80:
            raise RuntimeError("pulled the plug")

    with pytest.raises(RuntimeError):
        run(tmp_path / "c.safetensors", stop)
    resumed, whole = run(tmp_path / "c.safetensors"), run(None)
    assert torch.equal(resumed.program.weight, whole.program.weight)
    assert torch.equal(resumed.program.photo, whole.program.photo)
    Image.fromarray(255 - np.asarray(Image.open(photo))).save(photo)
    with pytest.raises(reprogram.ConfigError) as error:
        run(tmp_path / "c.safetensors")
    one_line(error, "another program")


@pytest.mark.parametrize("content", [None, b"", b"no picture", b"\x89PNG\r\n\x1a\n"])
def test_a_bad_photograph_is_one_line(content, tmp_path, one_line):
    path = tmp_path / "bad.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(reprogram.DataError) as error:
        tiny_model(program=f"concealed(photo={str(path)!r})")
    one_line(error, "bad.png")
