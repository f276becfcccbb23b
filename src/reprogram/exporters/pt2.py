"""PyTorch's own archive, for `torch.export.load` and what builds on it, such as AOTInductor and ExecuTorch."""

import json
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch.export import ExportedProgram

from reprogram.exporters._graph import quiet
from reprogram.exporters.base import Exporter, Run

METADATA = "metadata.json"
"""The extra file of an archive that holds its metadata."""


class Pt2(Exporter):
    """A `.pt2` archive: the captured graph as it is, with its weights.

    `torch.export.load(FILE).module()` is a module of PyTorch that needs nothing of this package. Open the archives of
    people whom you trust alone: PyTorch says of some parts of them that they can run code.
    """

    suffix = ".pt2"

    def write(self, graph: ExportedProgram, path: Path, metadata: dict[str, str]) -> list[str]:
        """Write the archive."""
        with quiet():
            torch.export.save(graph, path, extra_files={METADATA: json.dumps(metadata)})
        return []

    def open(self, path: Path) -> Run:
        """Open the archive by `torch.export.load`."""
        with quiet():
            module = torch.export.load(path).module()

        def run(images: NDArray[Any]) -> list[NDArray[Any]]:
            with torch.no_grad():
                return [output.numpy() for output in module(torch.from_numpy(images))]

        return run

    def metadata(self, path: Path) -> dict[str, str]:
        """The archive's extra file `metadata.json`."""
        extra = {METADATA: ""}
        with quiet():
            torch.export.load(path, extra_files=extra)
        loaded: dict[str, str] = json.loads(extra[METADATA])
        return loaded
