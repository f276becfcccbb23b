"""OpenVINO's format, for Intel's processors: FILE.xml with the graph, FILE.bin beside it with the weights."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.export import ExportedProgram

from reprogram.exporters._graph import quiet
from reprogram.exporters.base import INPUT, OUTPUTS, Exporter, Run

SECTION = "reprogram"
"""The section of a model's runtime information that holds its metadata."""

EXACT = {"INFERENCE_PRECISION_HINT": "f32"}
"""The option by which OpenVINO computes in float32; by default it may choose half precision."""


class OpenVINO(Exporter):
    """An OpenVINO model in two files, both needed: `NAME.xml` and `NAME.bin`. Weights stay float32.

    OpenVINO by itself computes in half precision on processors that have it, and then differs from the model by more
    than is checked here: compile the model with `{"INFERENCE_PRECISION_HINT": "f32"}` for the checked answers.

    The package reports its use to its makers (telemetry). This exporter keeps it from doing so: OpenVINO is imported
    as if `openvino_telemetry` weren't installed, and nothing is written into your home folder.
    """

    suffix = ".xml"
    beside = (".bin",)
    extra = "openvino"
    packages = ("openvino",)

    def write(self, graph: ExportedProgram, path: Path, metadata: dict[str, str]) -> list[str]:
        """Convert the graph and write both files."""
        ov = package()
        image = next(node for node in graph.graph.nodes if node.name in graph.graph_signature.user_inputs)
        with quiet(), without_telemetry(), torch.no_grad():
            model = ov.convert_model(graph)
            model.reshape({model.inputs[0]: ov.PartialShape([-1, *map(int, image.meta["val"].shape[1:])])})
            model.inputs[0].get_tensor().set_names({INPUT})
            for output, name in zip(model.outputs, OUTPUTS, strict=False):
                output.get_tensor().set_names({name})
            for key, value in metadata.items():
                model.set_rt_info(value, [SECTION, key])
            ov.save_model(model, path, compress_to_fp16=False)
        return [
            f"the weights are in {path.with_suffix('.bin').name}, which has to stay beside {path.name}",
            f"OpenVINO may compute in half precision; for the checked answers compile the model with {EXACT}",
        ]

    def open(self, path: Path) -> Run:
        """Open the file by OpenVINO on the CPU, in float32, with as many threads as PyTorch has."""
        options = EXACT | {"INFERENCE_NUM_THREADS": torch.get_num_threads()}
        compiled = package().Core().compile_model(path, "CPU", options)

        def run(images: NDArray[Any]) -> list[NDArray[Any]]:
            outputs = compiled({INPUT: images})
            return [np.asarray(outputs[output]) for output in compiled.outputs]

        return run

    def metadata(self, path: Path) -> dict[str, str]:
        """The section `reprogram` of the model's runtime information."""
        model = package().Core().read_model(path)
        return {key: value.astype(str) for key, value in model.get_rt_info(SECTION).astype(dict).items()}


def package() -> Any:
    """The package openvino, imported without its telemetry."""
    with without_telemetry():
        import openvino
        import openvino.tools.ovc.convert_impl  # It imports the telemetry too, when a model is converted.
    return openvino


@contextlib.contextmanager
def without_telemetry() -> Iterator[None]:
    """A context in which the package openvino_telemetry seems not to be installed: OpenVINO has a stub for that."""
    name = "openvino_telemetry"
    before = sys.modules.get(name, name)
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if before is name:
            del sys.modules[name]
        else:
            sys.modules[name] = before  # type: ignore[assignment]
