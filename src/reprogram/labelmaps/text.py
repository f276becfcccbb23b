"""Each task label is the host label whose name means the most like its own, by embeddings of the names."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from reprogram.errors import ConfigError, DataError
from reprogram.labelmaps._assign import Assignment, assign
from reprogram.labelmaps.base import GroupMap


class Text(GroupMap):
    """A one-to-one map by the cosine of embeddings of class names, chosen once, when the model is built.

    No image is needed. The embeddings come from any text encoder, by way of a file (docs/concepts.md has a script),
    or are made of the names' spelling, which finds "tree frog" for "frog" but not "limousine" for "automobile". The
    labels of a host without class names are called "host label 0" and so on. A program file keeps the choice, not the
    embeddings.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            encoder: `FILE.safetensors` with two matrices, `host` (K × d) and `task` (k × d), a row a class name; or
                `spelling`, which counts each sequence of three letters in a name.
            assignment: `optimal` has the largest sum of cosines, `greedy` takes the best remaining pair.
        """

        encoder: str = ""
        assignment: Assignment = "optimal"

        def __post_init__(self) -> None:
            if self.encoder != "spelling" and not self.encoder.endswith(".safetensors"):
                raise ConfigError(
                    f"label map text: {self.encoder!r} is no encoder; give text:FILE.safetensors with "
                    "embeddings of the class names ('host': K x d, 'task': k x d), or text:spelling"
                )

    @classmethod
    def example(cls) -> Config:
        """The encoder that needs no file."""
        return cls.Config(encoder="spelling")

    @classmethod
    def needs(cls, config: Config) -> list[Path]:
        """The file of embeddings, where the options name one."""
        return [] if config.encoder == "spelling" else [Path(config.encoder)]

    def __init__(self, config: Config, *, num_host_labels: int, num_task_labels: int) -> None:
        super().__init__(config, num_host_labels=num_host_labels, num_task_labels=num_task_labels)
        self.require_host_labels(num_task_labels)
        self.set_groups(torch.arange(num_task_labels).view(-1, 1))

    def initialize(self, host_names: tuple[str, ...], task_names: tuple[str, ...]) -> None:
        """Choose host labels by the embeddings of the names.

        Raises:
            DataError: the file can't be read, or doesn't fit host and task.
        """
        encoder = self.config.encoder
        host, task = _spelling(host_names, task_names) if encoder == "spelling" else self._read(Path(encoder))
        # k x d times d x K, rows of length 1
        cosines = F.normalize(task.double(), dim=1) @ F.normalize(host.double(), dim=1).T
        self.groups.copy_(assign(cosines, self.config.assignment).view(-1, 1))

    def _read(self, path: Path) -> tuple[Tensor, Tensor]:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            tensors = load_file(path)
        except (SafetensorError, OSError) as error:
            raise DataError(f"{path}: embeddings can't be read ({error}); give a .safetensors file") from None
        rows = {"host": self.num_host_labels, "task": self.num_task_labels}
        shapes = {name: tuple(value.shape) for name, value in tensors.items()}
        dimension = (shapes.get("host") or (0,))[-1]
        if shapes != {name: (count, dimension) for name, count in rows.items()} or not dimension:
            raise DataError(
                f"{path}: holds {shapes}; 'host' of {rows['host']} x d and 'task' of {rows['task']} x d are expected, "
                "a row a class name"
            )
        if not all(bool(torch.isfinite(value).all()) for value in tensors.values()):
            raise DataError(f"{path}: holds values that are not finite; make the embeddings anew")
        return tensors["host"], tensors["task"]


def _spelling(
    host_names: tuple[str, ...], task_names: tuple[str, ...]
) -> tuple[Float[Tensor, "K d"], Float[Tensor, "k d"]]:
    """The number of times that each sequence of three characters occurs in each name, its ends marked by spaces."""
    counters = []
    for name in (*host_names, *task_names):
        text = f" {name.lower()} "
        counters.append(Counter(text[start : start + 3] for start in range(len(text) - 2)))
    columns = {trigram: index for index, trigram in enumerate(sorted({key for counter in counters for key in counter}))}
    # (K + k) x d counts, a column for each sequence that occurs
    rows = torch.zeros(len(counters), len(columns))
    for row, counter in zip(rows, counters, strict=True):
        for trigram, count in counter.items():
            row[columns[trigram]] = count
    return rows[: len(host_names)], rows[len(host_names) :]
