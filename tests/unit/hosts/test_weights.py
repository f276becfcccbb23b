"""Weights from files: names as training scripts leave them, normalisation inside, folders of timm, pickles."""

import json
import shutil
import subprocess
import sys

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

import reprogram
from helpers import randomize_batchnorm
from reprogram.cli.convert import convert

ARCHITECTURE = "timm:test_resnet(num_classes=16, size=48)"


@pytest.fixture(scope="module")
def net():
    """A tiny ResNet with values of its own everywhere."""
    torch.manual_seed(11)
    return randomize_batchnorm(timm.create_model("test_resnet", num_classes=16)).eval()


@pytest.fixture(scope="module")
def pixels():
    return torch.rand(3, 3, 48, 48, generator=torch.Generator().manual_seed(0))


def load(path, more="", architecture=ARCHITECTURE):
    return reprogram.load_host(f"checkpoint:{path}?architecture={architecture}{more}")


def scores(net, pixels, mean, std):
    with torch.no_grad():
        return net((pixels - torch.tensor(mean).view(1, -1, 1, 1)) / torch.tensor(std).view(1, -1, 1, 1))


HALVES = ((0.5,) * 3, (0.5,) * 3)  # Of timm's test_resnet.
OWN = ((0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616))


@pytest.mark.parametrize("prefix", ["module.", "model.", "module.model.", "state_dict.net."])
def test_prefixes_of_names_are_understood(net, pixels, prefix, tmp_path):
    state = {prefix + name: value for name, value in net.state_dict().items()}
    save_file(state, tmp_path / "w.safetensors")
    host = load(tmp_path / "w.safetensors")
    with torch.no_grad():
        torch.testing.assert_close(host(pixels), scores(net, pixels, *HALVES), rtol=1e-4, atol=1e-5)


ROBUST = {
    "robustbench": ("model.", {"mu": 0, "sigma": 1}),
    "a normalisation layer": ("1.", {"0.mean": 0, "0.std": 1}),
    "robustness": (
        "module.model.",
        {
            "module.normalizer.new_mean": 0,
            "module.normalizer.new_std": 1,
            "module.attacker.normalize.new_mean": 0,
            "module.attacker.normalize.new_std": 1,
        },
    ),
}


@pytest.mark.parametrize("kind", ROBUST)
def test_the_normalisation_in_a_checkpoint_is_the_hosts(net, pixels, kind, tmp_path):
    prefix, names = ROBUST[kind]
    state = {prefix + name: value for name, value in net.state_dict().items()}
    state |= {name: torch.tensor(OWN[which]).view(1, 3, 1, 1).clone() for name, which in names.items()}
    if kind == "robustness":  # Its attacker holds the model once more.
        state |= {f"module.attacker.model.{name}": value.clone() for name, value in net.state_dict().items()}
    save_file(state, tmp_path / "w.safetensors")
    host = load(tmp_path / "w.safetensors")
    assert host.info.mean == pytest.approx(OWN[0]) and host.info.std == pytest.approx(OWN[1])
    with torch.no_grad():
        torch.testing.assert_close(host(pixels), scores(net, pixels, *OWN), rtol=1e-4, atol=1e-5)
    stated = load(tmp_path / "w.safetensors", "&mean=0.5,0.5,0.5&std=0.5,0.5,0.5")
    assert stated.info.mean == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("damage", ["missing", "unknown", "shape", "mean without std", "two means", "another copy"])
def test_weights_that_do_not_fit_are_refused(net, damage, tmp_path, one_line):
    state = {f"module.{name}": value.clone() for name, value in net.state_dict().items()}
    first = next(iter(state))
    if damage == "missing":
        del state[first]
    elif damage == "unknown":
        state["module.extra"] = torch.zeros(5)
    elif damage == "shape":
        state[first] = state[first][..., :1].contiguous()
    elif damage == "mean without std":
        state["normalize.mean"] = torch.zeros(3)
    elif damage == "two means":
        state |= {"a.mean": torch.zeros(3), "b.mean": torch.ones(3), "a.std": torch.ones(3)}
    else:
        state[f"ema.{first}"] = state[first] + 1
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(reprogram.ConfigError) as error:
        load(tmp_path / "w.safetensors")
    one_line(error, "w.safetensors", "test_resnet", "missing", "unknown")


def test_a_grey_checkpoint(tmp_path):
    torch.manual_seed(3)
    grey = timm.create_model("test_resnet", num_classes=16, in_chans=1).eval()
    save_file(grey.state_dict(), tmp_path / "grey.safetensors")
    host = load(tmp_path / "grey.safetensors", "&in_chans=1&mean=0.1,&std=0.3,")
    assert host.info.shape == (1, 48, 48) and host.info.mean == (0.1,)
    assert host.info.id.endswith("&mean=0.1,&std=0.3,")
    pixels = torch.rand(2, 1, 48, 48)
    with torch.no_grad():
        torch.testing.assert_close(host(pixels), grey((pixels - 0.1) / 0.3), rtol=1e-4, atol=1e-5)
    with pytest.raises(reprogram.ConfigError, match="in_chans=1 needs architecture=timm"):
        load(tmp_path / "grey.safetensors", "&in_chans=1", "torchvision:resnet18")


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt", ".bin"])
def test_pickles_are_refused_unread_with_the_command_that_converts_them(suffix, tmp_path, one_line):
    path = tmp_path / f"w{suffix}"
    path.write_bytes(b"cos\nsystem\n(S'touch gotcha'\ntR.")
    with pytest.raises(reprogram.ConfigError) as error:
        load(path)
    one_line(error, "pickle", f"reprogram convert w{suffix} w.safetensors")


@pytest.mark.parametrize("section", [None, "state_dict", "model", "net"])
def test_a_converted_pickle_loads(net, pixels, section, tmp_path):
    state = {f"module.{name}": value for name, value in net.state_dict().items()}
    state["module.tied"] = state["module.fc.weight"]  # Memory that two entries share.
    torch.save({section: state, "epoch": 3, "optimizer": {"lr": 0.1}} if section else state, tmp_path / "w.pt")
    if section == "state_dict":
        command = [sys.executable, "-m", "reprogram", "convert", "w.pt", "w.safetensors"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0 and done.stdout == f"w.safetensors: {len(state)} tensors\n"
    else:
        assert convert(tmp_path / "w.pt", tmp_path / "w.safetensors") == len(state)
    again = load_file(tmp_path / "w.safetensors")
    assert again.keys() == state.keys() and all(torch.equal(again[key], state[key]) for key in state)
    again.pop("module.tied")
    save_file(again, tmp_path / "w.safetensors")
    with torch.no_grad():
        expected = scores(net, pixels, *HALVES)
        torch.testing.assert_close(load(tmp_path / "w.safetensors")(pixels), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "name,content,text",
    [
        ("w.gguf", b"GGUF" + bytes(90), "a GGUF file"),
        ("w.safetensors", b"\x89HDF\r\n\x1a\n" + bytes(90), "an HDF5 file"),
        ("model.safetensors.index.json", b'{"weight_map": {}}', "a list of several files"),
        ("w.safetensors", b"PK\x03\x04" + bytes(90), "reprogram convert w.safetensors w-converted.safetensors"),
    ],
)
def test_other_formats_are_named(name, content, text, tmp_path, one_line):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(reprogram.ConfigError) as error:
        load(tmp_path / name)
    one_line(error, name, text)


def test_what_does_not_fit_is_said_with_the_right_advice(net, tmp_path, one_line):
    state = net.state_dict()
    for change, texts in (
        ({"fc.weight": torch.ones(3, 96)}, ["fc.weight is 3x96 in the file and 16x96 in the architecture"]),
        ({"epoch": torch.tensor(3)}, ["1 unknown (epoch)", "its own weights alone"]),
        ({"bn1.running_var": -torch.ones_like(state["bn1.running_var"])}, ["NaN", "weights"]),
    ):
        save_file(state | change, tmp_path / "w.safetensors")
        with pytest.raises(reprogram.ConfigError) as error:
            load(tmp_path / "w.safetensors")
        one_line(error, "w.safetensors", *texts)


class Evil:
    def __reduce__(self):
        import os

        return os.mkdir, ("gotcha",)


def test_converting_runs_nothing_and_overwrites_nothing(tmp_path, monkeypatch, one_line):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {"a": torch.zeros(2)}, "evil": Evil()}, "evil.pt")
    torch.save({"epoch": 3}, "empty.pt")
    torch.save({"a": torch.zeros(2)}, "good.pt")
    refusals = {("evil.pt", "n.safetensors"): "ask for a state dict", ("none.pt", "n.safetensors"): "No such file"}
    refusals |= {("empty.pt", "n.safetensors"): "state_dict()", ("good.pt", "good.pt"): "new .safetensors file"}
    for (source, target), text in refusals.items():
        with pytest.raises(reprogram.ConfigError) as error:
            convert(tmp_path / source, tmp_path / target)
        one_line(error, text)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty.pt", "evil.pt", "good.pt"]
    monkeypatch.setattr(torch, "__version__", "2.9.1+cpu")
    with pytest.raises(reprogram.ConfigError, match=r"2\.10"):
        convert(tmp_path / "good.pt", tmp_path / "n.safetensors")


@pytest.fixture
def folder(net, tmp_path):
    data = {"input_size": (3, 48, 48), "mean": (0.5, 0.4, 0.3), "std": (0.4, 0.5, 0.6)}
    labels = {"label_names": [f"n{i}" for i in range(16)], "label_descriptions": {"n3": "thing 3"}}
    path = tmp_path / "mine"
    timm.models.save_for_hf(
        net,
        path,
        model_config=labels,
        safe_serialization=True,
        data_config={**data, "interpolation": "bicubic", "crop_pct": 0.9},
    )
    return path


def test_a_folder_of_timm_is_a_host(net, folder, pixels):
    host = reprogram.load_host(f"local-dir:{folder}")
    with torch.no_grad():
        expected = scores(net, pixels, (0.5, 0.4, 0.3), (0.4, 0.5, 0.6))
        torch.testing.assert_close(host(pixels), expected, rtol=1e-4, atol=1e-5)
    info = host.info
    assert (info.id, info.crop, info.interpolation, info.licence) == ("local-dir:mine", 0.9, "bicubic", "apache-2.0")
    assert info.label(3) == "thing 3" and info.label(4) == "n4"
    twin = reprogram.load_host(f"untrained:local-dir:{folder}?seed=2")
    assert twin.info.mean == info.mean and twin.info.id == "untrained:local-dir:mine?seed=2"
    assert twin.fingerprint == host.untrained(2).fingerprint != host.fingerprint


def test_folders_that_do_not_fit_are_refused(net, folder, one_line):
    weights = folder / "model.safetensors"
    weights.rename(folder / "kept")
    with pytest.raises(reprogram.HostUnavailableError, match=r"model\.safetensors"):
        reprogram.load_host(f"local-dir:{folder}")
    torch.save(net.state_dict(), folder / "pytorch_model.bin")
    refusals = {"pickle": "reprogram convert"}
    for text in ("{", "[]", '{"architecture": "test_resnet", "pretrained_cfg": {"input_size": [3, 0, 48]}}'):
        refusals[text] = "config.json"
    for more, part in (("nonesuch", "nonesuch"), ("test_vit", "test_vit"), ("test_resnet", "checkpoint_path")):
        record = {"architecture": more, "pretrained_cfg": {"input_size": [3, 48, 48]}, "num_classes": 16}
        record |= {"model_args": {"checkpoint_path": "x"}} if more == "test_resnet" else {}
        refusals[json.dumps(record)] = part
    for text, part in refusals.items():
        if text != "pickle":
            shutil.copy(folder / "kept", weights)
            (folder / "config.json").write_text(text)
        with pytest.raises(reprogram.ConfigError) as error:
            reprogram.load_host(f"local-dir:{folder}")
        one_line(error, part)
    with pytest.raises(reprogram.HostUnavailableError) as error:
        reprogram.load_host("local-dir:/nowhere")
    one_line(error, "/nowhere", "timm's format")


def test_a_normalisation_of_bytes_is_one_of_unit_pixels(net, pixels, tmp_path):
    """As the preprocessors of OpenMMLab save it: on pixels from 0 to 255, in float64 by hand."""
    mean, std = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
    state = {f"backbone.{key}": value for key, value in net.state_dict().items()}
    state |= {
        "data_preprocessor.mean": torch.tensor(mean).view(3, 1, 1),
        "data_preprocessor.std": torch.tensor(std).view(3, 1, 1),
    }
    save_file(state, tmp_path / "w.safetensors")
    with torch.no_grad():
        given = (255 * pixels.double() - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
        expected = net(given.float())
        torch.testing.assert_close(load(tmp_path / "w.safetensors")(pixels), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.bool, torch.int32])
def test_whole_numbers_are_no_weights(net, tmp_path, one_line, dtype):
    state = {key: (value * 50).to(dtype) if value.ndim == 4 else value for key, value in net.state_dict().items()}
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(reprogram.ConfigError) as error:
        load(tmp_path / "w.safetensors")
    one_line(error, "w.safetensors", str(dtype).removeprefix("torch."), "quantised")


def test_half_precision_weights_are_taken(net, pixels, tmp_path):
    save_file({key: value.half() for key, value in net.state_dict().items()}, tmp_path / "w.safetensors")
    with torch.no_grad():
        host = load(tmp_path / "w.safetensors", "&mean=0.5,0.4,0.3&std=0.2,0.2,0.2")
        expected = scores(net, pixels, (0.5, 0.4, 0.3), (0.2, 0.2, 0.2))
        torch.testing.assert_close(host(pixels), expected, rtol=0.02, atol=0.02)
