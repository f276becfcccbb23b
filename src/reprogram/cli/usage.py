"""What a command line and the environment give to a verb: options by their names, and one line on each mistake."""

import os
import sysconfig
import traceback
import typing
from collections.abc import Callable, Iterable
from importlib.metadata import entry_points
from pathlib import Path
from types import FrameType

from cyclopts import UNSET, App, CycloptsError, RepeatArgumentError, UnusedCliTokensError
from cyclopts.argument import Argument, ArgumentCollection
from cyclopts.config import Env

from reprogram.errors import ConfigError, ReprogramError
from reprogram.registry import FAMILIES, FOLDERS
from reprogram.utils.files import home
from reprogram.utils.messages import nearest

PREFIX = "REPROGRAM_"
SPOKEN = "--i-am-authorised"
"""The option that is no consent unless the command line itself gives it."""


class UsageError(ReprogramError):
    """An option or a verb that isn't there."""

    exit_code = 2


class Environment:
    """Options from the variables `REPROGRAM_*`. A variable that stands for no option of any verb is refused.

    What a command line gives without a name, such as image files, has no variable: `REPROGRAM_IMAGES` is the option
    `--images` of `fit` alone. A variable that is empty counts as one that isn't set.

    Args:
        root: gives the command line with all verbs.
    """

    def __init__(self, root: Callable[[], App]) -> None:
        self._root, self._env = root, Env(PREFIX, command=False)

    def __call__(self, app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
        """Give the options of a verb the values that the environment has for them.

        Args:
            app: the command line.
            commands: the verb.
            arguments: of the verb; those that the command line gives keep their values.

        Raises:
            ConfigError: a variable stands for no option, or an option that was given is empty.
        """
        if _variable(SPOKEN) in _set():
            raise ConfigError(
                f"{_variable(SPOKEN)}: is no consent; say {SPOKEN} HOST on the command line, at each start"
            )
        options = [argument for argument in arguments if argument.field_info.is_keyword]
        if unknown := _set().difference(_variables(options)):
            _refuse_unknown(self._root(), unknown)
        self._env(app, commands, ArgumentCollection(options))  # type: ignore[no-untyped-call]
        refuse_empty(app, commands, arguments)


def is_from_environment(option: str) -> bool:
    """Whether a variable gives an option; one that isn't for the verb at hand says nothing against it.

    Args:
        option: its name, such as "--host".
    """
    return _variable(option) in _set()


def refuse_empty(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Refuse an empty value, as of an unset variable in a script: an empty path would be the current folder.

    In a path, `~` at the beginning is the home folder: few shells replace it in `--out=~/runs`.

    Args:
        app: the command line.
        commands: the verb.
        arguments: of the verb, with their values.

    Raises:
        ConfigError: a value is empty; names the option.
    """
    for argument in arguments:
        given = [token for token in argument.tokens if token.value or token.source != "env"]
        is_path = Path in (argument.hint, *typing.get_args(argument.hint))
        argument.tokens = [token.evolve(value=home(token.value)) for token in given] if is_path else given
        for token in argument.tokens:
            if not token.value and token.implicit_value is UNSET:  # A flag has no value.
                raise ConfigError(f"{token.keyword or argument.name}: is empty; give a value, or leave it out")


def _set() -> set[str]:
    """The names of the variables that are set, and not empty."""
    return {name for name, value in os.environ.items() if name.startswith(PREFIX) and value}


def _variable(option: str) -> str:
    """The variable of an option."""
    return PREFIX + option.lstrip("-").replace("-", "_").upper()


def _variables(arguments: Iterable[Argument]) -> dict[str, str]:
    """The options that variables stand for, by the variables' names."""
    options: dict[str, str] = {}
    for argument in arguments:
        own = {name: _variable(name) for name in argument.names if name != "*"}
        options |= {variable: name for name, variable in own.items()}
        options |= dict.fromkeys(argument.parameter.env_var or (), argument.name)
    return options


def _refuse_unknown(root: App, names: set[str]) -> None:
    """Refuse variables that are no option of any verb; the files of all verbs are imported for that."""
    known: dict[str, str] = {}
    apps = [root]
    while apps:
        command = apps.pop()
        verbs = [command[name] for name in command if not name.startswith("-")]
        known |= {} if verbs else _variables(command.assemble_argument_collection())
        apps += verbs
    for name in sorted(names.difference(known)):
        if name.upper() in known:
            raise ConfigError(f"environment variable {name}: is written in capitals; set {name.upper()} instead")
        option = "--" + name.removeprefix(PREFIX).lower().replace("_", "-")
        options = sorted({*known.values()})
        raise ConfigError(f"environment variable {name}: no verb has an option {option}; {nearest(option, options)}")


def explain(error: CycloptsError) -> str:
    """What is wrong with a command line, in one line.

    Args:
        error: the parser's error.
    """
    verb = " ".join(error.command_chain or ())
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        text = f"{verb}: {error.unused_tokens[0]!r} is one argument too many"
    elif isinstance(error, RepeatArgumentError):
        names = _names_given(error)
        what = f"{' and '.join(names)} are two names of one option" if len(names) > 1 else f"{names[0]} is given twice"
        text = f"{verb}: {what}; leave one of them out"
    else:
        text = " ".join(str(error).split())
    return f"{text} ({' '.join(['reprogram', verb]).strip()} --help shows what there is)"


def _names_given(error: RepeatArgumentError) -> list[str]:
    """The names by which the command line and the environment give one option."""
    given = dict.fromkeys([*(word.partition("=")[0] for word in error.root_input_tokens or ()), *os.environ])
    arguments = error.app.assemble_argument_collection() if error.app is not None else []
    for argument in arguments:
        names = {*argument.names, *_variables([argument])}
        if error.token.keyword in names:
            return [name for name in given if name in names]
    return [str(error.token.keyword)]


def variants_mistake(error: BaseException) -> str | None:
    """A line on a mistake in a variant's own file, which anybody may have written; None for every other error.

    Args:
        error: what was raised while a verb ran.
    """
    packages = [f"reprogram.{FOLDERS.get(family, family)}" for family in FAMILIES]
    installed = {point.module.partition(".")[0] for package in packages for point in entry_points(group=package)}
    frames = [(*_module(frame), frame, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    own = [found for found in frames if found[0].partition(".")[0] in {"reprogram", *installed}]
    others = [found for found in own if found[0].partition(".")[0] in installed]
    # What fails in our code that another package's variant called is its mistake too.
    if not own:
        return None
    package, name, frame, line = (others or own)[-1]
    is_variant = package in packages and not name.startswith("_") and name != "base"
    if not (is_variant or others):
        return None
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:500]
    return f"{frame.f_code.co_filename}, line {line}: {reason}; mend this file, or report it if it came with reprogram"


def stranger_that_exits(error: SystemExit) -> str | None:
    """A line on code that isn't ours and ended the process, as a host's function may; None where we ended it.

    Args:
        error: what was raised while a verb ran.
    """
    frames = list(traceback.walk_tb(error.__traceback__))
    outer = [found for found in frames if _module(found[0])[0].partition(".")[0] not in {"reprogram", "cyclopts"}]
    if not outer or outer[-1] != frames[-1]:
        return None
    installed = (sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))
    own = [found for found in outer if not found[0].f_code.co_filename.startswith(installed)]
    frame, line = (own or outer)[-1]
    reason = " ".join(f"SystemExit: {error}".split())[:500]
    return f"{frame.f_code.co_filename}, line {line}: ends the process ({reason}); raise an error there instead"


def _module(frame: FrameType) -> tuple[str, str]:
    """The package and the name of the module whose code a frame runs; a module of no package is its own."""
    package, _, name = str(frame.f_globals.get("__name__", "")).rpartition(".")
    return package or name, name
