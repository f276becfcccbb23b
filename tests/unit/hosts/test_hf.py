"""Classifiers of transformers, on tiny models that are written here; all offline."""

import json

import numpy as np
import pytest
import torch
import transformers
from huggingface_hub import constants

import reprogram
from helpers import normalised, tiny_hf
from reprogram.hosts.hf import _normalisation, _size

pytestmark = pytest.mark.usefixtures("no_network")


def test_a_folder_of_transformers_is_a_host(pixels, tmp_path):
    model = tiny_hf(tmp_path / "mine")
    host = reprogram.load_host(f"hf:{tmp_path / 'mine'}?licence=MIT")
    with torch.no_grad():
        expected = model(pixel_values=normalised(pixels)).logits
        torch.testing.assert_close(host(pixels), expected, rtol=1e-4, atol=1e-5)
    info = host.info
    assert (info.id, info.crop, info.interpolation, info.size) == ("hf:mine?licence=MIT", 0.8, "bicubic", (32, 32))
    assert info.class_names == tuple(f"thing {i}" for i in range(5)) and info.licence == "MIT"
    twin = reprogram.load_host(f"untrained(host='hf:{tmp_path / 'mine'}', seed=3, batchnorm='conditioned')")
    assert twin.info.shape == info.shape and twin.info.mean == info.mean and twin.fingerprint != host.fingerprint


def test_hf_refuses_pickles_code_and_models_without_a_head(tmp_path, one_line):
    model = tiny_hf(tmp_path / "mine")
    weights, config = tmp_path / "mine" / "model.safetensors", tmp_path / "mine" / "config.json"

    def refused(kind, *texts):
        with pytest.raises(kind) as error:
            reprogram.load_host(f"hf:{tmp_path / 'mine'}")
        one_line(error, *texts)

    whole = weights.read_bytes()
    weights.unlink()
    refused(reprogram.HostUnavailableError, "model.safetensors", "--download")
    torch.save(model.state_dict(), tmp_path / "mine" / "pytorch_model.bin")
    refused(reprogram.ConfigError, "pickle", "reprogram convert")
    model.resnet.save_pretrained(tmp_path / "mine")
    refused(reprogram.ConfigError, "classifier")
    weights.write_bytes(whole)
    code = {"auto_map": {"AutoConfig": "evil.C", "AutoModelForImageClassification": "evil.M"}, "model_type": "evil"}
    (tmp_path / "mine" / "evil.py").write_text("raise SystemExit('ran')")
    config.write_text(json.dumps({**json.loads(config.read_text()), **code}))
    refused(reprogram.HostUnavailableError, "hf:")


def test_a_hub_name_stays_offline_without_download(tmp_path, monkeypatch, one_line):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(reprogram.HostUnavailableError) as error:
        reprogram.load_host("hf:somebody/something")
    one_line(error, "somebody/something", "--download")


@pytest.mark.parametrize(
    "given,size,crop",
    [
        ({"size": 224}, (224, 224), 1.0),
        ({"size": {"height": 30, "width": 40}}, (30, 40), 1.0),
        ({"size": {"shortest_edge": 224}, "crop_pct": 0.875}, (224, 224), 0.875),
        ({"size": {"shortest_edge": 384}, "crop_pct": 0.875}, (384, 384), 1.0),
        ({"size": {"shortest_edge": 256}, "do_center_crop": True, "crop_size": 224}, (224, 224), 0.875),
        ({}, (64, 64), 1.0),
    ],
)
def test_sizes_of_preprocessors(given, size, crop):
    assert _size(given, 64, "x") == (size, crop)


def test_a_preprocessor_without_a_size_is_refused(one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        _size({}, None, "x")
    one_line(error, "hf:x", "image size")


@pytest.mark.parametrize(
    "given",
    [
        {"image_mean": [0.1, 0.2], "image_std": [0.3, 0.4]},
        {"image_mean": [0.1, 0.2], "image_std": [0.3, 0.4], "rescale_factor": 1 / 127.5, "rescale_offset": True},
        {"image_mean": [9.0, 8.0], "image_std": [70.0, 60.0], "do_rescale": False},
        {"image_mean": [0.1, 0.2], "image_std": [0.3, 0.4], "do_normalize": False},
    ],
)
def test_normalisation_is_what_the_processor_does_to_bytes(given):
    """Step by step on bytes, in NumPy."""
    image = np.arange(2 * 6).reshape(2, 6) * 20.0
    expected = image * (given.get("rescale_factor", 1 / 255) if given.get("do_rescale", True) else 1)
    expected = expected - 1 if given.get("rescale_offset") else expected
    if given.get("do_normalize", True):
        expected = (expected - np.array(given["image_mean"])[:, None]) / np.array(given["image_std"])[:, None]
    mean, std = _normalisation(given, 2)
    np.testing.assert_allclose((image / 255 - np.array(mean)[:, None]) / np.array(std)[:, None], expected, atol=1e-9)


def test_normalisation_agrees_with_transformers_own_processor():
    given = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6], "rescale_factor": 1 / 200}
    image = torch.randint(0, 256, (3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    processor = transformers.ViTImageProcessor(do_resize=False, **given)
    expected = processor(image, return_tensors="pt")["pixel_values"][0]
    mean, std = (torch.tensor(part).view(3, 1, 1) for part in _normalisation(given, 3))
    torch.testing.assert_close((image / 255 - mean) / std, expected, rtol=1e-5, atol=1e-5)
