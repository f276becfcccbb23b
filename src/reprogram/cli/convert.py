"""Turn a pickle of weights that you trust into safetensors: `reprogram convert OLD NEW`."""

from pathlib import Path
from typing import Any

from reprogram.errors import ConfigError
from reprogram.utils.files import exists
from reprogram.utils.text import printable

SAFE_TORCH = (2, 10)
"""The first version of torch whose `weights_only=True` has no known hole."""

SECTIONS = ("state_dict", "model_state_dict", "model", "net")
"""Keys under which training scripts store the weights beside other things."""


def convert(source: Path, target: Path) -> int:
    """Write the tensors of a pickle as safetensors; `torch.load` reads tensors only and runs nothing of the file.

    Args:
        source: a file that `torch.save` wrote: a state dict, or a record that holds one.
        target: the new file; nothing is overwritten.

    Returns:
        The number of tensors.

    Raises:
        ConfigError: the source can't be read safely or holds no tensors, or the target exists.
    """
    import torch
    from safetensors.torch import save_file

    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    if version < SAFE_TORCH:
        raise ConfigError(f"torch {torch.__version__} can't read pickles safely; pip install --upgrade torch (2.10)")
    if exists(target) or target.suffix != ".safetensors":
        raise ConfigError(f"{target}: give the name of a new .safetensors file")
    try:
        loaded: Any = torch.load(source, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ConfigError(f"{source}: no such file") from None
    except Exception as error:  # Unpickling raises whatever the bytes make it raise.
        reason = str(error).partition("\n")[0][:200]
        raise ConfigError(f"{source}: can't be read as tensors alone ({reason}); ask for a state dict") from None
    tensors = _tensors(loaded)
    if not tensors:
        raise ConfigError(f"{source}: holds no named tensors; save the model's state_dict()")
    save_file(tensors, target)
    return len(tensors)


def _tensors(loaded: Any) -> dict[str, Any]:
    """The named tensors of a state dict, or of the section that holds it."""
    import torch

    while isinstance(loaded, dict):
        tensors = {str(key): value for key, value in loaded.items() if isinstance(value, torch.Tensor)}
        section = next((name for name in SECTIONS if isinstance(loaded.get(name), dict)), None)
        if section is None:
            # safetensors refuses tensors that share memory
            return {key: value.detach().clone().contiguous() for key, value in tensors.items()}
        loaded = loaded[section]
    return {}


def convert_command(source: Path, target: Path, /) -> int:
    """Turn a pickle of weights that you trust into safetensors; nothing of the pickle is run.

    Args:
        source: file that torch.save wrote: a state dict, or a record that holds one.
        target: the new .safetensors file; nothing is overwritten.
    """
    print(printable(f"{target}: {convert(source, target)} tensors"))
    return 0
