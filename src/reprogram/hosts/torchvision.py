"""Any classifier of torchvision: `torchvision:resnet50.IMAGENET1K_V2`, or untrained with `?pretrained=0&seed=1`."""

import inspect
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from reprogram.errors import ConfigError, HostUnavailableError
from reprogram.hosts._info import NO_LICENCE, HostInfo, check_sizes
from reprogram.hosts._naming import check_kwargs, one_line
from reprogram.hosts._zoo import ZooSource
from reprogram.hosts.base import Host
from reprogram.utils.messages import nearest
from reprogram.utils.seeding import seeded


class Torchvision(ZooSource):
    """Architectures, weights and preprocessing of torchvision."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            model: torchvision's name, with the weights' tag where one is wanted: `resnet50.IMAGENET1K_V2`.
            pretrained: whether to load trained weights; otherwise they are random, from `seed`.
            seed: of random weights.
            size: input height and width in pixels; 0 takes the model's own.
            num_classes: of an untrained model; 0 takes the model's own.
            kwargs: further arguments of the architecture, numbers and text only.
        """

        model: str
        pretrained: bool = True
        seed: int = 0
        size: int = 0
        num_classes: int = 0
        kwargs: dict[str, bool | int | float | str] = field(default_factory=dict)

        def __post_init__(self) -> None:
            check_kwargs(self.kwargs)
            check_sizes(size=self.size, num_classes=self.num_classes)

    @classmethod
    def example(cls) -> Config:
        """A small untrained SqueezeNet."""
        return cls.Config(model="squeezenet1_1", pretrained=False, num_classes=16, size=48)

    def build(self, *, download: bool = False) -> Host:
        """Build the model, with weights from torch.hub's cache, or downloaded where that is allowed."""
        info = self.info()
        net = self.create(self.config.seed)
        if self.config.pretrained:
            net.load_state_dict(self._state(download))
        return Host(net, info, untrained=self.untrained)

    @classmethod
    def catalogue(cls, pattern: str) -> list[str]:
        """The classifiers of torchvision."""
        from torchvision import models

        return list(models.list_models(module=models, include=pattern))

    def create(self, seed: int) -> nn.Module:
        """Have torchvision build the network.

        Args:
            seed: decides the random weights, alone.

        Returns:
            The network with random weights, on normalised pixels.

        Raises:
            ConfigError: torchvision can't build it.
        """
        from torchvision.models import get_model, get_model_builder

        config = self.config
        architecture, _ = self._names()
        arguments: dict[str, Any] = dict(config.kwargs)
        parameters = inspect.signature(get_model_builder(architecture)).parameters
        if config.num_classes:
            arguments["num_classes"] = config.num_classes
        if architecture.startswith("vit_") and config.size:
            arguments["image_size"] = config.size
        if architecture in ("googlenet", "inception_v3"):
            # Files of trained weights hold the auxiliary heads. An untrained network goes without: evaluation never
            # runs them.
            arguments |= {"init_weights": not config.pretrained, "aux_logits": config.pretrained}
        assert "weights" in parameters
        with seeded(seed):
            try:
                net: nn.Module = get_model(architecture, weights=None, **arguments)
            except Exception as error:  # The builders raise whatever their arguments make them raise.
                raise ConfigError(f"torchvision:{config.model}: can't be built so: {one_line(error)}") from error
        return net

    def info(self) -> HostInfo:
        """The host's record, from torchvision's own configuration of these weights."""
        config = self.config
        weights = self._weights()
        if config.pretrained and config.num_classes:
            raise ConfigError(f"torchvision:{config.model}: num_classes needs pretrained=0 or a checkpoint")
        transform = weights.transforms()
        crop, resize = transform.crop_size[0], transform.resize_size[0]
        size = config.size or crop
        names = tuple(weights.meta["categories"])
        return HostInfo(
            id=self.spec(),
            num_classes=config.num_classes or len(names),
            size=(size, size),
            mean=tuple(transform.mean),
            std=tuple(transform.std),
            interpolation=transform.interpolation.value,
            crop=crop / resize,
            class_names=names if config.pretrained else None,
            licence="BSD-3-Clause code; weights trained on ImageNet" if config.pretrained else NO_LICENCE,
        )

    def _names(self) -> tuple[str, str]:
        from torchvision import models

        architecture, _, tag = self.config.model.partition(".")
        known = models.list_models(module=models)
        if architecture not in known:
            raise ConfigError(f"no torchvision classifier named {architecture!r}; {nearest(architecture, known)}")
        return architecture, tag or "DEFAULT"

    def _weights(self) -> Any:
        from torchvision.models import get_model_weights

        architecture, tag = self._names()
        choices = get_model_weights(architecture)
        if tag != "DEFAULT" and tag not in choices.__members__:
            raise ConfigError(
                f"torchvision:{architecture}: no weights {tag!r}; {nearest(tag, list(choices.__members__))}"
            )
        return getattr(choices, tag)

    def _state(self, download: bool) -> dict[str, torch.Tensor]:
        weights = self._weights()
        path = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
        name = self.config.model
        if not path.exists():
            advice = f"checkpoint:FILE?architecture=torchvision:{name.partition('.')[0]}"
            if not download:
                raise HostUnavailableError(
                    f"torchvision:{name}: the weights aren't in {path.parent}, and nothing is downloaded unless "
                    f"asked for; add --download, or use {advice}"
                )
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                torch.hub.download_url_to_file(weights.url, str(path), hash_prefix=path.stem.rpartition("-")[2])
            except Exception as error:  # urllib raises whatever its transport raises.
                raise HostUnavailableError(
                    f"torchvision:{name}: the weights can't be downloaded ({one_line(error)}); "
                    f"check the network, or use {advice}"
                ) from error
        state: dict[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        return state
