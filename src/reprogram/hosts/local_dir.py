"""A folder in timm's format, config.json and model.safetensors: `local-dir:PATH`."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from reprogram.errors import ConfigError, HostUnavailableError
from reprogram.hosts._imagenet import class_names
from reprogram.hosts._info import MAX_COUNT, NO_LICENCE, HostInfo, check_sizes, in_units
from reprogram.hosts._naming import check_kwargs, host_id, one_line, untrained_id
from reprogram.hosts._weights import load_weights, read_safetensors
from reprogram.hosts.base import Host, HostSource
from reprogram.utils.seeding import seeded


class LocalDir(HostSource):
    """A timm model in the folder that `timm.models.save_for_hf` writes and the Hugging Face hub holds.

    `config.json` names the architecture, its arguments, the preprocessing and the labels. The weights are read from
    `model.safetensors` alone; a folder with a pickle only is refused.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            path: of the folder.
            size: input height and width in pixels; 0 takes the folder's own.
        """

        path: str
        size: int = 0

        def __post_init__(self) -> None:
            check_sizes(size=self.size)

    @classmethod
    def example(cls) -> Config:
        """A folder that tests write first."""
        return cls.Config(path="example-timm")

    @classmethod
    def needs(cls, config: Config) -> list[Path]:
        """The model's folder."""
        return [Path(config.path)]

    def build(self, *, download: bool = False) -> Host:
        """Build the architecture and load the folder's weights."""
        folder, record = Path(self.config.path), self._record()
        info, net = self._info(record), self._create(record, 0)
        if not (folder / "model.safetensors").is_file() and (folder / "pytorch_model.bin").is_file():
            read_safetensors(folder / "pytorch_model.bin")  # This refuses it, and says how to convert it.
        weights = read_safetensors(folder / "model.safetensors")
        load_weights(
            net, weights, channels=info.channels, where=f"{folder}: the weights don't fit {record['architecture']}"
        )
        return Host(net, info, untrained=self.untrained)

    def info(self) -> HostInfo:
        """The host's record, from config.json."""
        return self._info(self._record())

    def spec(self) -> str:
        """The spec `local-dir:FOLDER`, with the folder's name instead of its path."""
        return host_id("local-dir", Path(self.config.path).name, self.config, skip="path")

    def nameable(self) -> bool:
        """False: this source opens files."""
        return False

    def untrained(self, seed: int) -> Host:
        """The same architecture with random weights; only config.json is read."""
        record = self._record()
        info = replace(self._info(record), id=untrained_id(self.spec(), seed), class_names=None, licence=NO_LICENCE)
        return Host(self._create(record, seed), info, untrained=self.untrained)

    def _record(self) -> dict[str, Any]:
        """The contents of config.json, the preprocessing always in `pretrained_cfg`, as newer versions write it."""
        path = Path(self.config.path) / "config.json"
        try:
            record: Any = json.loads(path.read_text(encoding="utf-8-sig"))
        except OSError:
            raise HostUnavailableError(f"{path}: can't be read; local-dir takes a folder in timm's format") from None
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{path}: no JSON ({one_line(error)})") from None
        if not isinstance(record, dict) or not isinstance(record.get("architecture"), str):
            raise ConfigError(f"{path}: names no timm architecture; for a Hugging Face model take hf:{path.parent}")
        complete: dict[str, Any] = {**record, "pretrained_cfg": record.get("pretrained_cfg", record)}
        _check(path, complete, TOP)
        _check(path, complete["pretrained_cfg"], PREPROCESSING)
        size = complete["pretrained_cfg"].get("input_size")
        if not (isinstance(size, list) and len(size) == 3 and all(_is_count(n) and n > 0 for n in size)):
            raise ConfigError(f"{path}: input_size is {str(size)[:60]}; channels, height and width are expected")
        return complete

    def _create(self, record: dict[str, Any], seed: int) -> nn.Module:
        """Have timm build the network; random weights depend on the seed alone."""
        import timm

        preprocessing = record["pretrained_cfg"]
        arguments = dict(record.get("model_args") or {})
        check_kwargs(arguments, f"{self.config.path}: config.json: model_args")
        arguments |= {"num_classes": self._num_classes(record), "in_chans": preprocessing["input_size"][0]}
        if self.config.size and preprocessing.get("fixed_input_size"):
            arguments["img_size"] = self.config.size
        if not timm.is_model(record["architecture"]):
            raise ConfigError(f"{self.config.path}: timm knows no architecture {record['architecture']!r}")
        with seeded(seed):
            try:
                net: nn.Module = timm.create_model(record["architecture"], pretrained=False, **arguments)
            except Exception as error:  # timm's models raise whatever their arguments make them raise.
                raise ConfigError(f"{self.config.path}: {one_line(error)}") from error
        return net

    def _num_classes(self, record: dict[str, Any]) -> int:
        number = int(record.get("num_classes") or record["pretrained_cfg"].get("num_classes") or 0)
        if number < 1:
            raise ConfigError(f"{self.config.path}: config.json: num_classes is {number}; a classifier has 1 at least")
        if number > MAX_COUNT:
            raise ConfigError(
                f"{self.config.path}: config.json: num_classes is {number}; at most {MAX_COUNT} are taken"
            )
        return number

    def _info(self, record: dict[str, Any]) -> HostInfo:
        preprocessing, num_classes = record["pretrained_cfg"], self._num_classes(record)
        channels, height, width = preprocessing["input_size"]
        mean, std = (_per_channel(preprocessing.get(key), channels) for key in ("mean", "std"))
        mean, std = in_units(mean, std)
        crop = preprocessing.get("crop_pct")
        names = record.get("label_names") or preprocessing.get("label_names")
        if isinstance(names, list):  # Short labels such as n01440764; their descriptions stand beside them.
            descriptions = record.get("label_descriptions") or preprocessing.get("label_descriptions") or {}
            names = [descriptions.get(name, name) for name in names]
        else:
            names = class_names() if num_classes == 1000 else None
        return HostInfo(
            id=self.spec(),
            num_classes=num_classes,
            size=(self.config.size, self.config.size) if self.config.size else (height, width),
            channels=channels,
            mean=mean,
            std=std,
            interpolation=preprocessing.get("interpolation") or "bilinear",
            crop=min(1.0, crop) if crop is not None else 0.875,  # What lies beyond the image isn't made up.
            class_names=tuple(map(str, names)) if names is not None else None,
            licence=preprocessing.get("license") or "unknown",
        )


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    finite = isinstance(value, int | float) and abs(value) <= sys.float_info.max  # Whole numbers may be any size.
    return finite and not isinstance(value, bool)


def _are_numbers(value: Any) -> bool:
    return _is_number(value) or (isinstance(value, list) and all(map(_is_number, value)))


def _is_record(value: Any) -> bool:
    return isinstance(value, dict)


def _is_part(value: Any) -> bool:
    return _is_number(value) and 0 < value <= 2  # timm enlarges some photographs, and shows what lies beyond them.


def _describes(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str | int) for item in value)


Check = tuple[Callable[[Any], bool], str]
LABELS: dict[str, Check] = {
    "num_classes": (_is_count, "a whole number"),
    "label_names": (_are_texts, "a list of names"),
    "label_descriptions": (_describes, "a record of texts"),
}
TOP: dict[str, Check] = LABELS | {
    "pretrained_cfg": (_is_record, "a record"),
    "model_args": (_is_record, "a record"),
}
PREPROCESSING: dict[str, Check] = LABELS | {
    "mean": (_are_numbers, "a list of numbers"),
    "std": (_are_numbers, "a list of numbers"),
    "crop_pct": (_is_part, "a part of the image, such as 0.9,"),
    "interpolation": (_is_text, "text"),
    "license": (_is_text, "text"),
}
"""What config.json may hold under a key, beside null, with a test of it; only `pretrained_cfg` is never null."""


def _check(path: Path, record: dict[str, Any], expected: dict[str, Check]) -> None:
    """Refuse values of the wrong JSON type, by their keys."""
    for key, (fits, kind) in expected.items():
        value = record.get(key)
        if not fits(value) and (value is not None or key == "pretrained_cfg"):
            raise ConfigError(f"{path}: {key} is {str(value)[:60]}; {kind} is expected")


def _per_channel(value: Any, channels: int) -> tuple[float, ...]:
    """A mean or std of each channel; one number stands for all, as timm takes it."""
    values = [0.5] if value in (None, []) else value if isinstance(value, list) else [value]
    return tuple(map(float, values * channels if len(values) == 1 else values))
