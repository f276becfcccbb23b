"""Rules: how each operation of a host runs on `Framed` maps, one function an operation.

A rule is found by the operation's module type, function or method name. Its arguments are those of the host's call:

    call: the operation itself: the module (named `layer` then), the function, or a function that calls the method.
    value: the operation's input: `Framed` or `ChannelsLast` maps. Where several are joined, a list of them.
    others: the operation's further arguments, with the names and defaults that PyTorch gives them.

It returns `Framed` or `ChannelsLast` maps; a tensor where the output differs from image to image everywhere; or
`NotImplemented` for arguments that it doesn't cover. An operation without a rule, or with one that returns
`NotImplemented` or whose signature doesn't take the arguments, runs dense: always exact, only slower.

To add a rule, write a function in the file of its family and register it with `for_modules` or `for_functions`, or with
`for_library` for an operation of another library than PyTorch. Rules are called through the tables alone, so that their
names are private.
"""

from reprogram.engine.rules import joining, pointwise, pooling, shapes, sliding
from reprogram.engine.rules.tables import FUNCTIONS, MODULES, rule_for

__all__ = ["FUNCTIONS", "MODULES", "joining", "pointwise", "pooling", "rule_for", "shapes", "sliding"]
