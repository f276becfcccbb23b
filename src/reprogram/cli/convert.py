"""Turn a pickle of weights that you trust into safetensors: `reprogram convert OLD NEW`."""

import re
import warnings
from pathlib import Path
from typing import Any

from reprogram.errors import ConfigError
from reprogram.hosts._naming import one_line
from reprogram.utils.files import exists, write_atomic
from reprogram.utils.text import printable

SAFE_TORCH = (2, 10)
"""The first version of torch whose `weights_only=True` has no known hole."""

SECTIONS = ("state_dict", "model_state_dict", "model", "net", "module", "params", "weights")
"""Keys under which training scripts store the weights beside other things."""

REPEATED = 2**30
"""The most bytes that a tensor may come to which repeats a smaller number of stored ones."""


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
        there = "there is one already; " if exists(target) else ""
        raise ConfigError(f"{target}: {there}give the name of a new .safetensors file")
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
        raise ConfigError(
            f"{source}: can't be read as tensors alone ({_reason(error)}); ask for a state dict"
        ) from None
    tensors = _tensors(loaded, source)
    if not tensors:
        raise ConfigError(f"{source}: holds no named tensors; save the model's state_dict()")
    try:
        content = save(tensors)
    except Exception as error:  # safetensors raises whatever its checks raise.
        raise ConfigError(f"{source}: safetensors can't hold it ({one_line(error)}); save a plain state_dict") from None
    write_atomic(target, content)
    return len(tensors)


def _reason(error: Exception) -> str:
    """Why a file couldn't be read, without PyTorch's advice to read it all the same."""
    text = one_line(error) if isinstance(error, OSError) else str(error)
    if found := re.search(r"GLOBAL ([\w.]+)", text):
        return f"it holds a {found[1]}, which may run code"
    if "TorchScript" in text:
        return "it is a TorchScript program"
    return text if isinstance(error, OSError) else "torch.save didn't write it, or it is damaged"


def _tensors(loaded: Any, source: Path) -> dict[str, Any]:
    """The named tensors of a state dict, or of the section that holds it; they share no memory."""
    import torch

    opened: list[int] = []
    while isinstance(loaded, dict) and id(loaded) not in opened:
        opened.append(id(loaded))
        section = _section(loaded, source)
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
            if name == "__metadata__":
                raise ConfigError(f"{source}: an entry is called '__metadata__', as no tensor may be in safetensors")
            tensors[name] = _plain(value, f"{source}: {printable(name)[:100]!r}")
        return tensors
    return {}


def _section(record: dict[Any, Any], source: Path) -> Any:
    """The key under which a record holds the weights; None where it is a state dict itself."""
    import torch

    holding = [key for key, value in record.items() if isinstance(value, dict) and _holds_tensors(value)]
    known = next((name for name in SECTIONS if isinstance(record.get(name), dict)), None)
    others = [printable(str(key))[:40] for key in holding if key != known]
    names = ", ".join(map(repr, others[:4]))
    if known is not None:
        if others:
            warnings.warn(f"{source}: the tensors of {known!r} are taken, those of {names} left out", stacklevel=4)
        return known
    if len(holding) > 1 or (holding and any(isinstance(value, torch.Tensor) for value in record.values())):
        raise ConfigError(f"{source}: holds tensors in {names}, and none is sure to be the weights; save these alone")
    return holding[0] if holding else None


def _holds_tensors(record: dict[Any, Any]) -> bool:
    """Whether a tensor is anywhere in a record, which may hold itself."""
    import torch

    waiting: list[Any] = [record]
    seen: set[int] = set()
    while waiting:
        value = waiting.pop()
        if isinstance(value, torch.Tensor):
            return True
        if isinstance(value, dict | list | tuple) and id(value) not in seen:
            seen.add(id(value))
            waiting += value.values() if isinstance(value, dict) else value
    return False


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
    if not kind and _is_repeated(tensor):
        kind = "repeated to more than a GiB"
    if not kind:
        try:
            save({"x": torch.empty(0, dtype=tensor.dtype)})
        except Exception:  # safetensors raises whatever its table of types makes it raise.
            kind = f"of type {str(tensor.dtype).removeprefix('torch.')}"
    if kind:
        raise ConfigError(f"{where} is {kind}, which safetensors can't hold; save a plain tensor of numbers")
    return tensor.detach().clone(memory_format=torch.contiguous_format).resolve_conj().resolve_neg()


def _is_repeated(tensor: Any) -> bool:
    """Whether a tensor is far larger than what is stored of it, as an expanded one."""
    size = int(tensor.numel()) * int(tensor.element_size())
    return size > max(int(tensor.untyped_storage().nbytes()), REPEATED)


def convert_command(source: Path, target: Path, /) -> int:
    """Turn a pickle of weights that you trust into safetensors; nothing of the pickle is run.

    Args:
        source: file that torch.save wrote: a state dict, or a record that holds one.
        target: the new .safetensors file; nothing is overwritten.
    """
    print(printable(f"{target}: {convert(source, target)} tensors"))
    return 0
