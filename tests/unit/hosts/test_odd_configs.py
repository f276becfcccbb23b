"""Odd but real configurations of hosts: values of the wrong JSON type, and sizes that a model can't take."""

import json

import pytest
import timm
import torch

import reprogram
from helpers import seeded


@pytest.fixture
def folder(tmp_path):
    net = seeded(lambda: timm.create_model("test_resnet", num_classes=4)).eval()
    timm.models.save_for_hf(net, tmp_path / "mine", model_config={"num_classes": 4}, safe_serialization=True)
    return tmp_path / "mine"


def changed(folder, key, value):
    """The folder's config.json with one value, at the top or in `pretrained_cfg`."""
    path = folder / "config.json"
    record = json.loads(path.read_text())
    if key in ("pretrained_cfg", "model_args", "num_classes", "label_names", "label_descriptions", "architecture"):
        record[key] = value
    else:
        record["pretrained_cfg"][key] = value
    path.write_text(json.dumps(record))
    return reprogram.load_host(f"local-dir:{folder}")


KEYS = [
    *("pretrained_cfg", "model_args", "num_classes", "label_names", "label_descriptions", "architecture"),
    *("mean", "std", "crop_pct", "interpolation", "license", "input_size"),
]


@pytest.mark.parametrize("value", [None, True, -1, 0.5, "x", [], [1], {}, {"a": 1}, [None] * 3, float("nan")])
@pytest.mark.parametrize("key", KEYS)
def test_a_value_of_any_type_is_taken_or_refused_by_its_key(key, value, folder, one_line):
    try:
        changed(folder, key, value)
    except reprogram.errors.ReprogramError as error:
        assert "\n" not in str(error) and ("mine" in str(error))


@pytest.mark.parametrize(
    "key,value",
    [
        *(("pretrained_cfg", None), ("mean", "x"), ("crop_pct", "0.9"), ("std", [None]), ("crop_pct", 95)),
        *(("crop_pct", 0), ("mean", [10**400] * 3), ("num_classes", 10**9), ("label_descriptions", {"a": 5})),
        *(("model_args", {"device": "meta"}), ("model_args", {"pretrained": True})),
    ],
)
def test_the_key_is_named(key, value, folder, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        changed(folder, key, value)
    one_line(error, "config.json", key)


def test_one_number_stands_for_all_channels(folder):
    """As timm's own `Normalize` takes it."""
    assert changed(folder, "mean", 0.5).info.mean == (0.5,) * 3


def test_a_normalisation_of_bytes_is_divided(folder):
    with pytest.raises(reprogram.ConfigError, match="one is of pixels from 0 to 255"):
        changed(folder, "std", [51.0, 51.0, 51.0])
    info = changed(folder, "mean", [127.5, 102.0, 51.0]).info
    assert info.mean == pytest.approx((0.5, 0.4, 0.2)) and info.std == pytest.approx((0.2,) * 3)


@pytest.mark.parametrize(
    "spec",
    [
        "timm:test_vit?pretrained=0&size=50",
        "timm:test_vit?pretrained=0&size=1",
        "timm:test_resnet?pretrained=0&kwargs={'block_args':3}",
        "torchvision:vit_b_32?pretrained=0&size=50",
        "torchvision:squeezenet1_1?pretrained=0&size=8",
    ],
)
def test_what_a_model_can_not_take_is_refused_while_loading(spec, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        reprogram.load_host(spec)
    one_line(error, spec.partition("?")[0])


def test_an_ordinary_folder_is_loaded(folder):
    host = reprogram.load_host(f"local-dir:{folder}")
    assert host(torch.rand(2, *host.info.shape)).shape == (2, 4)


def test_a_byte_order_mark_is_read(folder):
    path = folder / "config.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert reprogram.load_host(f"local-dir:{folder}").info.num_classes == 4


def test_an_input_that_no_memory_holds_is_refused(folder, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        changed(folder, "input_size", [3, 200_000, 200_000])
    one_line(error, "mine", "200000", "4096")


@pytest.mark.parametrize("name", ["hf-hub:somebody/model", "hf_hub:somebody/model", "local-dir:/tmp"])
def test_no_name_of_timm_leads_to_the_hub_or_to_a_folder(name, folder, no_network, one_line):
    weights = folder / "model.safetensors"
    for spec in (f"timm:{name}", f"checkpoint(path={str(weights)!r}, architecture='timm:{name}')"):
        with pytest.raises(reprogram.ConfigError) as error:
            reprogram.load_host(spec)
        one_line(error, "no timm model", name)
