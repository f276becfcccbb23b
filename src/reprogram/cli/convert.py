"""Turn a pickle of weights that you trust into safetensors: `reprogram convert OLD NEW`."""

import warnings
from pathlib import Path
from typing import Any

from reprogram.errors import ConfigError
from reprogram.hosts._naming import one_line
from reprogram.utils.files import exists, write_atomic
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
        ConfigError: the source can't be read safely, or holds no tensors or some that safetensors can't hold; or the
            target exists.
        WriteError: the target can't be written.
    """
    import torch
    from safetensors.torch import save

    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    if version < SAFE_TORCH:
        raise ConfigError(f"torch {torch.__version__} can't read pickles safely; pip install --upgrade torch (2.10)")
    if exists(target) or target.suffix != ".safetensors":
        raise ConfigError(f"{target}: give the name of a new .safetensors file")
    if not target.parent.is_dir():
        raise ConfigError(f"{target}: there is no folder {target.parent}; make it first")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch warns of rare tensors, which are refused below.
            loaded: Any = torch.load(source, map_location="cpu", weights_only=True)
    except OSError as error:
        reason = error.strerror or one_line(error)
        raise ConfigError(f"{source}: can't be read ({reason}); give the file that torch.save wrote") from None
    except Exception as error:  # Unpickling raises whatever the bytes make it raise.
        reason = str(error).partition("\n")[0][:200] or type(error).__name__
        raise ConfigError(f"{source}: can't be read as tensors alone ({reason}); ask for a state dict") from None
    tensors = _tensors(loaded, source)
    if not tensors:
        raise ConfigError(f"{source}: holds no named tensors; save the model's state_dict()")
    try:
        content = save(tensors)
    except Exception as error:  # safetensors raises whatever its checks raise.
        raise ConfigError(f"{source}: safetensors can't hold it ({one_line(error)}); save a plain state_dict") from None
    write_atomic(target, content)
    return len(tensors)


def _tensors(loaded: Any, source: Path) -> dict[str, Any]:
    """The named tensors of a state dict, or of the section that holds it; they share no memory."""
    import torch

    opened: list[int] = []
    while isinstance(loaded, dict) and id(loaded) not in opened:
        opened.append(id(loaded))
        section = next((name for name in SECTIONS if isinstance(loaded.get(name), dict)), None)
        if section is not None:
            loaded = loaded[section]
            continue
        tensors: dict[str, Any] = {}
        for key, value in loaded.items():
            if not isinstance(value, torch.Tensor):
                continue
            name = str(key)
            if name in tensors:
                raise ConfigError(f"{source}: two entries are called {printable(name)[:100]!r}; rename one of them")
            tensors[name] = _plain(value, f"{source}: {printable(name)[:100]!r}")
        return tensors
    return {}


def _plain(tensor: Any, where: str) -> Any:
    """A copy of a tensor that safetensors can hold."""
    import torch
    from safetensors.torch import save

    kind = next(
        (
            name
            for name, odd in (
                ("on the meta device, without numbers", tensor.is_meta),
                ("quantised", tensor.is_quantized),
                ("nested", tensor.is_nested),
                ("sparse", tensor.layout != torch.strided),
            )
            if odd
        ),
        "",
    )
    if not kind:
        try:
            save({"x": torch.empty(0, dtype=tensor.dtype)})
        except Exception:  # safetensors raises whatever its table of types makes it raise.
            kind = f"of type {str(tensor.dtype).removeprefix('torch.')}"
    if kind:
        raise ConfigError(f"{where} is {kind}, which safetensors can't hold; save a plain tensor of numbers")
    return tensor.detach().clone(memory_format=torch.contiguous_format).resolve_conj().resolve_neg()


def convert_command(source: Path, target: Path, /) -> int:
    """Turn a pickle of weights that you trust into safetensors; nothing of the pickle is run.

    Args:
        source: file that torch.save wrote: a state dict, or a record that holds one.
        target: the new .safetensors file; nothing is overwritten.
    """
    print(printable(f"{target}: {convert(source, target)} tensors"))
    return 0
