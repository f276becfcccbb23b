"""A host whose last layer computes the scores of some labels only: those that a label map reads."""

import copy

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from reprogram.engine.convolution import Convolution
from reprogram.engine.linear import EngineLinear
from reprogram.engine.trace import set_evaluation

LABEL_BY_LABEL = (
    nn.Identity,
    nn.Dropout,
    nn.Dropout2d,
    nn.ReLU,
    nn.ReLU6,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
    nn.Flatten,
    F.relu,
    F.dropout,
    F.adaptive_avg_pool2d,
    F.avg_pool2d,
    torch.flatten,
    torch.relu,
    "flatten",
    "mean",
    "relu",
    "squeeze",
)
"""Operations that may follow the last layer: they don't mix labels."""


def keep_labels(traced: fx.GraphModule, labels: Tensor, num_labels: int) -> fx.GraphModule | None:
    """A host that gives the scores of some labels alone, in their order.

    Args:
        traced: the host's graph.
        labels: m indices in [0, K).
        num_labels: K, the number of the host's labels.

    Returns:
        A graph that shares everything but the last layer with `traced`; None where no layer computes one score a label.
    """
    last = _last_layer(traced, num_labels)
    if last is None:
        return None
    name = str(last.target)
    subset = fx.GraphModule(traced, copy.deepcopy(traced.graph))
    layer = traced.get_submodule(name)
    assert isinstance(layer, EngineLinear | Convolution)
    parent, _, child = name.rpartition(".")
    setattr(subset.get_submodule(parent), child, _rows(layer, labels))
    set_evaluation(subset)
    return subset


def _last_layer(traced: fx.GraphModule, num_labels: int) -> fx.Node | None:
    """The node of the linear layer or convolution that computes the scores, if nothing after it mixes labels."""
    output = next(node for node in traced.graph.nodes if node.op == "output")
    node = output.args[0]
    while isinstance(node, fx.Node) and len(node.users) == 1:
        layer = traced.get_submodule(str(node.target)) if node.op == "call_module" else None
        if isinstance(layer, EngineLinear | Convolution) and layer.groups == 1 and len(layer.weight) == num_labels:
            calls = [other for other in traced.graph.nodes if other.op == node.op and other.target == node.target]
            return node if len(calls) == 1 else None
        if (type(layer) if layer is not None else node.target) not in LABEL_BY_LABEL:
            return None
        node = node.args[0] if node.args else None
    return None


def _rows(layer: EngineLinear | Convolution, labels: Tensor) -> EngineLinear | Convolution:
    """A copy of a layer that computes some of its outputs."""
    subset = copy.copy(layer)
    subset._parameters = dict(layer._parameters)
    labels = labels.to(layer.weight.device)
    # K × c to m × c
    subset.weight = nn.Parameter(layer.weight[labels].clone(memory_format=torch.preserve_format), requires_grad=False)
    if isinstance(layer.bias, Tensor):
        subset.bias = nn.Parameter(layer.bias[labels], requires_grad=False)
    subset.forget()
    return subset
