"""Only the scores that somebody reads: a host whose last layer computes a few of its labels."""

import copy

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from reprogram.engine.convolution import Convolution
from reprogram.engine.product import Product

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
"""What may come behind a last layer: operations that leave each label to itself."""


def only(traced: fx.GraphModule, labels: Tensor, num_labels: int) -> fx.GraphModule | None:
    """A host that gives the scores of these labels alone, in this order.

    Args:
        traced: the host.
        labels: indices.
        num_labels: K, of the host.

    Returns:
        A module that shares everything but the last layer; None where no last layer is to be seen.
    """
    last = _last_layer(traced, num_labels)
    if last is None:
        return None
    name = str(last.target)
    found = fx.GraphModule(traced, copy.deepcopy(traced.graph))
    layer = traced.get_submodule(name)
    assert isinstance(layer, Product | Convolution)
    parent, _, child = name.rpartition(".")
    setattr(found.get_submodule(parent), child, _rows(layer, labels))
    return found.eval()


def _last_layer(traced: fx.GraphModule, num_labels: int) -> fx.Node | None:
    """The node of the linear layer or convolution with an output for each label, if only it decides the scores."""
    output = next(node for node in traced.graph.nodes if node.op == "output")
    node = output.args[0]
    while isinstance(node, fx.Node) and len(node.users) == 1:
        layer = traced.get_submodule(str(node.target)) if node.op == "call_module" else None

        if isinstance(layer, Product | Convolution) and layer.groups == 1 and len(layer.weight) == num_labels:
            calls = [other for other in traced.graph.nodes if other.op == node.op and other.target == node.target]
            return node if len(calls) == 1 else None
        if (type(layer) if layer is not None else node.target) not in LABEL_BY_LABEL:
            return None
        node = node.args[0] if node.args else None
    return None


def _rows(layer: Product | Convolution, labels: Tensor) -> Product | Convolution:
    """The layer with some of its outputs; its weight is copied."""
    some = copy.copy(layer)
    some._parameters = dict(layer._parameters)
    labels = labels.to(layer.weight.device)
    some.weight = nn.Parameter(layer.weight[labels].clone(memory_format=torch.preserve_format), requires_grad=False)
    if isinstance(layer.bias, Tensor):
        some.bias = nn.Parameter(layer.bias[labels], requires_grad=False)
    some.forget()
    return some
