"""How each operation runs on a `Framed` map: one function an operation, by module type, function or method name.

A rule takes the operation and its arguments, of which the first is a `Framed` (or `ChannelsLast`, or a list of them),
and returns one, or a tensor. An operation without a rule, or whose rule returns `NotImplemented`, runs dense: always
exact, only slower.

To add one, write a function in the file of its family and register it with `for_modules` or `for_functions`; with
`for_library` where it is of another library than PyTorch.
"""

from reprogram.engine.rules import joining, pointwise, pooling, shapes, sliding
from reprogram.engine.rules.tables import FUNCTIONS, MODULES, rule_for

__all__ = ["FUNCTIONS", "MODULES", "joining", "pointwise", "pooling", "rule_for", "shapes", "sliding"]
