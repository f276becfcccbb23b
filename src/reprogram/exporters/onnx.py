"""ONNX, for ONNX Runtime and many others: one file, above 2 GB with a second one beside it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch.export import ExportedProgram

from reprogram.errors import ConfigError
from reprogram.exporters._graph import quiet
from reprogram.exporters.base import INPUT, OUTPUTS, Exporter, Run
from reprogram.utils.onnx_runtime import session

MAX_BYTES = 2**31 - 2**24
"""The most bytes of tensors in one file: a protocol buffer has less than 2 GiB."""

OPSETS = (18, 23)
"""The oldest and the newest opset that PyTorch writes."""


class Onnx(Exporter):
    """An ONNX file, made by PyTorch's own exporter and run by ONNX Runtime.

    All weights are in the file itself. Protocol buffers hold at most 2 GB: the weights of a larger model go into a
    second file, `NAME.onnx.data`, which has to stay beside the first; a line says so.
    """

    suffix = ".onnx"
    extra = "onnx"
    packages = ("onnx", "onnxscript", "onnxruntime")

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            opset: the version of ONNX's operators, 18 to 23; older ones run in more places.
        """

        opset: int = 18

        def __post_init__(self) -> None:
            if not OPSETS[0] <= self.opset <= OPSETS[1]:
                raise ConfigError(f"opset={self.opset}; {OPSETS[0]} to {OPSETS[1]} are expected")

    config: Config

    def write(self, graph: ExportedProgram, path: Path, metadata: dict[str, str]) -> list[str]:
        """Write the file, and a second one where the weights need it."""
        count = len(graph.graph_signature.user_outputs)
        with quiet(), torch.no_grad():
            program: Any = torch.onnx.export(
                graph,
                dynamo=True,
                verbose=False,
                opset_version=self.config.opset,
                input_names=[INPUT],
                output_names=list(OUTPUTS[:count]),
            )
            model = program.model
            _name_batch(model)
            size = sum(value.const_value.nbytes for value in model.graph.initializers.values())
            model.metadata_props.update(metadata | {"opset": str(self.config.opset)})
            model.producer_name, model.producer_version = "reprogram", metadata.get("created_by", "")
            external = size > MAX_BYTES
            program.save(path, external_data=external)
        if not external:
            return []
        return [f"the weights ({size / 1e9:.1f} GB) are in {path.name}.data, which has to stay beside {path.name}"]

    def open(self, path: Path) -> Run:
        """Open the file by ONNX Runtime, with as many threads as PyTorch has."""
        opened = session(path)

        def run(images: NDArray[Any]) -> list[NDArray[Any]]:
            outputs: list[NDArray[Any]] = opened.run(None, {INPUT: images})
            return outputs

        return run

    def metadata(self, path: Path) -> dict[str, str]:
        """The model's `metadata_props`."""
        return dict(session(path).get_modelmeta().custom_metadata_map)


def _name_batch(model: Any) -> None:
    """Call the number of images "batch", wherever a shape holds it; PyTorch numbers its symbols."""
    symbol = model.graph.inputs[0].shape[0].value
    values = (*model.graph.inputs, *(value for node in model.graph for value in node.outputs))
    for value in values:
        for axis, size in enumerate(value.shape or ()):
            if getattr(size, "value", None) == symbol:
                value.shape[axis] = "batch"
