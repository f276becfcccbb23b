"""Which operations write into their input, and where that forbids what the engine does."""

import operator
from typing import Any

from torch import fx, nn

from reprogram.engine.activations import Clip

IN_PLACE = (operator.iadd, operator.isub, operator.imul, operator.itruediv, operator.ipow)
"""Operators that write into their first argument."""

VIEWS = frozenset(
    [
        "getitem",
        "chunk",
        "split",
        "tensor_split",
        "unbind",
        "narrow",
        "select",
        "view",
        "reshape",
        "flatten",
        "unflatten",
        "permute",
        "transpose",
        "movedim",
        "squeeze",
        "unsqueeze",
        "expand",
        "expand_as",
        "diagonal",
        "unfold",
        "view_as",
        "t",
        "swapaxes",
        "getattr",
        "detach",
        "contiguous",
        "to",
        "type",
        "type_as",
        "float",
        "double",
        "half",
        "bfloat16",
        "cpu",
        "cuda",
        "ravel",
        "moveaxis",
        "swapdims",
        "dropout",
        "dropout1d",
        "dropout2d",
        "dropout3d",
        "alpha_dropout",
        "feature_alpha_dropout",
    ]
)
"""Names of operations whose result may share memory with their input, or is that input."""


def in_place(node: fx.Node, modules: dict[str, Any]) -> bool:
    """Whether an operation writes into its first argument.

    Args:
        node: the operation.
        modules: the modules of the graph by name.
    """
    if node.op == "call_module":
        layer = modules[str(node.target)]
        if isinstance(layer, nn.modules.dropout._DropoutNd):
            return False  # Hosts are in evaluation mode.
        return bool(getattr(layer, "inplace", isinstance(layer, Clip)))
    if node.op == "call_method":
        return str(node.target).endswith("_") and not str(node.target).endswith("__")
    if node.op == "call_function":
        name = getattr(node.target, "__name__", "")
        return node.target in IN_PLACE or name.endswith("_") or bool(node.kwargs.get("inplace"))
    return False


def written_by(node: fx.Node, modules: dict[str, Any]) -> Any:
    """The argument that an operation writes into.

    Args:
        node: the operation.
        modules: the modules of the graph by name.

    Returns:
        A node as a rule; None where the operation writes into none of its arguments.
    """
    if not in_place(node, modules):
        return None
    return node.args[0] if node.args else node.kwargs.get("input")


def writes_into_part(traced: fx.GraphModule) -> bool:
    """Whether an operation writes into a view (a slice, say), or into a map that there is a view of.

    The engine works on copies or in another memory layout at times: then the map itself would stay as it was.

    Args:
        traced: the host's graph.
    """
    modules = dict(traced.named_modules())
    for node in traced.graph.nodes:
        if node.op == "call_function" and node.target is operator.setitem:
            return True
        source = written_by(node, modules)
        if not isinstance(source, fx.Node):
            continue
        if any(is_view(user) for user in source.users) or (is_view(source) and not _is_last_reader(source)):
            return True
    return False


def _is_last_reader(view: fx.Node) -> bool:
    """Whether a view is the only reader of the map that it is a view of."""
    base = view.args[0]
    return isinstance(base, fx.Node) and len(base.users) == 1 and not is_view(base) and base.op != "placeholder"


def is_view(node: fx.Node) -> bool:
    """Whether an operation's result may share memory with its input.

    Args:
        node: the operation.
    """
    if node.op not in ("call_method", "call_function"):
        return False
    if node.target is getattr and node.args[1] in ("shape", "ndim", "dtype", "device"):
        return False
    return (node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")) in VIEWS


def has_one_input(traced: fx.GraphModule) -> bool:
    """Whether a graph takes its images as one ordinary argument.

    Args:
        traced: the host's graph.
    """
    inputs = [node for node in traced.graph.nodes if node.op == "placeholder"]
    return not any(str(node.target).startswith("*") for node in inputs)
