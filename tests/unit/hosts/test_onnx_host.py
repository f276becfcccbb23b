"""Any classifier in an ONNX file is a host with NumPy's scores; what the file doesn't say is asked for in one line."""

import numpy as np
import pytest
import torch

import reprogram
from helpers import tiny_onnx


def pixels(channels, size=8, n=5):
    levels = np.random.default_rng(1).integers(0, 256, (n, channels, size, size))
    return (levels / 255).astype(np.float32)


def scores(host, images):
    with torch.no_grad():
        return host(torch.from_numpy(images)).numpy()


def test_pixels_are_normalised_and_pooled_as_numpy_does(tmp_path):
    weights = tiny_onnx(tmp_path / "a.onnx")
    host = reprogram.load_host(f"onnx:{tmp_path}/a.onnx?mean=0.4,0.5,0.6&std=0.2,0.25,0.3")
    images = pixels(3)
    wanted = ((images.mean((2, 3)) - [0.4, 0.5, 0.6]) / [0.2, 0.25, 0.3]) @ weights
    np.testing.assert_allclose(scores(host, images), wanted, rtol=1e-4, atol=1e-6)
    assert host.info.shape == (3, 8, 8) and host.info.num_classes == 5 and host.info.access == "scores"
    assert host.meter.images == 5 and host.info.class_names is None and host.info.licence == "unknown"
    assert not host(torch.from_numpy(images).requires_grad_()).requires_grad


def test_levels_channels_last_and_a_fixed_number_of_images(tmp_path):
    weights = tiny_onnx(tmp_path / "a.onnx", shape=(2, 8, 8, 1), uint8=True, last=True)
    host = reprogram.load_host(f"onnx:{tmp_path}/a.onnx")
    assert host.info.shape == (1, 8, 8)
    images = pixels(1)
    np.testing.assert_allclose(scores(host, images), 255 * images.mean((2, 3)) @ weights, rtol=1e-5)


def test_probabilities_and_labels(tmp_path):
    weights = tiny_onnx(tmp_path / "a.onnx", softmax=True, texts={"class_names": '["a", "b", "c", "d", "e"]'})
    host = reprogram.load_host(f"onnx:{tmp_path}/a.onnx?outputs=probabilities&licence=MIT")
    images = pixels(3)
    logits = torch.from_numpy(images.mean((2, 3)) @ weights)
    np.testing.assert_allclose(scores(host, images), logits.log_softmax(1).numpy(), rtol=1e-4, atol=1e-5)
    assert host.info.class_names == tuple("abcde") and host.info.licence == "MIT"
    (tmp_path / "names.txt").write_text("v\nw\nx\ny\nz\n")
    named = reprogram.load_host(f"onnx:{tmp_path}/a.onnx?outputs=probabilities&class_names={tmp_path}/names.txt")
    assert named.info.class_names == tuple("vwxyz")
    assert "class_names=names.txt" in named.info.id and str(tmp_path) not in named.info.id
    with pytest.warns(UserWarning, match="like probabilities"):
        reprogram.load_host(f"onnx:{tmp_path}/a.onnx")


def test_the_fingerprint_is_that_of_the_file_and_its_second_one(tmp_path):
    tiny_onnx(tmp_path / "a.onnx")
    host = reprogram.load_host(f"onnx:{tmp_path}/a.onnx")
    first = host.fingerprint
    assert first == reprogram.load_host(f"onnx:{tmp_path}/a.onnx").fingerprint
    assert first != reprogram.load_host(f"onnx:{tmp_path}/a.onnx?mean=0.5,0.5,0.5").fingerprint
    (tmp_path / "a.onnx.data").write_bytes(b"weights")
    assert host.fingerprint != first


def test_a_program_is_learned_on_it_by_asking(tmp_path, squares):
    tiny_onnx(tmp_path / "a.onnx", shape=("n", 3, 40, 40))
    host = reprogram.load_host(f"onnx:{tmp_path}/a.onnx")
    task = reprogram.Task(
        name="two",
        train=squares.train.take(squares.train.labels < 2),
        validation=squares.validation.take(squares.validation.labels < 2),
        test=squares.test.take(squares.test.labels < 2),
        class_names=("1", "2"),
    )
    model = reprogram.Reprogrammed.build(host, task, program="tiles", label_map="bayesian")
    fitted = reprogram.fit(model, task, queries=700, validations=1, learner="snes")
    assert 0 < host.meter.images <= 700 and fitted.images_seen > 0
    path = model.save(tmp_path / "p.safetensors")
    again = reprogram.load(path, host=f"onnx:{tmp_path}/a.onnx")
    np.testing.assert_array_equal(again(task.test.images).numpy(), model(task.test.images).numpy())
    with pytest.raises(reprogram.HostUnavailableError, match="give the host with --host"):
        reprogram.load(path)


@pytest.mark.parametrize(
    "file,options,text",
    [
        ({"shape": ("n", 3, "h", "w")}, "", "?size=224"),
        ({}, "?size=9", "8x8 pixels; leave size out"),
        ({}, "?input=x", "no input 'x'; it has pixels"),
        ({}, "?output=x", "no output 'x'; it has answers"),
        ({}, "?class_names=a,b", "2 class names for 5 scores"),
        ({}, "?class_names=none.txt", "none.txt: can't be read"),
        ({"uint8": True}, "?mean=0.5,0.5,0.5", "leave mean and std out"),
        ({"extra": "threshold"}, "", "say which: ?input=NAME"),
        ({"softmax": False}, "?outputs=probabilities", "aren't non-negative with sum 1"),
    ],
)
def test_what_a_file_is_not_is_said_in_one_line(file, options, text, tmp_path, one_line):
    tiny_onnx(tmp_path / "a.onnx", **file)
    with pytest.raises(reprogram.ConfigError) as error:
        reprogram.load_host(f"onnx:{tmp_path}/a.onnx{options}")
    one_line(error, text)


def test_files_that_are_none(tmp_path, one_line, monkeypatch):
    for content in (b"", b"no ONNX at all"):
        (tmp_path / "a.onnx").write_bytes(content)
        with pytest.raises(reprogram.HostUnavailableError) as error:
            reprogram.load_host(f"onnx:{tmp_path}/a.onnx")
        one_line(error, "a.onnx: ")
    with pytest.raises(reprogram.HostUnavailableError) as error:
        reprogram.load_host(f"onnx:{tmp_path}/b.onnx")
    one_line(error, "no such file")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(reprogram.HostUnavailableError) as error:
        reprogram.load_host(f"onnx:{tmp_path}/a.onnx")
    one_line(error, "pip install 'reprogram[onnx]'")
