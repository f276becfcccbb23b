"""`reprogram serve` as a process: what it says, how it stops under load, and what it refuses to start with."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from PIL import Image

import reprogram
from helpers_serving import running
from reprogram.cli import main
from reprogram.utils.images import to_png

HOST = "timm:test_resnet(pretrained=False, num_classes=16, size=48)"
SECRET = "s3cr3t-of-the-process"  # noqa: S105


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two program files of one host, one of them in a run folder, and an image."""
    folder = tmp_path_factory.mktemp("serve")
    host = reprogram.load_host(HOST)
    task = reprogram.load_task("squares(train=10, validation=10, test=20)")
    (folder / "run").mkdir()
    reprogram.Reprogrammed.build(host, task).save(folder / "run" / "program.safetensors")
    reprogram.Reprogrammed.build(host, task, canvas="resize", program="full(init=1.0)").save(
        folder / "whole.safetensors"
    )
    (folder / "image.png").write_bytes(to_png(task.test.images[0].float() / 255))
    return folder


def start(folder, *more):
    command = [sys.executable, "-m", "reprogram", "serve", "run", "second=whole.safetensors", "--port", "0"]
    process = subprocess.Popen(
        [*command, "--json", "--threads", "1", *more], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    text = b""
    while not text.rstrip().endswith(b"}"):
        line = process.stdout.readline()
        assert line, process.stderr.read().decode()
        text += line
    return process, json.loads(text)


def test_sigterm_under_load_loses_nothing(folder, forks, monkeypatch):
    """Clients that ask one request after the other, half of them on new connections, each get every answer."""
    monkeypatch.setenv("MODEL_SERVER_TOKEN", SECRET)
    process, said = start(folder)
    assert said["models"] == ["run", "second", "host"] and said["url"] == f"http://127.0.0.1:{said['port']}"
    image, outcomes, lock = (folder / "image.png").read_bytes(), [], threading.Lock()
    headers = {"Authorization": f"Bearer {SECRET}"}

    def client(number):
        connection, sent = None, False
        try:
            while True:
                if connection is None:
                    connection = http.client.HTTPConnection("127.0.0.1", said["port"], timeout=30)
                    connection.connect()
                sent = True
                connection.request("POST", "/v1/classify?model=second", image, headers)
                answer = connection.getresponse()
                with lock:
                    outcomes.append(answer.status if json.loads(answer.read())["label"] else "empty")
                sent = False
                if number % 2 or answer.will_close:
                    connection.close()
                    connection = None
        except OSError as error:
            with lock:
                outcomes.append(f"lost: {error!r}" if sent else "not connected")

    threads = [threading.Thread(target=client, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    while outcomes.count(200) < 60:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    for thread in threads:
        thread.join(60)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and out == b""
    assert set(outcomes) == {200, "not connected"}, outcomes
    assert outcomes.count("not connected") == 12
    text = err.decode()
    assert "serving run, second and their host at http://127.0.0.1:" in text and "bearer token" in text
    assert "everything that was accepted is answered" in text and SECRET not in text and "Traceback" not in text


def test_a_second_signal_does_not_wait_and_requests_are_logged_without_what_clients_say(folder, forks):
    process, said = start(folder, "--log-requests")
    connection = http.client.HTTPConnection("127.0.0.1", said["port"], timeout=30)
    connection.request("GET", "/v2/models/run/ready?secret=1", headers={"Authorization": f"Bearer {SECRET}"})
    assert connection.getresponse().read()
    connection.request("GET", f"/{SECRET}%0aforged")
    assert connection.getresponse().status == 404
    connection.close()
    with socket.create_connection(("127.0.0.1", said["port"])):
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 143
    text = err.decode()
    assert "/v2/models/{model}/ready 200" in text and "GET none 404" in text and "stopped at once" in text
    assert SECRET not in text and "forged" not in text and "secret" not in text


def test_a_closed_terminal_ends_a_server_in_order(folder, forks):
    process, _ = start(folder)
    process.send_signal(signal.SIGHUP)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0 and "everything that was accepted is answered" in err.decode()
    assert "Traceback" not in err.decode()


def test_a_stdout_that_is_closed_is_a_line(folder, forks):
    command = f"exec {sys.executable} -m reprogram serve run --port 0 --json --threads 1 >&-"
    done = subprocess.run(["bash", "-c", command], cwd=folder, stderr=subprocess.PIPE, timeout=100)
    text = done.stderr.decode()
    assert done.returncode == 3 and "Traceback" not in text and text.splitlines()[-1].startswith("reprogram: "), text


def test_a_pipe_among_the_samples_is_refused_before_it_is_opened(folder, tmp_path, capsys):
    os.mkfifo(tmp_path / "a.png")
    assert main(["serve", str(folder / "run"), "--port", "0", "--samples", str(tmp_path)]) == 3
    assert "a.png: is no ordinary file" in capsys.readouterr().err


def test_what_a_server_does_not_start_with(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for arguments, code, words in (
            ([], 3, "no programs"),
            (["run", "--port", port], 3, f"port {port}: is taken"),
            (["run", "--address", "no such host"], 3, "isn't one of this machine"),
            (["run", "run=whole.safetensors"], 3, "is that of"),
            (["host=run"], 3, "the host's own"),
            (["missing.safetensors"], 4, "no such file"),
            (["run", "--k", "0"], 3, "k=0"),
            (["run", "--rate", "0"], 3, "rate=0"),
            (["run", "--batch", "64", "--queue", "32"], 3, "queue=32"),
            (["run", "--samples", "missing"], 3, "missing"),
            (["run", "--detector", "energy"], 3, "no threshold"),
            (["image.png"], 4, ""),
        ):
            assert main(["serve", "--quiet", *arguments]) == code, arguments
            out, err = capsys.readouterr()
            assert out == "" and err.count("\n") == 1 and words in err, err
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(["serve", "run"]) == 3
    assert "pip install 'reprogram[serve]'" in capsys.readouterr().err


def test_the_served_answer_is_that_of_predict(folder, tmp_path, capsys):
    """For files of many kinds: other sizes, grey, transparent, 16 bits, turned by EXIF, a film."""
    rng, files = np.random.default_rng(0), []
    rgb = Image.fromarray(rng.integers(0, 256, (50, 70, 3), dtype=np.uint8))
    turned = Image.Exif()
    turned[274] = 6
    for name, picture, options in (
        ("rgb.png", rgb, {}),
        ("grey.png", rgb.convert("L"), {}),
        ("alpha.png", Image.merge("RGBA", (*rgb.split(), rgb.split()[0])), {}),
        ("deep.png", Image.fromarray(rng.integers(0, 65536, (40, 30), dtype=np.uint16)), {}),
        ("turned.jpg", rgb, {"exif": turned}),
        ("small.gif", rgb.resize((9, 36)).convert("P"), {"save_all": True, "append_images": [rgb.convert("P")]}),
        ("own-size.bmp", rgb.resize((36, 36)), {}),
        ("lossless.webp", rgb, {"lossless": True}),
    ):
        picture.save(tmp_path / name, **options)
        files.append(tmp_path / name)
    models = {"run": reprogram.load(folder / "run" / "program.safetensors")}
    assert main(["predict", str(folder / "run" / "program.safetensors"), *map(str, files), "--json", "--quiet"]) == 0
    expected = json.loads(capsys.readouterr().out)
    with running(models) as run:
        for file, wanted in zip(files, expected, strict=True):
            got = run.post("/v1/classify", file.read_bytes()).json()
            assert got["label"] == wanted["label"], file
            assert got["probability"] == pytest.approx(wanted["probability"], abs=1e-5)
            assert [item["label"] for item in got["host"]] == [item["label"] for item in wanted["host"]]
            for mine, theirs in zip(got["host"], wanted["host"], strict=True):
                assert mine["probability"] == pytest.approx(theirs["probability"], abs=1e-5)


def test_another_address_is_said_aloud(folder, capsys, monkeypatch):
    from reprogram.serving import server

    def run(desk, listening, _):
        listening.close()
        desk.close()
        return True

    monkeypatch.setattr(server, "run", run)
    monkeypatch.chdir(folder)
    for address in ("0.0.0.0", "::"):  # noqa: S104
        assert main(["serve", "run", "--address", address, "--port", "0"]) == 0
        err = capsys.readouterr().err
        assert "warning" in err and address in err and "without a token" in err
    monkeypatch.setenv("MODEL_SERVER_TOKEN", SECRET)
    assert main(["serve", "run", "--address", "0.0.0.0", "--port", "0"]) == 0  # noqa: S104
    err = capsys.readouterr().err
    assert "warning" in err and "with a token" in err and SECRET not in err
    assert main(["serve", "run", "--port", "0"]) == 0
    assert "warning" not in capsys.readouterr().err
