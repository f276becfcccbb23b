"""Runs a traced host on a `Framed` input, operation by operation."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_aggregate

from reprogram.engine.aliasing import in_place
from reprogram.engine.rules import rule_for
from reprogram.engine.rules.tables import Rule
from reprogram.engine.sharing import ChannelsLast, dense
from reprogram.engine.tape import Shelf, Tape, running, shelf
from reprogram.framed import Framed

UNCOVERED = "the rule doesn't cover these arguments"

Watch = Callable[[fx.Node, tuple[Any, ...], Any, str], None]
"""Told of each operation: the node, its arguments, its result, and why it ran dense, or ""."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """One operation of a host, with all that is known of it before it runs.

    Attributes:
        node: of the graph.
        op: what kind of node it is.
        args: of the node.
        kwargs: of the node.
        call: what the host calls.
        rule: how it runs on `Framed` maps; None where none takes these arguments.
        refusal: why there is no rule.
        plain: whether the arguments are values and nodes, without lists of them.
        writes: whether it writes into its input.
        drops: nodes whose values nobody reads after it.
    """

    node: fx.Node
    op: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    call: Callable[..., Any]
    rule: Rule | None
    refusal: str
    plain: bool
    writes: bool
    drops: tuple[fx.Node, ...]


class Executor:
    """Runs one traced host.

    Args:
        traced: the host.
    """

    def __init__(self, traced: fx.GraphModule) -> None:
        self.traced = traced
        self.modules = dict(traced.named_modules())
        drops = _last_uses(traced.graph)
        self.steps = [_step(node, self.modules, drops.get(node, ())) for node in traced.graph.nodes]
        self.shelf = Shelf()

    def __call__(self, value: Framed) -> Tensor:
        """Compute the host's output for a batch that shares its frame; see `run`.

        Without gradients, what depends on the frame alone is kept for the next batch with the same frame.
        """
        if torch.is_grad_enabled():
            self.shelf.clear()
            return self.run(value)
        named = shelf()
        kept = self.shelf if named is None else named
        tape = kept.get(self)
        if tape is None or not tape.fits(value):
            tape = Tape(value)
        with running(tape):
            output = self.run(value)
        tape.complete = True
        kept[self] = tape
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
        for step in self.steps:
            node = step.node
            if step.op == "placeholder":
                values[node] = value if not values else (step.args[0] if step.args else None)
                continue
            if step.op == "get_attr":
                values[node] = _attribute(self.traced, str(node.target))
                continue
            args, kwargs = _arguments(step, values)
            if step.op == "output":
                output: Tensor = map_aggregate(args[0], _dense)
                return output
            values[node], why = _run(step, args, kwargs)
            if watch is not None:
                watch(node, args, values[node], why)
            if step.writes:
                _rebind(values, args[0] if args else kwargs.get("input"), values[node])
            del args, kwargs  # Nothing outlives its last use: the largest maps decide the peak of memory.
            for used in step.drops:
                del values[used]
        raise AssertionError("a graph ends with its output")


def _step(node: fx.Node, modules: dict[str, nn.Module], drops: Sequence[fx.Node]) -> Step:
    call: Any = None
    rule = None
    if node.op == "call_module":
        call = modules[str(node.target)]
        rule = rule_for(type(call))
    elif node.op == "call_method":
        call = _method(str(node.target))
        rule = rule_for(node.target)
    elif node.op == "call_function":
        call = node.target
        rule = rule_for(call)
    refusal = "no rule"
    if rule is not None and not _takes(rule, (call, *node.args), node.kwargs):
        rule, refusal = None, UNCOVERED
    return Step(
        node=node,
        op=node.op,
        args=tuple(node.args),
        kwargs=dict(node.kwargs),
        call=call,
        rule=rule,
        refusal=refusal,
        plain=not any(isinstance(a, list | tuple | dict | slice) for a in (*node.args, *node.kwargs.values())),
        writes=in_place(node, modules),
        drops=tuple(drops),
    )


def _method(name: str) -> Callable[..., Any]:
    return lambda value, *args, **kwargs: getattr(value, name)(*args, **kwargs)


def _arguments(step: Step, values: dict[fx.Node, Any]) -> Any:
    """The operation's arguments, with values for nodes."""
    if step.plain:
        return (
            tuple([values[a] if isinstance(a, fx.Node) else a for a in step.args]),
            {key: values[a] if isinstance(a, fx.Node) else a for key, a in step.kwargs.items()},
        )
    return map_aggregate((step.args, step.kwargs), lambda a: values[a] if isinstance(a, fx.Node) else a)


def _run(step: Step, args: Any, kwargs: Any) -> tuple[Any, str]:
    """The result of one operation, and why it ran dense."""
    if not _holds_framed(args) and not _holds_framed(kwargs):
        return step.call(*args, **kwargs), ""
    why = step.refusal
    if step.rule is not None and args and not _holds_framed(kwargs):
        result = step.rule(step.call, *args, **kwargs)
        if result is not NotImplemented:
            return result, ""
        why = UNCOVERED
    args, kwargs = map_aggregate((args, kwargs), _dense)
    return step.call(*args, **kwargs), why


def _takes(rule: Rule, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a rule knows these arguments."""
    try:
        inspect.signature(rule).bind(*args, **kwargs)
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
    """Whether a `Framed` map is in these arguments, or in a list among them."""
    for argument in arguments.values() if isinstance(arguments, dict) else arguments:
        if isinstance(argument, Framed | ChannelsLast):
            return True
        if isinstance(argument, list | tuple | dict) and _holds_framed(argument):
            return True
    return False


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
