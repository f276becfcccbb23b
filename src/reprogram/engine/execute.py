"""Runs a traced host on a `Framed` input, operation by operation."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.node import map_aggregate

from reprogram.engine.aliasing import in_place
from reprogram.engine.rules import FUNCTIONS, MODULES
from reprogram.engine.rules.tables import Rule
from reprogram.engine.sharing import ChannelsLast, dense
from reprogram.engine.tape import Tape, running
from reprogram.framed import Framed

Watch = Callable[[fx.Node, tuple[Any, ...], Any, str], None]
"""Told of each operation: the node, its arguments, its result, and why it ran dense, or ""."""


class Executor:
    """Runs one traced host.

    Args:
        traced: the host.
    """

    def __init__(self, traced: fx.GraphModule) -> None:
        self.traced = traced
        self.modules = dict(traced.named_modules())
        self.last_use = _last_uses(traced.graph)
        self.tape: Tape | None = None

    def __call__(self, value: Framed) -> Tensor:
        """Compute the host's output for a batch that shares its frame; see `run`.

        Without gradients, what depends on the frame alone is kept for the next batch with the same frame.
        """
        if torch.is_grad_enabled():
            self.tape = None
            return self.run(value)
        tape = self.tape
        if tape is None or not tape.fits(value):
            tape = Tape(value)
        with running(tape):
            output = self.run(value)
        tape.complete = True
        self.tape = tape
        return output

    def run(self, value: Framed, watch: Watch | None = None) -> Tensor:
        """Compute the host's output for a batch that shares its frame.

        Args:
            value: its normalised input.
            watch: told of each operation.

        Returns:
            What `traced(value.dense())` returns.
        """
        values: dict[fx.Node, Any] = {}
        for node in self.traced.graph.nodes:
            args, kwargs = map_aggregate((node.args, node.kwargs), lambda a: values[a] if isinstance(a, fx.Node) else a)
            if node.op == "placeholder":
                values[node] = value if not values else (node.args[0] if node.args else None)
                continue
            if node.op == "get_attr":
                values[node] = _attribute(self.traced, str(node.target))
                continue
            if node.op == "output":
                output: Tensor = map_aggregate(args[0], _dense)
                return output
            values[node], why = self._run(node, args, kwargs)
            if watch is not None:
                watch(node, args, values[node], why)
            if in_place(node, self.modules):
                _rebind(values, args[0] if args else kwargs.get("input"), values[node])
            del args, kwargs  # Nothing outlives its last use: the largest maps decide the peak of memory.
            for used in self.last_use.get(node, ()):
                del values[used]
        raise AssertionError("a graph ends with its output")

    def _run(self, node: fx.Node, args: Any, kwargs: Any) -> tuple[Any, str]:
        """The result of one operation, and why it ran dense."""
        if node.op == "call_module":
            call = self.modules[str(node.target)]
            rule = MODULES.get(type(call))
        elif node.op == "call_method":
            name = str(node.target)
            call = lambda value, *a, **k: getattr(value, name)(*a, **k)  # noqa: E731
            rule = FUNCTIONS.get(name)
        else:
            call = node.target
            rule = FUNCTIONS.get(call)
        if not _holds_framed((args, kwargs)):
            return call(*args, **kwargs), ""
        if rule is not None and args and not _holds_framed(kwargs) and _takes(rule, (call, *args), kwargs):
            result = rule(call, *args, **kwargs)
            if result is not NotImplemented:
                return result, ""
        args, kwargs = map_aggregate((args, kwargs), _dense)
        return call(*args, **kwargs), "no rule" if rule is None else "the rule doesn't cover these arguments"


@functools.cache
def _signature(rule: Rule) -> inspect.Signature:
    return inspect.signature(rule)


def _takes(rule: Rule, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a rule knows these arguments."""
    try:
        _signature(rule).bind(*args, **kwargs)
    except TypeError:
        return False
    return True


def _rebind(values: dict[fx.Node, Any], written: Any, result: Any) -> None:
    """Let everything that was this map be the result: an operation wrote into it."""
    if isinstance(written, ChannelsLast):
        written = written.maps
        result = result.maps if isinstance(result, ChannelsLast) else result.permute(0, 3, 1, 2)
    if not isinstance(written, Framed):
        return
    for node, value in values.items():
        if isinstance(value, Framed) and value.frame is written.frame:
            values[node] = result
        elif isinstance(value, ChannelsLast) and value.maps.frame is written.frame:
            values[node] = ChannelsLast(result) if isinstance(result, Framed) else result.permute(0, 2, 3, 1)


def _holds_framed(arguments: Any) -> bool:
    found = []
    map_aggregate(arguments, lambda a: found.append(a) if isinstance(a, Framed | ChannelsLast) else None)
    return bool(found)


def _dense(value: Any) -> Any:
    return dense(value) if isinstance(value, Framed | ChannelsLast) else value


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
