"""A Hugging Face image classifier, from a folder or by its hub name: `hf:FOLDER`, `hf:microsoft/resnet-50`."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from reprogram.errors import ConfigError, HostUnavailableError
from reprogram.hosts._info import NO_LICENCE, HostInfo
from reprogram.hosts._naming import host_id, hub, one_line
from reprogram.hosts._processors import Preprocessing, measure
from reprogram.hosts._weights import read_safetensors
from reprogram.hosts.base import Host, HostSource
from reprogram.utils.seeding import seeded


class Hf(HostSource):
    """A model of `AutoModelForImageClassification`, with the preprocessing of its image processor.

    The processor of the folder's preprocessor_config.json is asked what it does; one that does other than resizing,
    cropping, a linear normalisation and an exchange of red and blue is refused.

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
                record.return_dict = True  # A file may ask for tuples.
                processor = transformers.AutoImageProcessor.from_pretrained(config.model, trust_remote_code=False)
                auto, loaded = transformers.AutoModelForImageClassification, {}
                if config.pretrained:
                    options = {"config": record, "use_safetensors": True, "output_loading_info": True}
                    options |= {"ignore_mismatched_sizes": True}  # They are refused below, by their names.
                    model, loaded = auto.from_pretrained(config.model, trust_remote_code=False, **options)
                else:
                    model = auto.from_config(record, trust_remote_code=False)
            except Exception as error:  # transformers raises whatever its readers meet.
                raise HostUnavailableError(
                    f"hf:{config.model}: can't be loaded ({one_line(error)}); give a folder with config.json, "
                    "preprocessor_config.json and model.safetensors, or a hub name with --download"
                ) from None
        missing = sorted(str(key) for key in loaded.get("missing_keys", ()))
        others = sorted(str(key[0] if isinstance(key, tuple) else key) for key in loaded.get("mismatched_keys", ()))
        if missing or others:
            what, names = ("are missing", missing) if missing else ("have other shapes than in config.json", others)
            raise ConfigError(f"hf:{config.model}: weights {what} ({', '.join(names[:3])}); is it a classifier?")
        self._check_weights(transformers, model)
        steps = measure(processor, _channels(record), f"hf:{config.model}", getattr(record, "image_size", None))
        return Host(Logits(model.float(), steps.reverse), self._info(record, steps), untrained=self.untrained)

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

    def _check_weights(self, transformers: Any, model: nn.Module) -> None:
        """Refuse whole numbers among the weights, which are a quantised model's without its scales."""
        from safetensors import safe_open

        where, expected = f"hf:{self.config.model}", model.state_dict()
        for path in _weights_files(transformers, self.config.model) if self.config.pretrained else ():
            with safe_open(path, "pt") as file:
                for name in set(file.keys()) & set(expected):
                    kind = file.get_slice(name).get_dtype()
                    if expected[name].is_floating_point() and "F" not in kind:
                        raise ConfigError(f"{where}: weight {name!r} is {kind}, as of a quantised model; give others")

    def _info(self, record: Any, steps: Preprocessing) -> HostInfo:
        config = self.config
        names = _label_names(record, f"hf:{config.model}")
        generic = names == [f"LABEL_{index}" for index in range(len(names))]
        return HostInfo(
            id=self.spec(),
            num_classes=len(names),
            size=steps.size,
            channels=len(steps.mean),
            mean=steps.mean,
            std=steps.std,
            interpolation=steps.interpolation,
            crop=steps.crop,
            class_names=tuple(names) if config.pretrained and not generic else None,
            licence=config.licence if config.pretrained else NO_LICENCE,
        )


def _channels(record: Any) -> int:
    channels = getattr(record, "num_channels", 3)
    return channels if isinstance(channels, int) else 3


def _label_names(record: Any, where: str) -> list[str]:
    """The names of the labels 0 to K - 1."""
    labels = record.id2label
    if not isinstance(labels, dict) or sorted(labels, key=str) != sorted(range(len(labels)), key=str):
        raise ConfigError(f"{where}: config.json: id2label has the keys {str(list(labels))[:60]}, not 0 to K - 1")
    return [str(labels[index]) for index in range(len(labels))]


def _weights_files(transformers: Any, model: str) -> list[Path]:
    """The files that the weights were read from."""
    options = {"_raise_exceptions_for_missing_entries": False, "_raise_exceptions_for_connection_errors": False}
    single = transformers.utils.cached_file(model, "model.safetensors", **options)
    if single:
        return [Path(single)]
    index = transformers.utils.cached_file(model, "model.safetensors.index.json", **options)
    parts = set(json.loads(Path(index).read_text("utf-8"))["weight_map"].values()) if index else set()
    return [Path(index).parent / part for part in sorted(parts)]


class Logits(nn.Module):
    """A classifier whose output is the tensor of its scores.

    Args:
        model: a classifier whose output is a record with `logits`.
        reverse: whether the model takes the channels in reverse order.
    """

    def __init__(self, model: nn.Module, reverse: bool = False) -> None:
        super().__init__()
        self.model = model
        self.reverse = reverse

    def forward(self, pixels: Tensor) -> Tensor:
        """The model's scores.

        Args:
            pixels: b x C x H x W, normalised.

        Returns:
            b x K.
        """
        # b x C x H x W, blue first where the model wants it
        scores: Tensor = self.model(pixel_values=pixels.flip(1) if self.reverse else pixels).logits
        return scores


def _package() -> Any:
    try:
        import transformers
    except ImportError:
        raise HostUnavailableError(
            "hf: the package transformers isn't installed; pip install 'reprogram[hf]'"
        ) from None
    return transformers
