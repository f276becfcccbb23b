"""`--i-am-authorised`: on the command line, at each start, and from nowhere else; a program file has nothing sent."""

from dataclasses import replace

import pytest

pytest.importorskip("httpx2", reason="needs the extra remote")

import reprogram
from helpers_server import ModelServer
from reprogram.cli import main
from reprogram.hosts import _consent
from reprogram.sweep.executors.local import executor

ELSEWHERE = "http:http://vision.invalid/classify?labels=[*].label&numbers=[*].score&num_classes=10&size=48"


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(_consent, "_authorised", set())


@pytest.fixture
def sent(monkeypatch):
    """What would have been sent, and to where."""
    found = []

    def exchange(client, request):
        found.append(client.url)
        raise reprogram.HostUnavailableError("host http: nothing is sent in tests")

    monkeypatch.setattr("reprogram.hosts._client.Client._exchange", exchange)
    return found


def fit(tmp_path, *more, host=ELSEWHERE):
    task = "squares(train=16, validation=8, test=8)"
    options = [
        "--task",
        task,
        "--host",
        host,
        "--learner",
        "spsa",
        "--images",
        "16",
        "--quiet",
        "--out",
        tmp_path / "r",
    ]
    return main([str(part) for part in ("fit", *options, "--program", "tiles(side=2)", *more)])


def test_without_it_nothing_is_sent(tmp_path, sent, capsys):
    assert fit(tmp_path) == 3
    assert "vision.invalid isn't this machine" in capsys.readouterr().err and not sent
    assert fit(tmp_path, "--i-am-authorised", "other.invalid") == 3 and not sent
    assert fit(tmp_path, "--i-am-authorised", "https://vision.invalid") == 3 and not sent
    assert "exact name of one host" in capsys.readouterr().err
    assert fit(tmp_path, "--i-am-authorised", "vision.invalid") == 5
    assert set(sent) == {"http://vision.invalid/classify"}


def test_neither_environment_nor_file_gives_it(tmp_path, sent, capsys, monkeypatch):
    config = tmp_path / "c.toml"
    config.write_text(f'[fit]\nhost = "{ELSEWHERE}"\ni_am_authorised = ["vision.invalid"]\n')
    assert main(["fit", "--config", str(config)]) == 3
    assert "i_am_authorised" in capsys.readouterr().err
    monkeypatch.setenv("REPROGRAM_I_AM_AUTHORISED", "vision.invalid")
    assert fit(tmp_path) == 3
    assert "is no consent" in capsys.readouterr().err and not sent


def test_the_run_folder_does_not_hold_it(tmp_path, sent):
    fit(tmp_path, "--i-am-authorised", "vision.invalid")
    for file in (path for path in tmp_path.rglob("*") if path.is_file()):
        assert "authorised" not in file.read_text(errors="replace")


@pytest.mark.parametrize(
    "spec",
    [
        "torchserve(url='{}', model='m', num_classes=10, size=48)",
        "oip(url='{}', model='m')",
        "restricted(host=\"torchserve(url='{}', model='m', num_classes=10, size=48)\")",
        "untrained(host=\"oip(url='{}', model='m')\")",
    ],
)
def test_a_program_file_has_nothing_sent(tmp_path, spec, capsys):
    """Not even to this machine, and not even a question whether a server is ready."""
    host = reprogram.Host.wrap(lambda x: x.mean((2, 3)).repeat(1, 4)[:, :10], size=48, name="mine")
    model = reprogram.Reprogrammed.build(host, reprogram.load_task("squares(train=16, validation=8, test=8)"))
    path = model.save(tmp_path / "p.safetensors")
    with ModelServer() as server:
        model.host.info = replace(host.info, id=spec.format(server.url))
        path = model.save(tmp_path / "p.safetensors")
        with pytest.raises(reprogram.HostUnavailableError, match="is a service"):
            reprogram.load(path)
        assert main(["evaluate", str(path), "--task", "squares(train=16, validation=8, test=8)"]) == 5
        assert (server.requests, server.gets) == (0, 0)
    assert "give the host with --host" in capsys.readouterr().err


def test_a_doctor_does_not_look_into_services(capsys):
    with ModelServer() as server:
        spec = f"torchserve:{server.url}?model=m&num_classes=10&size=48"
        assert main(["doctor", "--verify", "--host", spec]) == 3
        assert "whose inside nobody sees" in capsys.readouterr().err and server.requests == 0


def test_help_names_it(capsys):
    main(["fit", "--help"])
    assert "--i-am-authorised" in capsys.readouterr().out
    assert _consent.authorised() == ()


def test_the_workers_of_a_sweep_are_told(monkeypatch):
    """As arguments of their own processes: they read no terminal."""
    started = []

    class Process:
        stdin = stdout = None

        def __init__(self, command, **_):
            started.append(command)

    monkeypatch.setattr("reprogram.sweep.executors.local.subprocess.Popen", Process)
    monkeypatch.setattr("reprogram.sweep.executors.local.Local._listen", lambda *_: None)
    _consent.authorise("vision.invalid")
    workers = executor(address="", threads=1)
    workers.start()
    workers.folder.cleanup()
    (command,) = started
    assert command[-1] == "vision.invalid" and "authorise(*sys.argv[3:])" in command[2]
