"""CLIP and SigLIP by open_clip, on tiny models that are written here; all offline."""

import sys

import numpy as np
import open_clip
import pytest
import torch
from huggingface_hub import constants

import reprogram
from helpers import normalised, tiny_clip
from reprogram.registry import configure

pytestmark = pytest.mark.usefixtures("no_network")


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
    reprogram.fit(model, squares, epochs=2, batch_size=16, learner="adam(learning_rate=0.05)")
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
