"""Captures a pipeline as a graph of PyTorch's operations, in which everything that no image decides is folded."""

import contextlib
import logging
import operator
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import Dim, ExportedProgram

from reprogram.errors import ConfigError
from reprogram.exporters._pipeline import Pipeline

ANTIALIASED = (torch.ops.aten._upsample_bilinear2d_aa, torch.ops.aten._upsample_bicubic2d_aa)
"""Resizing with antialiasing, which few formats have; it is linear, and separable in rows and columns."""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """A context in which exporters' warnings and log lines, which are meant for their developers, aren't shown."""
    silenced = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(silenced)


def capture(pipeline: Pipeline, images: Tensor) -> ExportedProgram:
    """Capture a pipeline for any number of images.

    Args:
        pipeline: the pipeline; it has run once before, so that what it makes when first called is there.
        images: two or more example images, b × c × h × w, in the type that the graph shall take.

    Returns:
        The graph: no operation in it depends on constants alone.

    Raises:
        ConfigError: a part can't be captured; the message says which, and why.
    """
    if pipeline.program.moves:
        raise ConfigError(
            f"program {pipeline.program.name()} can't be exported: it is drawn anew for each image, and a file draws "
            "nothing; serve it, or use predict"
        )
    with quiet(), torch.no_grad():
        return _exported(folded(pipeline, images), images)


def folded(pipeline: nn.Module, images: Tensor) -> fx.GraphModule:
    """The captured and folded graph as a module that can be called; see `capture`.

    Args:
        pipeline: the pipeline.
        images: two or more example images.

    Raises:
        ConfigError: a part can't be captured.
    """
    with quiet(), torch.no_grad():
        try:
            graph = _module(_exported(pipeline, images))
        except Exception as error:  # PyTorch raises whatever the traced code raises.
            part = _culprit(pipeline, images) if isinstance(pipeline, Pipeline) else "the module"
            raise ConfigError(f"{part} can't be exported: {_reason(error)}") from None
        lower_resizes(graph)
        fold(graph)
        return graph


def _exported(module: nn.Module, *arguments: Tensor) -> ExportedProgram:
    batch = Dim("batch")
    return torch.export.export(module, arguments, dynamic_shapes=tuple({0: batch} for _ in arguments))


def _module(program: ExportedProgram) -> fx.GraphModule:
    """A captured graph as a module in which nothing is written into, without the checks that PyTorch adds."""
    if any(getattr(node.target, "_schema", None) and node.target._schema.is_mutable for node in program.graph.nodes):
        program = program.run_decompositions({})
    module = program.module()
    assert isinstance(module, fx.GraphModule)
    for node in list(module.graph.nodes):
        checks = node.op == "call_module" or node.target is torch.ops.aten._assert_tensor_metadata.default
        if checks and not node.users:
            module.graph.erase_node(node)
    return module


def lower_resizes(graph: fx.GraphModule) -> None:
    """Write each resizing with antialiasing as two products with constant matrices: R (x Cᵀ).

    Columns come first, as in PyTorch's own code: up to the order of sums in one pixel the result is the same, which
    decides where pixels are rounded to 8 bits afterwards.

    Args:
        graph: a captured graph; it is changed.
    """
    for node in list(graph.graph.nodes):
        if getattr(node.target, "overloadpacket", None) not in ANTIALIASED:
            continue
        images = node.args[0]
        before, after = images.meta["val"].shape[2:], node.meta["val"].shape[2:]
        align, resize = bool(_argument(node, "align_corners")), node.target.overloadpacket.default
        matrices = []
        for old, new in zip(map(int, before), map(int, after), strict=True):
            # The columns of the identity, each resized along one axis: old x old to new x old.
            eye = torch.eye(old, dtype=images.meta["val"].dtype)[None, None]
            matrices.append(resize(eye, [new, old], align, None, None)[0, 0])
        with graph.graph.inserting_before(node):
            rows = _constant(graph, f"{node.name}_rows", matrices[0])
            columns = _constant(graph, f"{node.name}_columns", matrices[1].T.contiguous())
            wide = graph.graph.call_function(torch.ops.aten.matmul.default, (images, columns))
            product = graph.graph.call_function(torch.ops.aten.matmul.default, (rows, wide))
        node.replace_all_uses_with(product)
        graph.graph.erase_node(node)
    graph.recompile()


def _argument(node: fx.Node, name: str) -> Any:
    """An argument of an operation by its name in the operation's schema."""
    names = [argument.name for argument in node.target._schema.arguments]  # type: ignore[union-attr]
    position = names.index(name)
    return node.args[position] if position < len(node.args) else node.kwargs.get(name)


def fold(graph: fx.GraphModule) -> None:
    """Compute what depends on constants alone, and put the results in its place.

    Args:
        graph: a captured graph; it is changed.
    """
    values: dict[fx.Node, Any] = {}
    for node in graph.graph.nodes:
        if node.op == "get_attr":
            values[node] = operator.attrgetter(str(node.target))(graph)
        elif node.op == "call_function" and all(source in values for source in node.all_input_nodes):
            args, kwargs = fx.node.map_arg((node.args, node.kwargs), values.__getitem__)
            values[node] = node.target(*args, **kwargs)
    for node in [node for node in reversed(values) if node.op != "get_attr"]:
        if isinstance(values[node], Tensor) and any(user not in values for user in node.users):
            with graph.graph.inserting_before(node):
                node.replace_all_uses_with(_constant(graph, node.name, values[node].clone()))
    graph.graph.eliminate_dead_code()
    graph.delete_all_unused_submodules()
    graph.recompile()


def _constant(graph: fx.GraphModule, name: str, value: Tensor) -> fx.Node:
    """A node that reads a new constant of the graph."""
    name = f"folded_{name}"
    graph.register_buffer(name, value)
    return graph.graph.get_attr(name)


class _Part(nn.Module):
    """Some steps of a pipeline, to find out which of them can't be captured."""

    def __init__(self, pipeline: Pipeline, name: str) -> None:
        super().__init__()
        self.pipeline, self.name = pipeline, name

    def forward(self, values: Tensor) -> Tensor:
        if self.name == "label map":
            return self.pipeline.label_map.run(values)
        if self.name == "canvas":
            return self.pipeline.canvas.place(values.float()).window
        return self.pipeline._host_input(values.float())


def _culprit(pipeline: Pipeline, images: Tensor) -> str:
    """The first part of a pipeline that can't be captured alone, for people; else the host."""
    scores = torch.zeros(2, pipeline.label_map.num_host_labels, dtype=pipeline.own)
    for name, part in (("canvas", pipeline.canvas), ("program", pipeline.program), ("label map", pipeline.label_map)):
        try:
            _exported(_Part(pipeline, name), scores if name == "label map" else images)
        except Exception:  # PyTorch raises whatever the traced code raises.
            return f"{name} {part.name()}"
    return f"host {pipeline.host_name}"


def _reason(error: Exception) -> str:
    """Why PyTorch refused, in one line."""
    text = " ".join(str(error).split())
    if "marked batch as dynamic but your code specialized it" in text or "Constraints violated (batch)" in text:
        return "its code takes the number of images for a constant (`len(x)` does so, `x.shape[0]` doesn't)"
    if "data-dependent" in text or "DataDependent" in type(error).__name__:
        return "its code decides by the values of pixels or scores"
    if ".numpy()" in text or "numpy" in text:
        return "its code leaves PyTorch for NumPy"
    return (text or type(error).__name__)[:200].rstrip(". ")
