"""Shape contracts are checked while the tests run (and only then), and what many tests build is built once."""

import contextlib
import ctypes
import gc
import os
import signal
from collections import Counter
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

os.environ.setdefault("OMP_NUM_THREADS", "1")  # Tiny tensors: a second thread only waits. Processes inherit it.
for _name in ("COLUMNS", "LINES"):  # GNU readline, which pytest loads, sets them for the workers.
    os.environ.pop(_name, None)
signal.signal(signal.SIGINT, signal.default_int_handler)  # So that processes don't inherit that it is ignored.
install_import_hook(
    ["reprogram.framed", "reprogram.canvases", "reprogram.programs", "reprogram.labelmaps"], "beartype.beartype"
)

RESIDENT = Path("/proc/self/statm")
ROOM = 200 * 2**20
"""How many bytes of memory this process may grow by until what tests left behind is looked for."""

SHARED = Path(__file__).resolve().parents[2] / "shared"


def resident():
    """Bytes of this process's resident memory; none where the system doesn't tell."""
    with contextlib.suppress(OSError):
        return int(RESIDENT.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def give_back():
    """Free the hosts that are left in cycles, and have glibc, which keeps what is freed, give it back."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # Only glibc has it.
        ctypes.CDLL(None).malloc_trim(0)


@pytest.hookimpl(trylast=True)
def pytest_runtest_logfinish():
    """Keep a process below 2 GB: large hosts of earlier tests don't pile up."""
    if resident() > pytest_runtest_logfinish.limit:
        give_back()
        pytest_runtest_logfinish.limit = max(resident(), 600 * 2**20) + ROOM


pytest_runtest_logfinish.limit = 800 * 2**20


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    """Of a test marked `sampled(n)` every nth case is run, from the first one on; with `make combinations` all are."""
    if os.environ.get("ALL_COMBINATIONS"):
        return
    seen, left_out = Counter(), []
    for item in items:
        if (marker := item.get_closest_marker("sampled")) is not None:
            test = item.nodeid.partition("[")[0]
            if seen[test] % marker.args[0]:
                left_out.append(item)
            seen[test] += 1
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        gone = set(left_out)
        items[:] = [item for item in items if item not in gone]


@pytest.fixture
def freed_memory():
    """A test with a large host begins without what those before it left behind."""
    if resident() > 800 * 2**20:
        give_back()


@pytest.fixture(scope="session", autouse=True)
def usual_malloc():
    """Verbs have glibc keep all memory, for one run; a process of thousands of tests would grow to many gigabytes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reprogram.utils.process.ctypes", None)  # As where there is no glibc.
        yield


@pytest.fixture(scope="session")
def shared():
    """The folder of real weights and data beside the checkout."""
    if not (SHARED / "hosts").is_dir() or not (SHARED / "data").is_dir():
        pytest.skip("needs ../shared (real hosts and data), which isn't beside this checkout")
    return SHARED


@pytest.fixture(scope="session")
def squares():
    """A small counting task."""
    import reprogram

    return reprogram.load_task("squares(train=160, validation=40, test=60)")


@pytest.fixture(scope="session")
def digits():
    """Scikit-learn's digits."""
    import reprogram

    return reprogram.load_task("digits")


@pytest.fixture
def resnet():
    """A tiny untrained ResNet of 32 labels on 48 x 48 pixels."""
    import reprogram

    return reprogram.load_host("timm:test_resnet(pretrained=False, num_classes=32, size=48)")


@pytest.fixture(scope="session")
def lite0():
    """The default host with its ImageNet weights."""
    import reprogram

    return reprogram.load_host("efficientnet-lite0")


@pytest.fixture(scope="session")
def resident_memory():
    """Skips where the system doesn't tell a process's highest resident memory."""
    status = Path("/proc/self/status")
    if not status.exists() or "VmHWM" not in status.read_text():
        pytest.skip("needs Linux's VmHWM")


@pytest.fixture
def forks(monkeypatch):
    """Python processes that a test starts, and those that these start, are forks: they needn't import torch."""
    from helpers_processes import Fork

    monkeypatch.setattr("subprocess.Popen", Fork)


@pytest.fixture
def undrawn(monkeypatch):
    """Reports without their figures: drawing them takes longer than a short run."""
    from helpers_processes import undrawn

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", undrawn)


@pytest.fixture
def one_line():
    """Checks that an error's message is one line and holds every given text."""

    def check(error, *texts):
        message = str(error.value if hasattr(error, "value") else error)
        assert message and "\n" not in message
        for text in texts:
            assert text in message
        return message

    return check
