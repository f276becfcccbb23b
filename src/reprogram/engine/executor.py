"""The executor: it runs a traced host on a `Framed` input, operation by operation."""

import inspect
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_aggregate

from reprogram.engine.aliasing import in_place
from reprogram.engine.frame_cache import CacheStore, FrameCache, current_store, is_caching, use_cache
from reprogram.engine.framed_ops import ChannelsLast, dense
from reprogram.engine.rules.tables import Rule, rule_for
from reprogram.framed import Framed

UNCOVERED = "the rule doesn't cover these arguments"
"""The reason why an operation with a rule ran dense."""

OWN = "an operand that each image has to itself"
"""The reason why an operation on cached maps ran dense."""

Watch = Callable[[fx.Node, tuple[Any, ...], Any, str], None]
"""A function that is called after each operation: the node, its arguments, its result, and why it ran dense, or ""."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """One operation of a host, with everything that is known of it before it runs.

    Attributes:
        node: the node of the graph.
        op: the node's kind, such as "call_module".
        args: the node's positional arguments.
        kwargs: the node's keyword arguments.
        call: the module, function or method that the host calls.
        rule: the rule by which it runs on `Framed` maps; None where no rule takes these arguments.
        refusal: the reason why there is no rule.
        plain: whether the arguments are values and nodes, without lists of them.
        writes: whether the operation writes into its input.
        drops: the nodes whose values nobody reads after it.
        computed: the nodes among its arguments whose values depend on the host's input.
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
    computed: tuple[fx.Node, ...]


class Executor:
    """Runs one traced host on `Framed` batches.

    Args:
        traced: the host's graph.

    Attributes:
        modules: the graph's modules by name.
        steps: its operations in order.
        store: the frame cache of the last frame that ran without gradients.
    """

    def __init__(self, traced: fx.GraphModule) -> None:
        self.traced = traced
        self.modules = dict(traced.named_modules())
        drops, computed = _last_uses(traced.graph), _input_dependent(traced.graph)
        self.steps = [_step(node, self.modules, drops.get(node, ()), computed) for node in traced.graph.nodes]
        self.store = CacheStore()

    def __call__(self, value: Framed) -> Tensor:
        """Compute the host's output for a batch that shares its frame; see `run`.

        Without gradients, what depends on the frame alone is kept for the next batch with the same frame.
        """
        if torch.is_grad_enabled():
            self.store.clear()
            return self.run(value)
        named_store = current_store()
        store = self.store if named_store is None else named_store
        cache = store.get(self)
        if cache is None or not cache.fits(value):
            cache = FrameCache(value)
        with use_cache(cache):
            output = self.run(value)
        cache.complete = True
        store[self] = cache
        return output

    def run(self, value: Framed, watch: Watch | None = None) -> Tensor:
        """Compute the host's output for a batch that shares its frame.

        Args:
            value: the host's normalised input.
            watch: is called after each operation.

        Returns:
            The output of `traced(value.dense())`, up to rounding.
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
            values[node], reason = _run(step, args, kwargs, own=_has_own_values(step, values))
            if watch is not None:
                watch(node, args, values[node], reason)
            if step.writes:
                _rebind(values, args[0] if args else kwargs.get("input"), values[node])
            del args, kwargs  # Nothing outlives its last use: the largest maps decide the peak of memory.
            for used in step.drops:
                del values[used]
        raise AssertionError("a graph ends with its output")


def _step(node: fx.Node, modules: dict[str, nn.Module], drops: Sequence[fx.Node], computed: Set[fx.Node]) -> Step:
    """The step of a node, with the rule that takes its arguments."""
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
        computed=tuple(source for source in node.all_input_nodes if source in computed),
    )


def _method(name: str) -> Callable[..., Any]:
    """A function that calls a method of its first argument."""
    return lambda value, *args, **kwargs: getattr(value, name)(*args, **kwargs)


def _arguments(step: Step, values: dict[fx.Node, Any]) -> Any:
    """The operation's positional and keyword arguments, with the values of nodes in place of the nodes."""
    if step.plain:
        return (
            tuple([values[a] if isinstance(a, fx.Node) else a for a in step.args]),
            {key: values[a] if isinstance(a, fx.Node) else a for key, a in step.kwargs.items()},
        )
    return map_aggregate((step.args, step.kwargs), lambda a: values[a] if isinstance(a, fx.Node) else a)


def _has_own_values(step: Step, values: dict[fx.Node, Any]) -> bool:
    """Whether an operand is a tensor that each image has to itself, such as a gate that is made from its pixels.

    In a batch of one it has the shape of a constant. Nothing that is made with it may be cached as the frame's own.
    """
    return is_caching() and any(isinstance(values[source], Tensor) for source in step.computed)


def _run(step: Step, args: Any, kwargs: Any, *, own: bool) -> tuple[Any, str]:
    """The result of one operation, and why it ran dense; no rule takes operands that each image has to itself."""
    if not _holds_framed(args) and not _holds_framed(kwargs):
        return step.call(*args, **kwargs), ""
    reason = OWN if own else step.refusal
    if step.rule is not None and args and not own and not _holds_framed(kwargs):
        result = step.rule(step.call, *args, **kwargs)
        if result is not NotImplemented:
            return result, ""
        reason = UNCOVERED
    args, kwargs = map_aggregate((args, kwargs), _dense)
    return step.call(*args, **kwargs), reason


def _takes(rule: Rule, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a rule's signature takes these arguments."""
    try:
        inspect.signature(rule).bind(*args, **kwargs)
    except TypeError:
        return False
    return True


def _rebind(values: dict[fx.Node, Any], written: Any, result: Any) -> None:
    """Give every node that holds a map the result of the operation that wrote into that map."""
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
    """The ordinary batch of `Framed` maps; any other value as it is."""
    return dense(value) if isinstance(value, Framed | ChannelsLast) else value


def _input_dependent(graph: fx.Graph) -> set[fx.Node]:
    """The nodes whose values depend on the host's input."""
    found: set[fx.Node] = set()
    for node in graph.nodes:  # In the order of execution.
        if node.op == "placeholder" or not found.isdisjoint(node.all_input_nodes):
            found.add(node)
    return found


def _attribute(module: Any, path: str) -> Any:
    """An attribute of a module by its dotted path."""
    for name in path.split("."):
        module = getattr(module, name)
    return module


def _last_uses(graph: fx.Graph) -> dict[fx.Node, list[fx.Node]]:
    """The nodes whose values nobody reads after a node, for each node."""
    last: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        for used in node.all_input_nodes:
            last[used] = node
    result: dict[fx.Node, list[fx.Node]] = {}
    for used, node in last.items():
        if node.op != "output":
            result.setdefault(node, []).append(used)
    return result
