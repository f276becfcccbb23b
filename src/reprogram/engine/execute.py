"""Runs a traced host on a `Framed` input, operation by operation."""

from typing import Any

from torch import Tensor, fx
from torch.fx.node import map_aggregate

from reprogram.engine.aliasing import in_place
from reprogram.engine.rules import FUNCTIONS, MODULES
from reprogram.engine.sharing import dense
from reprogram.framed import Framed


def execute(traced: fx.GraphModule, value: Framed) -> Tensor:
    """Compute a host's output for a batch that shares its frame.

    Args:
        traced: the host.
        value: its normalised input.

    Returns:
        What `traced(value.dense())` returns.
    """
    modules = dict(traced.named_modules())
    values: dict[fx.Node, Any] = {}
    last_use = _last_uses(traced.graph)
    for node in traced.graph.nodes:
        args, kwargs = map_aggregate((node.args, node.kwargs), lambda a: values[a] if isinstance(a, fx.Node) else a)
        if node.op == "placeholder":
            values[node] = value if not values else (node.args[0] if node.args else None)
        elif node.op == "get_attr":
            values[node] = _attribute(traced, str(node.target))
        elif node.op == "output":
            output: Tensor = map_aggregate(args[0], _dense)
            return output
        else:
            values[node] = _run(node, modules, args, kwargs)
            if args and isinstance(args[0], Framed) and in_place(node, modules):
                _rebind(values, args[0], values[node])
        for used in last_use.get(node, ()):
            del values[used]
    raise AssertionError("a graph ends with its output")


def _run(node: fx.Node, modules: Any, args: Any, kwargs: Any) -> Any:
    if node.op == "call_module":
        call = modules[node.target]
        rule = MODULES.get(type(call))
    elif node.op == "call_method":
        name = str(node.target)
        call = lambda value, *a, **k: getattr(value, name)(*a, **k)  # noqa: E731
        rule = FUNCTIONS.get(name)
    else:
        call = node.target
        rule = FUNCTIONS.get(call)
    if not _holds_framed((args, kwargs)):
        return call(*args, **kwargs)
    if rule is not None and args and not _holds_framed(kwargs):
        result = rule(call, *args, **kwargs)
        if result is not NotImplemented:
            return result
    args, kwargs = map_aggregate((args, kwargs), _dense)
    return call(*args, **kwargs)


def _rebind(values: dict[fx.Node, Any], written: Framed, result: Any) -> None:
    """Let everything that was this map be the result: an operation wrote into it."""
    for node, value in values.items():
        if isinstance(value, Framed) and value.frame is written.frame:
            values[node] = result


def _holds_framed(arguments: Any) -> bool:
    found = []
    map_aggregate(arguments, lambda a: found.append(a) if isinstance(a, Framed) else None)
    return bool(found)


def _dense(value: Any) -> Any:
    return dense(value) if isinstance(value, Framed) else value


def _attribute(module: Any, path: str) -> Any:
    for name in path.split("."):
        module = getattr(module, name)
    return module


def _last_uses(graph: fx.Graph) -> dict[fx.Node, list[fx.Node]]:
    """For each node, the values that nobody reads after it."""
    last: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        for used in node.all_input_nodes:
            last[used] = node
    result: dict[fx.Node, list[fx.Node]] = {}
    for used, node in last.items():
        if node.op != "output":
            result.setdefault(node, []).append(used)
    return result
