"""Classifiers of transformers, on tiny models that are written here; all offline."""

import json

import pytest
import torch
from huggingface_hub import constants

import reprogram
from helpers import normalised, tiny_hf

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
