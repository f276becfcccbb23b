"""Every image processor of transformers for classification: scores are those of `AutoImageProcessor` and the model.

The oracle is transformers itself, on images of bytes; numbers that were taken from it stand beside.
"""

import json

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES

import reprogram
from helpers import tiny_hf

pytestmark = pytest.mark.usefixtures("no_network")

CLASSES = sorted(
    {
        name
        for model in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES
        for name in (IMAGE_PROCESSOR_MAPPING_NAMES.get(model) or {}).values()
        if name and not name.endswith("Pil") and name != "TimmWrapperImageProcessor"
    }
)
REFUSED = {"Donut": "do_pad", "ImageGPT": "do_color_quantize", "Siglip2": "Siglip2", "MobileViT": "do_center_crop"}
"""What these do by default, a host can't."""

SPATIAL = ("do_resize", "do_center_crop", "do_pad", "do_crop")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("hf") / "mine"
    tiny_hf(path)
    return path


def loaded(folder, record, **model):
    (folder / "preprocessor_config.json").write_text(json.dumps(record))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | model))
    return reprogram.load_host(f"hf:{folder}")


def assert_equal_to_transformers(host, folder):
    """Noise of the host's own size, without resizing; and images of one colour, by all steps."""
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    model = transformers.AutoModelForImageClassification.from_pretrained(folder).eval()
    generator = np.random.default_rng(1)
    noise = generator.integers(0, 256, (*host.info.size, 3), dtype=np.uint8)
    plain = np.broadcast_to(np.array([200, 30, 90], np.uint8), (*host.info.size, 3)).copy()
    off = {name: False for name in SPATIAL if hasattr(processor, name)}
    for image, options in ((noise, off), (plain, {})):
        pixels = processor(images=Image.fromarray(image), return_tensors="pt", **options)["pixel_values"]
        assert pixels.shape[2:] == host.info.size
        with torch.no_grad():
            wanted = model(pixel_values=pixels).logits
            found = host(torch.from_numpy(image).permute(2, 0, 1)[None] / 255)
        assert float((found - wanted).norm() / wanted.norm()) < 1e-3


@pytest.mark.parametrize("name", CLASSES)
def test_the_defaults_of_every_class(name, folder, one_line):
    record = {"image_processor_type": name}
    kind = name.removesuffix("ImageProcessor")
    if kind in REFUSED:
        with pytest.raises(reprogram.ConfigError) as error:
            loaded(folder, record)
        one_line(error, "preprocessor_config.json", REFUSED[kind])
        return
    host = loaded(folder, record)
    assert_equal_to_transformers(host, folder)


@pytest.mark.parametrize("flag", ["do_normalize", "do_rescale", "do_convert_rgb", "do_resize", "do_center_crop"])
@pytest.mark.parametrize("name", ["ViTImageProcessor", "EfficientNetImageProcessor", "PPLCNetImageProcessor"])
def test_every_step_on_and_off(name, flag, folder):
    for value in (True, False):
        sizes = {"size": {"height": 40, "width": 40}, "crop_size": {"height": 32, "width": 32}}
        record = {"image_processor_type": name, **sizes, flag: value}
        assert_equal_to_transformers(loaded(folder, record, image_size=32), folder)


@pytest.mark.parametrize(
    "record",
    [
        {"rescale_factor": 1 / 127.5, "rescale_offset": True, "image_processor_type": "EfficientNetImageProcessor"},
        {"include_top": False, "image_processor_type": "EfficientNetImageProcessor"},
        {"include_top": True, "image_std": [0.2, 0.3, 0.4], "image_processor_type": "EfficientNetImageProcessor"},
        {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.4, 0.5, 0.6], "image_processor_type": "ViTImageProcessor"},
        {"image_mean": 0.25, "image_std": 0.5, "image_processor_type": "ViTImageProcessor"},
        {"do_rescale": False, "image_mean": [120, 110, 100], "image_processor_type": "ViTImageProcessor"},
        {
            "size": {"shortest_edge": 40},
            "crop_size": {"height": 32, "width": 32},
            "image_processor_type": "MobileViTImageProcessor",
        },
        {
            "do_flip_channel_order": False,
            "size": {"shortest_edge": 40},
            "crop_size": {"height": 32, "width": 32},
            "image_processor_type": "MobileViTImageProcessor",
        },
        {"feature_extractor_type": "ViTFeatureExtractor", "size": 32},
        {"size": {"height": 32, "width": 32}, "image_processor_type": "ViTImageProcessor"},
    ],
)
def test_every_value(record, folder):
    assert_equal_to_transformers(loaded(folder, {"size": {"height": 32, "width": 32}} | record), folder)


CONVNEXT = {"image_processor_type": "ConvNextImageProcessor"}


@pytest.mark.parametrize(
    "record,size,crop,interpolation",
    [
        ({"size": 224}, (224, 224), 1.0, "bilinear"),
        ({"size": {"height": 30, "width": 40}, "resample": 3}, (30, 40), 1.0, "bicubic"),
        (
            CONVNEXT | {"size": {"shortest_edge": 224}},
            (224, 224),
            0.875,
            "bicubic",
        ),
        (
            CONVNEXT | {"size": {"shortest_edge": 384}},
            (384, 384),
            1.0,
            "bicubic",
        ),
        ({"image_processor_type": "LevitImageProcessor"}, (224, 224), 0.875, "bicubic"),
        ({"image_processor_type": "DeiTImageProcessor"}, (224, 224), 0.875, "bicubic"),
        ({"image_processor_type": "PoolFormerImageProcessor"}, (224, 224), 224 / 248, "bicubic"),
        ({"do_resize": False}, (64, 64), 1.0, "bilinear"),
    ],
)
def test_sizes_and_crops(record, size, crop, interpolation, folder):
    host = loaded(folder, {"image_processor_type": "ViTImageProcessor"} | record, image_size=64)
    info = host.info
    assert (info.size, info.interpolation) == (size, interpolation) and info.crop == pytest.approx(crop, abs=1e-9)


def test_numbers_that_the_file_states_are_the_hosts_to_the_last_digit(folder):
    record = {"image_processor_type": "ViTImageProcessor", "image_mean": [0.485, 0.456, 0.406]}
    info = loaded(folder, record | {"image_std": [0.229, 0.224, 0.225]}).info
    assert (info.mean, info.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    info = loaded(folder, {"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}}).info
    assert (info.mean, info.std) == ((0.5,) * 3, (0.5,) * 3)
    assert loaded(folder, {"image_processor_type": "EfficientNetImageProcessor"}).info.std == pytest.approx((0.25,) * 3)


@pytest.mark.parametrize(
    "config,texts",
    [
        ({"id2label": {"1": "a", "2": "b", "3": "c", "4": "d", "5": "e"}}, ["id2label"]),
        ({"id2label": ["a", "b", "c", "d", "e"]}, ["hf:"]),
        ({"id2label": None}, ["hf:"]),
        ({"num_channels": "three"}, ["hf:"]),
        ({"num_labels": 3, "id2label": None}, ["classifier.1.weight", "other shapes than in config.json"]),
    ],
)
def test_odd_configurations_are_refused_in_one_line(config, texts, tmp_path, one_line):
    tiny_hf(tmp_path / "mine")
    with pytest.raises(reprogram.errors.ReprogramError) as error:
        loaded(tmp_path / "mine", {"image_processor_type": "ViTImageProcessor"}, **config)
    one_line(error, *texts)


def test_a_file_that_asks_for_tuples_gives_scores(tmp_path):
    tiny_hf(tmp_path / "mine")
    record = {"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}}
    assert loaded(tmp_path / "mine", record, return_dict=False)(torch.rand(2, 3, 32, 32)).shape == (2, 5)


def test_why_a_processor_fails_is_said(tmp_path, one_line):
    tiny_hf(tmp_path / "mine")
    with pytest.raises(reprogram.ConfigError) as error:
        loaded(tmp_path / "mine", {"image_processor_type": "ViTImageProcessor", "image_mean": [0.1, 0.2]})
    one_line(error, "do_normalize", "must match the size")


@pytest.mark.parametrize("record", [None, [], 5, {}, {"size": "big"}, {"image_processor_type": 3}, {"image_mean": "x"}])
def test_odd_processor_files_are_refused_in_one_line(record, tmp_path, one_line):
    tiny_hf(tmp_path / "mine")
    config = json.loads((tmp_path / "mine" / "config.json").read_text())
    (tmp_path / "mine" / "config.json").write_text(json.dumps(config | {"model_type": "resnet"}))
    given = {"image_processor_type": "ViTImageProcessor"} | record if isinstance(record, dict) and record else record
    try:
        loaded(tmp_path / "mine", given)
    except reprogram.errors.ReprogramError as error:
        assert "\n" not in str(error) and "hf:" in str(error)


def test_whole_numbers_are_no_weights(tmp_path, one_line):
    from safetensors.torch import load_file, save_file

    tiny_hf(tmp_path / "mine")
    path = tmp_path / "mine" / "model.safetensors"
    state = {name: (9 * value).to(torch.int8) if value.ndim == 4 else value for name, value in load_file(path).items()}
    save_file(state, path, {"format": "pt"})
    with pytest.raises(reprogram.errors.ReprogramError) as error:
        reprogram.load_host(f"hf:{tmp_path / 'mine'}")
    one_line(error, "hf:", "I8")
