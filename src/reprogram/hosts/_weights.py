"""Read weights from a `.safetensors` file, under the names that training scripts leave."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from reprogram.errors import ConfigError, HostUnavailableError

PICKLES = (".pt", ".pth", ".ckpt", ".bin", ".tar", ".pkl")
FORMATS = {b"GGUF": "a GGUF file", b"\x89HDF": "an HDF5 file", b"\x93NUMPY": "a NumPy array"}
"""Other formats of weights, by their first bytes."""
MEANS, STDS = ("mean", "mu", "new_mean"), ("std", "sigma", "new_std")
"""The last parts of names under which models keep a normalisation of their own."""


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a file.

    Args:
        path: of the `.safetensors` file.

    Returns:
        The tensors by name.

    Raises:
        HostUnavailableError: there is no such file.
        ConfigError: the file is a pickle, or not in the safetensors format.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise HostUnavailableError(f"{path}: no such file; give the path of a .safetensors file")
    if path.suffix.lower() in PICKLES or _is_pickle(path):
        raise ConfigError(
            f"{path}: a pickle, which may run code when it is read; if you trust it, convert it once: "
            f"reprogram convert {path.name} {path.stem}{'-converted' * (path.suffix == '.safetensors')}.safetensors"
        )
    kind = next((kind for magic, kind in FORMATS.items() if _start(path).startswith(magic)), "")
    if kind or path.name.endswith(".index.json"):
        raise ConfigError(f"{path}: {kind or 'a list of several files'}; give one .safetensors file with all weights")
    try:
        state: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise ConfigError(
            f"{path}: can't be read as safetensors ({error}); convert it with safetensors.torch.save_file"
        ) from None
    return state


def _start(path: Path) -> bytes:
    """The first bytes of a file; none where reading it will say why."""
    try:
        with path.open("rb") as file:
            return file.read(8)
    except OSError:
        return b""


def _is_pickle(path: Path) -> bool:
    """Whether a file begins as torch.save's archives and pickles do; a safetensors file begins with a small number."""
    start = _start(path)
    legacy = start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05") and any(start[2:8])
    return legacy or start.startswith(b"PK\x03\x04")


def load_weights(
    net: nn.Module, state: dict[str, Tensor], *, channels: int, where: str
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Load all weights of a network in its own types.

    The names may bear a prefix, such as `module.` or `module.model.`; a second copy of the same weights is passed over.
    BatchNorm's counters of batches may be missing.

    Args:
        net: the network; the file must hold each of its other weights, in its shape.
        state: the file's tensors by name.
        channels: the number of channels of the input.
        where: the file and the architecture that it should fit, for errors.

    Returns:
        Mean and standard deviation, one value per channel, of a normalisation that the file holds and the network
        doesn't; None where there is no such normalisation.

    Raises:
        ConfigError: weights are missing or unknown; the message names the first three.
    """
    expected = net.state_dict()
    prefix = _prefix(expected, state)
    fitting = {
        name: state[prefix + name]
        for name, value in expected.items()
        if prefix + name in state and state[prefix + name].shape == value.shape
    }
    check_floats(fitting, expected, where)
    missing = [name for name in expected if name not in fitting and not name.endswith("num_batches_tracked")]
    others = [key for key in state if not (key.startswith(prefix) and key[len(prefix) :] in fitting)]
    means, stds = (_values(state, others, names, channels) for names in (MEANS, STDS))
    used = {**means, **stds} if means and stds else {}
    unknown = [key for key in others if key not in used and not _is_copy(key, state[key], fitting)]
    if len(set(means.values())) > 1 or len(set(stds.values())) > 1:
        unknown += used
    if missing or unknown:
        advice = "name the architecture it was saved from" if missing else "keep its own weights alone in the file"
        advice = _other_shape(expected, state, prefix) + advice
        raise ConfigError(
            f"{where}: {len(missing)} weights missing ({', '.join(missing[:3]) or 'none'}), "
            f"{len(unknown)} unknown ({', '.join(unknown[:3]) or 'none'}); {advice}"
        )
    net.load_state_dict({name: value.to(expected[name].dtype) for name, value in fitting.items()}, strict=False)
    return (next(iter(means.values())), next(iter(stds.values()))) if used else None


def check_floats(state: dict[str, Any], expected: dict[str, Tensor], where: str) -> None:
    """Refuse whole numbers as weights: without their scales, quantised weights are others.

    Args:
        state: a file's tensors by the network's names, or anything that has a `dtype`.
        expected: the network's own.
        where: the file and the architecture, for errors.

    Raises:
        ConfigError: a weight that should be a floating-point number isn't one; the message names it.
    """
    for name, value in state.items():
        if expected[name].is_floating_point() and not value.dtype.is_floating_point:
            kind = str(value.dtype).removeprefix("torch.")
            raise ConfigError(
                f"{where}: weight {name!r} is {kind}, as of a quantised model; give its floating-point weights"
            )


def _prefix(expected: dict[str, Tensor], state: dict[str, Tensor]) -> str:
    """The prefix before the network's names in a file: the shortest under which most of them occur."""
    first = next(iter(expected), "")
    prefixes = {key[: -len(first)] for key in state if first and key.endswith("." + first)}
    return min({"", *prefixes}, key=lambda prefix: (sum(prefix + name not in state for name in expected), len(prefix)))


def _other_shape(expected: dict[str, Tensor], state: dict[str, Tensor], prefix: str) -> str:
    """The first weight that has another shape in the file, as text; empty where there is none."""
    for name, value in expected.items():
        found = state.get(prefix + name, value)
        if found.shape != value.shape:
            shapes = ("x".join(map(str, tensor.shape)) or "one number" for tensor in (found, value))
            return "{} is {} in the file and {} in the architecture; ".format(name, *shapes)
    return ""


def _values(
    state: dict[str, Tensor], keys: list[str], names: tuple[str, ...], channels: int
) -> dict[str, tuple[float, ...]]:
    """The entries whose names end with one of `names` and that hold one number per channel."""
    return {
        key: tuple(state[key].double().flatten().tolist())
        for key in keys
        if key.rpartition(".")[2] in names and state[key].numel() == channels
    }


def _is_copy(key: str, value: Tensor, fitting: dict[str, Tensor]) -> bool:
    """Whether an entry repeats a weight that `fitting` holds already."""
    parts = key.split(".")
    names = (".".join(parts[i:]) for i in range(1, len(parts)))
    return any(
        name in fitting and fitting[name].dtype == value.dtype and torch.equal(fitting[name], value) for name in names
    )
