"""Weights from a `.safetensors` file, under the names that training scripts leave."""

from pathlib import Path

import torch
from torch import Tensor, nn

from reprogram.errors import ConfigError, HostUnavailableError

PICKLES = (".pt", ".pth", ".ckpt", ".bin", ".tar", ".pkl")
MEANS, STDS = ("mean", "mu", "new_mean"), ("std", "sigma", "new_std")
"""Last names under which models keep a normalisation of their own."""


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a file.

    Raises:
        HostUnavailableError: no such file.
        ConfigError: a pickle, or no safetensors.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise HostUnavailableError(f"{path}: no such file; give the path of a .safetensors file")
    if path.suffix in PICKLES:
        raise ConfigError(
            f"{path}: a pickle, which may run code when it is read; if you trust it, convert it once: "
            f"python -m reprogram.convert {path.name} {path.stem}.safetensors"
        )
    try:
        state: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise ConfigError(
            f"{path}: can't be read as safetensors ({error}); convert it with safetensors.torch.save_file"
        ) from None
    return state


def load_weights(
    net: nn.Module, state: dict[str, Tensor], *, channels: int, where: str
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Load all weights of a network in its own types.

    The names may bear a prefix, such as `module.` or `module.model.`; a second copy of the same weights is passed over.
    BatchNorm's counters of batches may be missing.

    Args:
        net: whose every other weight must be there, in its shape.
        state: as it was read.
        channels: of the input.
        where: the file and what it should fit, for errors.

    Returns:
        Mean and standard deviation, a channel, of a normalisation in the file that isn't part of the network, or None.

    Raises:
        ConfigError: weights are missing or unknown; names the first three.
    """
    own = net.state_dict()
    prefix = _prefix(own, state)
    fitting = {
        name: state[prefix + name]
        for name, value in own.items()
        if prefix + name in state and state[prefix + name].shape == value.shape
    }
    missing = [name for name in own if name not in fitting and not name.endswith("num_batches_tracked")]
    others = [key for key in state if not (key.startswith(prefix) and key[len(prefix) :] in fitting)]
    means, stds = (_values(state, others, names, channels) for names in (MEANS, STDS))
    used = {**means, **stds} if means and stds else {}
    unknown = [key for key in others if key not in used and not _is_copy(key, state[key], fitting)]
    if len(set(means.values())) > 1 or len(set(stds.values())) > 1:
        unknown += used
    if missing or unknown:
        raise ConfigError(
            f"{where}: {len(missing)} weights missing ({', '.join(missing[:3]) or 'none'}), "
            f"{len(unknown)} unknown ({', '.join(unknown[:3]) or 'none'}); name the architecture it was saved from"
        )
    net.load_state_dict({name: value.to(own[name].dtype) for name, value in fitting.items()}, strict=False)
    return (next(iter(means.values())), next(iter(stds.values()))) if used else None


def _prefix(own: dict[str, Tensor], state: dict[str, Tensor]) -> str:
    """What precedes the network's names: the shortest prefix under which most of them are found."""
    first = next(iter(own), "")
    found = {key[: -len(first)] for key in state if first and key.endswith("." + first)}
    return min({"", *found}, key=lambda prefix: (sum(prefix + name not in state for name in own), len(prefix)))


def _values(
    state: dict[str, Tensor], keys: list[str], names: tuple[str, ...], channels: int
) -> dict[str, tuple[float, ...]]:
    """The entries of these last names that hold a number a channel."""
    return {
        key: tuple(state[key].double().flatten().tolist())
        for key in keys
        if key.rpartition(".")[2] in names and state[key].numel() == channels
    }


def _is_copy(key: str, value: Tensor, fitting: dict[str, Tensor]) -> bool:
    """Whether an entry repeats a weight that was taken already."""
    parts = key.split(".")
    names = (".".join(parts[i:]) for i in range(1, len(parts)))
    return any(
        name in fitting and fitting[name].dtype == value.dtype and torch.equal(fitting[name], value) for name in names
    )
