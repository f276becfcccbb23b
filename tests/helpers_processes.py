"""Processes that tests start and kill, without the seconds that a new one needs to import torch."""

import contextlib
import importlib
import logging
import os
import runpy
import signal
import subprocess
import sys
import traceback
import warnings

import torch

IMPORTED = ("reprogram.cli.fit", "reprogram.cli.paper", "reprogram.cli.sweep", "reprogram.paper.experiments.base")
IMPORTED += ("reprogram.runs.execute", "reprogram.report.page", "reprogram.sweep.executors.local", "matplotlib.figure")
IMPORTED += ("reprogram.sweep.scheduler", "reprogram.sweep.grid", "sklearn.datasets", "timm")
"""What a run imports, and takes seconds for."""


class Fork(subprocess.Popen):
    """`python -m ...` and `python -c ...` as Popen starts them, but in a fork, which has imported all that takes long.

    It is a process of its own, with its own pid, pipes, signals and exit code, which starts others in the same way:
    what a test kills is real, and what it waits for is the run and no import. Figures are left undrawn. Other programs
    start as usual.
    """

    def _execute_child(self, args, executable, preexec_fn, close_fds, pass_fds, cwd, env, startup, flags, shell, *rest):
        if args[0] != sys.executable or args[1] not in ("-m", "-c"):
            super()._execute_child(
                args, executable, preexec_fn, close_fds, pass_fds, cwd, env, startup, flags, shell, *rest
            )
            return
        for name in IMPORTED:
            importlib.import_module(name)
        pipes, new_session = rest[:6], rest[11]
        self.pid = os.fork()
        if self.pid == 0:
            try:
                _renew([pipes[0], pipes[3], pipes[5]], env, cwd)
                if new_session:
                    os.setsid()
                if preexec_fn is not None:
                    preexec_fn()
                _run_and_exit(args)
            finally:
                os._exit(1)
        self._child_created = True
        self._close_pipe_fds(*pipes)


def undrawn(figure, file, **_):
    """A figure's `savefig` where nobody looks at it: drawing three takes longer than a short run."""
    file.write(b"<svg/>")


def _renew(streams, env, cwd):
    """Make a fork what a new process is: its streams, environment, handlers of signals, warnings and threads."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.set_wakeup_fd(-1)
    for standard, stream in enumerate(streams):
        if stream != -1:
            os.dup2(stream, standard)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
        for number, mode in ((0, "r"), (1, "w"), (2, "w"))
    )
    sys.stderr.reconfigure(line_buffering=True, errors="backslashreplace")
    if env is not None:
        os.environ.clear()
        os.environ.update(env)
    if cwd is not None:
        os.chdir(cwd)
    importlib.import_module("matplotlib.figure").Figure.savefig = undrawn
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    logging.getLogger().handlers.clear()
    warnings.resetwarnings()
    warnings.simplefilter("ignore", DeprecationWarning)
    torch.set_num_threads(1)
    subprocess.Popen = Fork


def _run_and_exit(args):
    """Run a module or a text as the interpreter does, and end this process with its exit code."""
    code = 0
    try:
        if args[1] == "-m":
            sys.argv = list(args[2:])
            runpy.run_module(args[2], run_name="__main__", alter_sys=True)
        else:
            sys.argv = ["-c", *args[3:]]
            exec(args[2], {"__name__": "__main__"})  # noqa: S102
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        code = 1
        traceback.print_exc()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
    os._exit(code)


def spawn(*arguments, env=None, **kwargs):
    """`reprogram` with these arguments, in a fork; a Popen."""
    return Fork(
        [sys.executable, "-m", "reprogram", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1", **(env or {})},
        **{"text": True, **kwargs},
    )
