"""CLIP and SigLIP by open_clip, and classifiers of transformers, on tiny models that are written here; all offline."""

import json
import sys

import numpy as np
import open_clip
import pytest
import torch
import transformers
from huggingface_hub import constants

import reprogram
from helpers import tiny_clip, tiny_hf
from reprogram.hosts.hf import _normalisation, _size
from reprogram.registry import configure


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Connecting anywhere fails the test."""
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("went online"))


@pytest.fixture
def pixels():
    return torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def normalised(pixels):
    mean, std = torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1), torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1)
    return (pixels - mean) / std


@pytest.mark.parametrize("siglip", [False, True])
def test_scores_are_scaled_cosines_of_image_and_prompt(siglip, pixels, tmp_path):
    """Against open_clip's own towers, with the cosine by NumPy in float64."""
    model = tiny_clip(tmp_path / "clip", siglip=siglip)
    host = reprogram.load_host(f"open-clip:{tmp_path / 'clip'}?classes=cat,blue car")
    tokens = open_clip.get_tokenizer("ViT-B-32")(["a photo of a cat", "a photo of a blue car"])
    with torch.no_grad():
        image = model.encode_image(normalised(pixels)).double().numpy()
        text = model.encode_text(tokens).double().numpy()
        scores = host(pixels).numpy()
    cosine = (image / np.linalg.norm(image, axis=1, keepdims=True)) @ (
        text / np.linalg.norm(text, axis=1, keepdims=True)
    ).T
    bias = -10.0 if siglip else 0.0
    np.testing.assert_allclose(scores, np.exp(model.logit_scale.item()) * cosine + bias, rtol=1e-4, atol=1e-4)
    assert host.info.class_names == ("cat", "blue car") and host.info.size == (32, 32)
    assert str(tmp_path) not in host.info.id
    features, where = host.features(pixels)
    assert where == "input of head" and torch.allclose(features.norm(dim=1), torch.ones(3))


def test_class_names_come_from_text_or_a_file_and_the_prompt_counts(pixels, tmp_path):
    tiny_clip(tmp_path / "clip")
    (tmp_path / "names.txt").write_text("cat\n\n dog \n")
    base = f"open-clip:{tmp_path / 'clip'}?classes="
    one, two = reprogram.load_host(base + "cat,dog"), reprogram.load_host(base + f"{tmp_path / 'names.txt'}")
    three = reprogram.load_host(f"open-clip:{tmp_path / 'clip'}(classes=('cat', 'dog'))")
    assert one.fingerprint == two.fingerprint == three.fingerprint and one.info == two.info == three.info
    other = reprogram.load_host(base + "cat,dog&prompt=a drawing of one {}")
    with torch.no_grad():
        assert not torch.allclose(one(pixels), other(pixels))
    swapped = reprogram.load_host(base + "dog,cat")
    with torch.no_grad():
        torch.testing.assert_close(swapped(pixels), one(pixels).flip(1), rtol=1e-4, atol=1e-5)


def test_a_program_learns_on_a_clip(squares, tmp_path):
    tiny_clip(tmp_path / "clip")
    names = ",".join(f"number {i}" for i in range(12))
    host = reprogram.load_host(f"open-clip:{tmp_path / 'clip'}?classes={names}")
    model = reprogram.Reprogrammed.build(host, squares, canvas="resize", program="full")
    before = reprogram.evaluate(model, squares.train).loss
    reprogram.fit(model, squares, epochs=2, batch_size=16, learner="gradient(learning_rate=0.05)")
    assert reprogram.evaluate(model, squares.train).loss < before


def test_an_untrained_clip_is_a_function_of_its_seed(tmp_path):
    tiny_clip(tmp_path / "clip")
    spec = f"open-clip:{tmp_path / 'clip'}?classes=a,b"
    trained, twin = reprogram.load_host(spec), reprogram.load_host(f"untrained(host={spec!r}, seed=3)")
    assert twin.fingerprint == trained.untrained(3).fingerprint != trained.untrained(4).fingerprint
    assert twin.fingerprint != trained.fingerprint and twin.info.mean == trained.info.mean


CLIP_REFUSALS = {
    "open-clip:ViT-B-33": (reprogram.ConfigError, "did you mean 'ViT-B-32'"),
    "open-clip:ViT-B-32?weights=openaj": (reprogram.ConfigError, "did you mean 'openai'"),
    "open-clip:RN50?weights=openai": (reprogram.HostUnavailableError, "add --download"),
    "open-clip:ViT-B-32?prompt=photo": (reprogram.ConfigError, "{}"),
    "open-clip:CLIP?classes=a,a": (reprogram.ConfigError, "twice"),
    "open-clip:CLIP?classes=none.txt": (reprogram.ConfigError, "none.txt"),
    "open-clip:CLIP?classes=a,b&weights=none.safetensors": (reprogram.HostUnavailableError, "none.safetensors"),
    "open-clip:CLIP?classes=a,b&weights=other.safetensors": (reprogram.ConfigError, "doesn't fit"),
}


@pytest.mark.parametrize("spec", CLIP_REFUSALS)
def test_what_clip_cannot_be_is_refused_in_one_line(spec, tmp_path, monkeypatch, one_line):
    from safetensors.torch import save_file

    monkeypatch.chdir(tmp_path)
    tiny_clip(tmp_path / "CLIP")
    save_file({"a": torch.zeros(2)}, "other.safetensors")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    kind, text = CLIP_REFUSALS[spec]
    with pytest.raises(kind) as error:
        reprogram.load_host(spec)
    one_line(error, text)
    assert not constants.HF_HUB_OFFLINE


@pytest.mark.parametrize("spec,package", {"open-clip:x": "open_clip", "hf:x": "transformers"}.items())
def test_a_missing_extra_is_named(spec, package, monkeypatch, one_line):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(reprogram.HostUnavailableError) as error:
        reprogram.load_host(spec)
    one_line(error, "pip install 'reprogram[")


def test_strangers_files_name_no_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()

    def nameable(spec):
        variant, config = configure("hosts", spec)
        return variant(config).nameable()

    assert nameable("open-clip:ViT-B-32?weights=openai&classes=a,b") and nameable("hf:microsoft/resnet-50")
    for spec in ("open-clip:here", "open-clip:/here", "open-clip:x?weights=a.safetensors", "open-clip:x?classes=a.txt"):
        assert not nameable(spec)
    assert not nameable("hf:here") and not nameable("local-dir:x") and not nameable("untrained:local-dir:x?seed=1")


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

    kept = weights.read_bytes()
    weights.unlink()
    refused(reprogram.HostUnavailableError, "model.safetensors", "--download")
    torch.save(model.state_dict(), tmp_path / "mine" / "pytorch_model.bin")
    refused(reprogram.ConfigError, "pickle", "reprogram.convert")
    model.resnet.save_pretrained(tmp_path / "mine")
    refused(reprogram.ConfigError, "classifier")
    weights.write_bytes(kept)
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
