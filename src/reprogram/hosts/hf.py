"""A Hugging Face image classifier, from a folder or by its hub name: `hf:FOLDER`, `hf:microsoft/resnet-50`."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from reprogram.errors import ConfigError, HostUnavailableError
from reprogram.hosts._info import NO_LICENCE, HostInfo
from reprogram.hosts._naming import host_id, hub, one_line
from reprogram.hosts._weights import read_safetensors
from reprogram.hosts.base import Host, HostSource
from reprogram.utils.seeding import seeded

RESAMPLE = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
"""Pillow's numbers of resampling filters, by which preprocessor_config.json names an interpolation."""


class Hf(HostSource):
    """A model of `AutoModelForImageClassification`, with the preprocessing of preprocessor_config.json.

    Weights are read from safetensors alone, and no code of a repository is run. A hub name is looked up in the cache,
    online only with `--download`. Needs `pip install 'reprogram[hf]'`.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            model: a folder as `save_pretrained` writes it, or a hub name.
            pretrained: whether to load trained weights; otherwise they are random, from `seed`.
            seed: of random weights.
            licence: of the weights.
        """

        model: str
        pretrained: bool = True
        seed: int = 0
        licence: str = "unknown"

    @classmethod
    def example(cls) -> Config:
        """A folder that tests write first."""
        return cls.Config(model="example-hf")

    def build(self, *, download: bool = False) -> Host:
        """Build the model, with weights from the folder, the cache, or the hub where that is allowed."""
        config, transformers = self.config, _package()
        transformers.utils.logging.disable_progress_bar()
        if (Path(config.model) / "pytorch_model.bin").is_file() and not list(Path(config.model).glob("*.safetensors")):
            read_safetensors(Path(config.model) / "pytorch_model.bin")  # This refuses it, and says how to convert it.
        with hub(download=download), seeded(config.seed):
            try:
                record = transformers.AutoConfig.from_pretrained(config.model, trust_remote_code=False)
                preprocessing = json.loads(
                    Path(transformers.utils.cached_file(config.model, "preprocessor_config.json")).read_text("utf-8")
                )
                auto, loaded = transformers.AutoModelForImageClassification, {}
                if config.pretrained:
                    options = {"config": record, "use_safetensors": True, "output_loading_info": True}
                    model, loaded = auto.from_pretrained(config.model, trust_remote_code=False, **options)
                else:
                    model = auto.from_config(record, trust_remote_code=False)
            except (OSError, ValueError, TypeError, RuntimeError, ImportError) as error:
                raise HostUnavailableError(
                    f"hf:{config.model}: can't be loaded ({one_line(error)}); give a folder with config.json, "
                    "preprocessor_config.json and model.safetensors, or a hub name with --download"
                ) from None
        wrong = [str(key) for kind in ("missing_keys", "mismatched_keys") for key in loaded.get(kind, ())]
        if wrong:
            raise ConfigError(f"hf:{config.model}: weights are missing ({', '.join(wrong[:3])}); is it a classifier?")
        return Host(Logits(model.float()), self._info(record, preprocessing), untrained=self.untrained)

    def spec(self) -> str:
        """The spec `hf:NAME?...`; a folder is named without its path."""
        local = Path(self.config.model)
        return host_id("hf", local.name if local.is_dir() else self.config.model, self.config, skip="model")

    def nameable(self) -> bool:
        """Whether the name is no file or folder of this machine."""
        return not Path(self.config.model).exists()

    def untrained(self, seed: int) -> Host:
        """The same architecture with random weights; the trained ones aren't read."""
        return Hf(replace(self.config, pretrained=False, seed=seed)).build()

    def _info(self, record: Any, preprocessing: dict[str, Any]) -> HostInfo:
        config, channels = self.config, int(getattr(record, "num_channels", 3))
        size, crop = _size(preprocessing, getattr(record, "image_size", None), config.model)
        mean, std = _normalisation(preprocessing, channels)
        names = [str(record.id2label[index]) for index in range(record.num_labels)]
        generic = names == [f"LABEL_{index}" for index in range(len(names))]
        return HostInfo(
            id=self.spec(),
            num_classes=record.num_labels,
            size=size,
            channels=channels,
            mean=mean,
            std=std,
            interpolation=RESAMPLE.get(preprocessing.get("resample", 2), "bilinear"),
            crop=crop,
            class_names=tuple(names) if config.pretrained and not generic else None,
            licence=config.licence if config.pretrained else NO_LICENCE,
        )


class Logits(nn.Module):
    """A classifier whose output is the tensor of its scores.

    Args:
        model: a classifier whose output is a record with `logits`.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        """The model's scores.

        Args:
            pixels: b x C x H x W, normalised.

        Returns:
            b x K.
        """
        scores: Tensor = self.model(pixel_values=pixels).logits
        return scores


def _size(preprocessing: dict[str, Any], fallback: Any, where: str) -> tuple[tuple[int, int], float]:
    """Height and width of the input, and the part of a photograph's shorter side that the crop keeps."""
    whole = _pair(preprocessing.get("size") or fallback)
    crop = _pair(preprocessing.get("crop_size")) if preprocessing.get("do_center_crop") else whole
    if whole is None or crop is None:
        raise ConfigError(f"hf:{where}: preprocessor_config.json and config.json state no image size")
    if crop == whole:
        share = preprocessing.get("crop_pct") or 1.0
        return whole, 1.0 if min(whole) >= 384 else share  # ConvNeXt's rule: larger images are shown whole.
    return crop, min(1.0, min(crop) / min(whole))


def _pair(size: Any) -> tuple[int, int] | None:
    if isinstance(size, dict):
        size = [size.get("height", size.get("shortest_edge")), size.get("width", size.get("shortest_edge"))]
    elif isinstance(size, int):
        size = [size, size]
    valid = isinstance(size, (list, tuple)) and len(size) == 2 and all(isinstance(n, int) and n > 0 for n in size)
    return (size[0], size[1]) if valid else None


def _normalisation(preprocessing: dict[str, Any], channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation for [0, 1] pixels, of a processor that scales [0, 255] pixels by a factor of its own.

    (255 p · factor - offset - mean) / std = (p - (mean + offset) / (255 factor)) / (std / (255 factor)).
    """
    rescale = preprocessing.get("do_rescale", True)
    # 255 factor
    scale = 255 * (preprocessing.get("rescale_factor") or 1 / 255) if rescale else 255.0
    offset = 1.0 if rescale and preprocessing.get("rescale_offset") else 0.0
    zero, one = [0.0] * channels, [1.0] * channels
    normalise = preprocessing.get("do_normalize", True)
    mean = (preprocessing.get("image_mean") or zero) if normalise else zero
    std = (preprocessing.get("image_std") or one) if normalise else one
    # (mean + offset) / (255 factor) and std / (255 factor), a channel
    return tuple((value + offset) / scale for value in mean), tuple(value / scale for value in std)


def _package() -> Any:
    try:
        import transformers
    except ImportError:
        raise HostUnavailableError(
            "hf: the package transformers isn't installed; pip install 'reprogram[hf]'"
        ) from None
    return transformers
