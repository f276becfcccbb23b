"""The command line, one verb a file. Results go to stdout, all else to stderr; errors carry their exit codes."""

import contextlib
import json
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cyclopts import App, CycloptsError

from reprogram._version import __version__
from reprogram.cli.streams import OutputError, ReaderGoneError, limit_width, standard_streams
from reprogram.cli.usage import Environment, UsageError, explain, stranger_that_exits, variants_mistake
from reprogram.errors import ConfigError, ReprogramError
from reprogram.utils.files import refused_by_the_system
from reprogram.utils.text import printable

VERBS = {
    "demo": "Count squares and read digits with a frozen ImageNet network: the main job in ten minutes.",
    "fit": "Learn a program, measure it, report it.",
    "sweep": "Run a grid: hosts, tasks, programs, seeds; each cell a run, on several workers.",
    "evaluate": "Measure a program on a task.",
    "predict": "Task labels for image files, and what the host itself sees.",
    "serve": "Programs as a service over HTTP: the Open Inference Protocol, image files, a page to try them.",
    "detect": "Read a log of queries, and name those that look like a program.",
    "export": "Write a program with its host as a file that other runtimes run: ONNX, PyTorch, OpenVINO.",
    "inspect": "Check a program file and show what it holds, without its host.",
    "card": "Write the folder that a program is shared as: the program, a model card, pictures.",
    "push": "Send a program with its card to the Hugging Face Hub.",
    "pull": "Fetch a program from the Hugging Face Hub, and check it.",
    "runs": "The runs there are: list, show, compare, remove them.",
    "report": "Write a finished run's report anew.",
    "paper": "The 2018 paper's tables and figures, run again.",
    "audit": "How much of another task a stranger can get out of a host, at what price.",
    "list": "The hosts, tasks, programs and other components there are, and the recipes.",
    "convert": "Turn a pickle of weights that you trust into safetensors.",
    "doctor": "Versions, devices, caches, what is missing; what the engine saves on a host.",
}
EXIT_BUG, EXIT_INTERRUPTED, EXIT_PIPE = 1, 130, 141
HANGUP = getattr(signal, "SIGHUP", signal.SIGTERM)  # Windows has none.


class Commands(App):
    """The verbs."""

    def generate_completion(self, **options: Any) -> str:
        """The script that a shell completes by; bash itself completes files, also those with spaces, and folders.

        Args:
            options: those of cyclopts.
        """
        script = super().generate_completion(**options)
        script = script.replace('COMPREPLY=( $(compgen -f -- "${cur}") )', "COMPREPLY=()")
        return script.replace("\ncomplete -F ", "\ncomplete -o bashdefault -o default -F ")


RESUMED = {"fit", "sweep", "paper", "audit", "demo", "predict"}
"""The verbs that go on where they were interrupted."""

app: App = Commands(
    name="reprogram",
    help="Learn one input program that makes a frozen classifier do another task. "
    "Options may also be given as REPROGRAM_* environment variables.",
    version=__version__,
    config=Environment(lambda: app),
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
    result_action="return_value",
)
for verb, purpose in VERBS.items():
    app.command(
        f"reprogram.cli.{verb}:{verb}_command", name=verb, help=purpose
    )  # A verb's file is imported when it is called.
app.register_install_completion_command()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: the arguments; by default those of the process.

    Returns:
        The exit code: 0 done, 1 a bug, 2 usage, 3 configuration, data or output, 4 program file refused, 5 host
        unavailable or mismatched, 6 verification failed, 10 an audit's gate, 129, 130 and 143 interrupted, 141 the
        reader of stdout went away.
    """
    with contextlib.suppress(ValueError):  # Only the main thread may set handlers.
        signal.signal(signal.SIGTERM, _terminate)
        if signal.getsignal(HANGUP) is signal.SIG_DFL:  # Under nohup it is ignored, and stays so.
            signal.signal(HANGUP, _terminate)
    limit_width()
    with _plain_warnings(), standard_streams():
        try:
            return _run([*(sys.argv[1:] if arguments is None else arguments)])
        finally:
            with contextlib.suppress(OutputError, ReaderGoneError):
                sys.stdout.flush()


def _run(arguments: list[str]) -> int:
    """Run a verb; what it raises is one line on stderr, and an exit code."""
    try:
        _require_folder()
        code = app(arguments, exit_on_error=False, print_error=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except CycloptsError as error:
        _complain(explain(error))
        return UsageError.exit_code
    except ReprogramError as error:
        if error.details and "--json" in arguments:
            with contextlib.suppress(OutputError, ReaderGoneError):
                print(json.dumps({"error": str(error), "details": error.details}, indent=2))
        _complain(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        _complain(f"interrupted{_going_on(arguments)}")
        return EXIT_INTERRUPTED
    except SystemExit as error:
        if error.code in (129, 143):
            _complain(f"terminated{_going_on(arguments)}")
        elif (refusal := stranger_that_exits(error)) is not None:
            _complain(refusal)
            return ReprogramError.exit_code
        return error.code if isinstance(error.code, int) else EXIT_BUG
    except ReaderGoneError:
        return EXIT_PIPE
    except Exception as error:
        if (refusal := refused_by_the_system(error) or variants_mistake(error)) is not None:
            _complain(refusal)
            return ReprogramError.exit_code
        traceback.print_exc()
        _complain("this is a bug in reprogram; please report it with the lines above")
        return EXIT_BUG


def _require_folder() -> None:
    """Refuse a current folder that was removed: not even PyTorch loads in it."""
    try:
        Path.cwd()
    except OSError as error:
        raise ConfigError(f"the current folder can't be used ({error.strerror}); change to one that is there") from None


def _going_on(arguments: list[str]) -> str:
    """What is said of verbs that go on where they were interrupted."""
    verb = next((argument for argument in arguments if not argument.startswith("-")), "")
    return "; the same command goes on where a run stopped" if verb in RESUMED else ""


def _terminate(number: int, _: object) -> None:
    raise SystemExit(128 + number)


@contextlib.contextmanager
def _plain_warnings() -> Iterator[None]:
    """A context in which warnings for users are a line each, without the code that gave them."""
    usual = warnings.formatwarning

    def plain(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
    ) -> str:
        if category is not UserWarning:
            return usual(message, category, filename, lineno, line)
        return f"reprogram: warning: {printable(str(message))}\n"

    warnings.formatwarning = plain
    try:
        yield
    finally:
        warnings.formatwarning = usual


def _complain(text: str) -> None:
    """Print an error to stderr, in one line."""
    print(f"reprogram: {printable(text)}", file=sys.stderr)
