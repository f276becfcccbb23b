"""Weights from a `.safetensors` file in a timm or torchvision model: `checkpoint:FILE?architecture=timm:resnet18`."""

from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from reprogram.errors import ConfigError
from reprogram.hosts._imagenet import class_names
from reprogram.hosts._info import NO_LICENCE, HostInfo, check_sizes, in_units
from reprogram.hosts._naming import check_kwargs, untrained_id
from reprogram.hosts._weights import load_weights, read_safetensors
from reprogram.hosts.base import Host, HostSource
from reprogram.registry import configure
from reprogram.utils.messages import nearest
from reprogram.utils.spec import parse

SAFE = ":,/()[]{}.=?' "
"""The characters that a spec holds unescaped."""


class Checkpoint(HostSource):
    """A weights file; the options state the architecture that it belongs to and the preprocessing of images.

    Robust checkpoints, of RobustBench for one, are such files: prefixes of names (`module.`, `model.`), a second copy
    of the weights, and a normalisation that was saved with them are understood. Pickles (`.pt`, `.pth`) aren't read:
    `reprogram convert OLD.pt NEW.safetensors` turns one that you trust into a file that runs nothing.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            path: of the `.safetensors` file.
            architecture: a `timm:` or `torchvision:` spec, such as `timm:mobilenetv2_100(kwargs={'pad_type':'same'})`.
            size: input height and width in pixels; 0 takes the architecture's own.
            num_classes: 0 takes the architecture's own.
            in_chans: input channels; 0 takes the architecture's own. Only timm's architectures take others than 3.
            mean: of the normalisation, one value per channel; empty takes the architecture's own.
            std: of the normalisation, one value per channel; empty takes the architecture's own.
            interpolation: for photographs; empty takes the architecture's own.
            crop: the central part of a photograph's shorter side; 0 takes the architecture's own.
            licence: of the weights.
            kwargs: further arguments of the architecture, numbers and text only.
        """

        path: str
        architecture: str = ""
        size: int = 0
        num_classes: int = 0
        in_chans: int = 0
        mean: tuple[float, ...] = ()
        std: tuple[float, ...] = ()
        interpolation: str = ""
        crop: float = 0.0
        licence: str = "unknown"
        kwargs: dict[str, bool | int | float | str] = field(default_factory=dict)

        def __post_init__(self) -> None:
            check_kwargs(self.kwargs)
            check_sizes(size=self.size, num_classes=self.num_classes, in_chans=self.in_chans)
            if not 0 <= self.crop <= 1:
                raise ConfigError(f"crop={self.crop}; a part in (0, 1], or 0 for the architecture's own")

    @classmethod
    def example(cls) -> Config:
        """A file that tests write first."""
        return cls.Config(path="example.safetensors", architecture="timm:test_resnet(num_classes=16, size=48)")

    @classmethod
    def needs(cls, config: Config) -> list[Path]:
        """The weights file."""
        return [Path(config.path)]

    def build(self, *, download: bool = False) -> Host:
        """Build the architecture and load the file; a normalisation in the file counts unless one is stated."""
        source = self._source()
        info, net = self._info(source), source.create(0)
        where = f"{self.config.path}: doesn't fit {self.config.architecture}"
        normalisation = load_weights(net, read_safetensors(Path(self.config.path)), channels=info.channels, where=where)
        if normalisation and not (self.config.mean or self.config.std):
            mean, std = in_units(*normalisation)
            info = replace(info, mean=mean, std=std)
        return Host(net, info, untrained=self.untrained)

    def info(self) -> HostInfo:
        """The host's record; a normalisation in the file isn't known yet."""
        return self._info(self._source())

    def spec(self) -> str:
        """The spec `checkpoint:FILE?...`, with the file's name instead of its path."""
        config = self.config
        options = [f"architecture={quote(config.architecture, safe=SAFE)}"]
        for item in fields(config)[2:]:
            value = getattr(config, item.name)
            if value != (item.default if item.default is not MISSING else {}):
                text = str(value)
                if isinstance(value, tuple):  # One number alone needs its comma to be a list.
                    text = ",".join(map(str, value)) + ("," if len(value) == 1 else "")
                options.append(f"{item.name}={quote(text, safe=SAFE)}")
        return f"checkpoint:{Path(config.path).name}?{'&'.join(options)}"

    def nameable(self) -> bool:
        """False: this source opens a file."""
        return False

    def untrained(self, seed: int) -> Host:
        """The architecture with random weights and this source's preprocessing; the file isn't needed."""
        source = self._source()
        info = replace(
            self._info(source),
            id=untrained_id(self.spec(), seed),
            class_names=None,
            licence=NO_LICENCE,
        )
        return Host(source.create(seed), info, untrained=self.untrained)

    def _source(self) -> Any:
        text = self.config.architecture
        if not text:
            raise ConfigError(
                f"checkpoint:{self.config.path}: say what to build: ?architecture=timm:NAME or torchvision:NAME"
            )
        name = parse(text).name
        if name not in ("timm", "torchvision"):
            raise ConfigError(f"checkpoint: architecture {text!r}; {nearest(name, ['timm', 'torchvision'])}")
        variant, config = configure("hosts", text)
        options: dict[str, Any] = {"pretrained": False}
        if self.config.kwargs:
            options["kwargs"] = {**config.kwargs, **self.config.kwargs}
        options |= {key: value for key in ("size", "num_classes", "in_chans") if (value := getattr(self.config, key))}
        if name == "torchvision" and options.pop("in_chans", 3) != 3:
            raise ConfigError(f"checkpoint: in_chans={self.config.in_chans} needs architecture=timm:NAME")
        return variant(replace(config, **options))

    def _info(self, source: Any) -> HostInfo:
        config, info = self.config, source.info()
        stated = {key: value for key in ("mean", "std", "interpolation", "crop") if (value := getattr(config, key))}
        record: HostInfo = replace(
            info,
            **stated,
            id=self.spec(),
            class_names=class_names() if info.num_classes == 1000 else None,
            licence=config.licence,
        )
        return record
