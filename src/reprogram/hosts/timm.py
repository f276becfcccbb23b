"""Any classifier of timm: `timm:resnet50.a1_in1k`, or untrained with `?pretrained=0&seed=1`."""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from reprogram.errors import ConfigError, HostUnavailableError
from reprogram.hosts._imagenet import class_names
from reprogram.hosts._info import NO_LICENCE, HostInfo, check_sizes
from reprogram.hosts._naming import check_kwargs, one_line
from reprogram.hosts._zoo import ZooSource
from reprogram.hosts.base import Host
from reprogram.utils.messages import nearest
from reprogram.utils.seeding import seeded


class Timm(ZooSource):
    """Architectures, weights and preprocessing of timm (Wightman, 2019)."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            model: timm's name, with the weights' tag where one is wanted: `resnet50.a1_in1k`.
            pretrained: whether to load trained weights; otherwise they are random, from `seed`.
            seed: of random weights.
            size: input height and width in pixels; 0 takes the model's own.
            num_classes: of an untrained model; 0 takes the model's own.
            in_chans: input channels of an untrained model.
            kwargs: further arguments of the architecture, numbers and text only.
        """

        model: str
        pretrained: bool = True
        seed: int = 0
        size: int = 0
        num_classes: int = 0
        in_chans: int = 3
        kwargs: dict[str, bool | int | float | str] = field(default_factory=dict)

        def __post_init__(self) -> None:
            check_kwargs(self.kwargs)
            check_sizes(size=self.size, num_classes=self.num_classes, in_chans=self.in_chans)

    @classmethod
    def example(cls) -> Config:
        """A tiny untrained ResNet."""
        return cls.Config(model="test_resnet", pretrained=False, num_classes=16, size=48)

    def build(self, *, download: bool = False) -> Host:
        """Build the model, with weights from timm's cache, or downloaded where that is allowed."""
        info = self.info()
        overlay = {} if not self.config.pretrained else {"file": str(self._weights_file(download))}
        net = self.create(self.config.seed, pretrained=self.config.pretrained, overlay=overlay)
        return Host(net, info, untrained=self.untrained)

    @classmethod
    def catalogue(cls, pattern: str) -> list[str]:
        """The models of timm that have trained weights."""
        import timm

        return list(timm.list_models(pattern, pretrained=True))

    def create(self, seed: int, *, pretrained: bool = False, overlay: dict[str, Any] | None = None) -> nn.Module:
        """Have timm build the network.

        Args:
            seed: decides the random weights, alone.
            pretrained: whether timm loads trained weights.
            overlay: entries that replace those of timm's configuration of the weights, such as `file`.

        Returns:
            The network, on normalised pixels.

        Raises:
            ConfigError: timm can't build it.
        """
        import timm

        config = self.config
        self._check_name()  # timm itself takes addresses of the hub and folders for names.
        arguments: dict[str, Any] = dict(config.kwargs)
        if config.num_classes:
            arguments["num_classes"] = config.num_classes
        if config.in_chans != 3:
            arguments["in_chans"] = config.in_chans
        if config.size and self._default()["fixed_input_size"]:
            arguments["img_size"] = config.size
        with seeded(seed):
            try:
                net: nn.Module = timm.create_model(
                    config.model, pretrained=pretrained, pretrained_cfg_overlay=overlay or {}, **arguments
                )
            except Exception as error:  # timm's models raise whatever their arguments make them raise.
                raise ConfigError(f"timm:{config.model}: can't be built so: {one_line(error)}") from error
        return net

    def info(self) -> HostInfo:
        """The host's record, from timm's own configuration of these weights."""
        config, default = self.config, self._default()
        if config.pretrained and (config.num_classes or config.in_chans != 3):
            raise ConfigError(f"timm:{config.model}: num_classes and in_chans need pretrained=0 or a checkpoint")
        num_classes = config.num_classes or default["num_classes"]
        size = (config.size, config.size) if config.size else tuple(default["input_size"][1:])
        has_names = config.pretrained and num_classes == 1000
        other_channels = config.in_chans != 3
        return HostInfo(
            id=self.spec(),
            num_classes=num_classes,
            size=size,
            channels=config.in_chans,
            mean=(0.5,) * config.in_chans if other_channels else tuple(default["mean"]),
            std=(0.5,) * config.in_chans if other_channels else tuple(default["std"]),
            interpolation=default["interpolation"],
            crop=min(1.0, default["crop_pct"]),  # What lies beyond the image isn't made up.
            class_names=class_names() if has_names else None,
            licence=(default.get("license") or "unknown") if config.pretrained else NO_LICENCE,
        )

    def _check_name(self) -> None:
        import timm

        name = self.config.model
        if not timm.is_model(name):
            raise ConfigError(
                f"no timm model named {name!r}; {nearest(name, timm.list_models(pretrained=True) + timm.list_models())}"
            )

    def _default(self) -> dict[str, Any]:
        import timm

        name = self.config.model
        self._check_name()
        try:
            record = timm.get_pretrained_cfg(name)
        except RuntimeError:
            raise ConfigError(
                f"timm:{name}: no such weights; "
                f"{nearest(name, timm.list_models(name.partition('.')[0] + '*', pretrained=True))}"
            ) from None
        if record is None:
            raise ConfigError(
                f"timm:{name}: timm has no configuration of it; use a checkpoint with size, mean and std stated"
            )
        default: dict[str, Any] = record.to_dict()
        defaults = {"fixed_input_size": False, "input_size": (3, 224, 224), "num_classes": 1000}
        return {**default, **{key: default.get(key) or value for key, value in defaults.items()}}

    def _weights_file(self, download: bool) -> Path:
        """The path of the cached weights, which are fetched only where that is allowed."""
        from huggingface_hub import hf_hub_download, try_to_load_from_cache
        from huggingface_hub.constants import HF_HUB_OFFLINE

        default, name = self._default(), self.config.model
        repository, url = default.get("hf_hub_id"), default.get("url")
        if not repository and not url:
            raise HostUnavailableError(
                f"timm:{name}: timm knows no trained weights of it; add ?pretrained=0, or use a checkpoint"
            )
        if repository:
            filename = default.get("hf_hub_filename") or "model.safetensors"
            cached = try_to_load_from_cache(repository, filename)
            if isinstance(cached, str):
                return Path(cached)
        else:
            cached_file = Path(torch.hub.get_dir()) / "checkpoints" / Path(str(url)).name
            if cached_file.exists():
                return cached_file
        if not download or HF_HUB_OFFLINE:
            why = "HF_HUB_OFFLINE is set" if HF_HUB_OFFLINE and download else "nothing is downloaded unless asked for"
            raise HostUnavailableError(
                f"timm:{name}: the weights aren't in the cache, and {why}; add --download, or use "
                f"checkpoint:FILE?architecture=timm:{name.partition('.')[0]}"
            )
        try:
            if repository:
                logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # The error below says it all in one line.
                return Path(hf_hub_download(repository, filename))
            cached_file.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(str(url), str(cached_file))
            return cached_file
        except Exception as error:  # The hub's client raises whatever its transport raises.
            raise HostUnavailableError(
                f"timm:{name}: the weights can't be downloaded ({one_line(error)}); check the network, or use "
                f"checkpoint:FILE?architecture=timm:{name.partition('.')[0]}"
            ) from error
