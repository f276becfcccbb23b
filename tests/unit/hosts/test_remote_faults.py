"""Faults of a service: the run goes on, the meter equals the server's own count, and a bad server gets one line."""

import contextlib
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time

import numpy as np
import pytest
import torch

pytest.importorskip("httpx2", reason="needs the extra remote")

import reprogram
from helpers_server import ModelServer, settled
from reprogram.errors import BudgetError, HostUnavailableError
from reprogram.hosts._client import Client
from reprogram.hosts._meter import Meter
from reprogram.hosts._wire import Request

SPECS = {
    "oip": "oip:{}?model=m&format=binary&batch=2",
    "oip-bytes": "oip:{}?model=m&format=bytes&size=48&batch=3",
    "tf-serving": "tf-serving:{}?model=m&num_classes=10&size=48&format=bytes&batch=3",
    "torchserve": "torchserve:{}?model=m&num_classes=10&size=48",
    "hf-inference": "hf-inference:{}?num_classes=10&size=48",
    "sagemaker": "sagemaker:{}?endpoint=e&num_classes=10&size=48&numbers=predictions[0]",
    "rekognition": "rekognition:{}?num_classes=10&size=80",
    "google-vision": "google-vision:{}?num_classes=10&size=48&batch=3",
    "clarifai": "clarifai:{}?model=m&num_classes=10&size=48&batch=3",
    "http": "http:{}/classify?labels=[*].label&numbers=[*].score&num_classes=10&size=48",
}


def host_of(server, name="oip", **options):
    text = "".join(f"&{key}={value}" for key, value in {"timeout": 0.8, **options}.items())
    return reprogram.load_host(SPECS[name].format(server.url) + text)


def images(n, size=48, seed=0):
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(seed))


def check_bill(host, server):
    settled(server)
    meter = host.meter
    assert (meter.requests, meter.images, meter.lost) == (server.requests, server.answered, server.lost)


def top_labels(host, scores):
    names = host.vocabulary.names
    return [names[i] if names else f"label {i}" for i in scores.argmax(1).tolist()]


@pytest.mark.parametrize("name", SPECS)
def test_every_format_is_answered_as_the_model_says(name):
    with ModelServer() as server:
        host = host_of(server, name)
        pixels = images(9, host.info.size[0])
        scores = host(pixels)
        levels = (pixels * 255).round().permute(0, 2, 3, 1).numpy()
        assert top_labels(host, scores) == [f"label {i}" for i in server.scores(levels).argmax(1)]
        assert torch.isfinite(scores).all() and scores.shape == (9, 10)
        for sent, level in zip(sorted(map(np.sum, server.images)), sorted(map(np.sum, levels)), strict=True):
            assert sent == level, "every pixel arrives"
        assert server.connections <= host.client.concurrency + 1, "connections are used again"
        check_bill(host, server)


@pytest.mark.parametrize("name, seed", [("oip", 0), ("torchserve", 0), ("google-vision", 2)])
def test_the_meter_is_the_servers_count_under_faults(name, seed):
    with ModelServer(rate=0.3, seed=seed) as server:
        host = host_of(server, name)
        for i in range(2):
            scores = host(images(16, seed=i))
            assert scores.shape == (16, 10)
        check_bill(host, server)
        assert server.by_fault.total() >= 1 and host.meter.retries == server.by_fault.total()
        assert host.meter.images == 32


def test_a_budget_of_requests_holds_under_faults():
    with ModelServer(rate=0.3, seed=3, faults=("500", "reset", "truncated")) as server:
        host = host_of(server, "torchserve", concurrency=4)
        host.meter.request_limit = 25
        with pytest.raises(BudgetError, match="25 requests"):
            host(images(60))
        settled(server)
        assert server.requests == host.meter.requests == 25
        assert (host.meter.images, host.meter.lost) == (server.answered, server.lost)


def test_retry_after_is_waited_for():
    with ModelServer() as server:
        answers = [(429, {"Retry_After": "7"}, b"{}"), (503, {"ratelimit": '"api";r=0;t=9'}, b"")]
        good = json.dumps([{"label": "cat", "score": 0.9}]).encode()
        server.reply = lambda *_: answers.pop(0) if answers else (200, {}, good)
        host, waits = host_of(server, "hf-inference"), []
        now = time.monotonic

        def sleep(seconds):
            waits.append(seconds)
            host.client._closed_until = now()  # As if it had slept.

        host.client.sleep = sleep
        host(images(1))
        assert 6.5 < waits[0] < 7.5 and 8.5 < waits[1] < 9.5 and len(waits) == 2
        assert host.meter.requests == 3 and host.meter.retries == 2 and host.meter.lost == 0


def test_a_spent_quota_is_waited_for_before_the_next_request():
    with ModelServer() as server:
        server.ratelimit = '"api";r=0;t=30'
        host, waits = host_of(server, "hf-inference", concurrency=1), []

        def sleep(seconds):
            waits.append(seconds)
            host.client._closed_until = 0.0

        host.client.sleep = sleep
        host(images(2))
        assert len(waits) == 1 and 29 < waits[0] <= 30


def refused(host, n=2):
    with pytest.raises(HostUnavailableError) as error:
        host(images(n, host.info.size[0]))
    text = str(error.value)
    assert "\n" not in text and text.startswith("host ") and len(text) < 400
    return text


def label_scores(*pairs):
    return 200, {}, json.dumps([{"label": label, "score": score} for label, score in pairs]).encode()


@pytest.mark.parametrize(
    "reply, words",
    [
        ((400, {}, b'{"error": "no such model"}'), "HTTP 400: no such model"),
        ((401, {}, b'{"error": {"message": "who are you?"}}'), "who are you"),
        ((302, {"Location": "http://vision.example/"}, b""), "redirects to http://vision.example/"),
        ((200, {"Content_Type": "text/html"}, b"<html>hello</html>"), "text/html that are no JSON: '<html>hello"),
        ((200, {}, b'[{"label": "a", "score": NaN}]'), "aren't finite"),
        ((200, {}, b'[{"label": "a", "score": 1e999}]'), "aren't finite"),
        ((200, {}, b'[{"label": "a", "score": "high"}]'), "'high' where a number is expected"),
        ((200, {}, b'[{"label": "a", "score": 7}]'), "the number 7; probabilities from 0 to 1"),
        ((200, {}, b'[{"name": "a"}]'), "'label' in an object with 'name'"),
        ((200, {}, b'{"label": "a"}'), "expects a list"),
        ((429, {"Retry_After": "86400"}, b""), "asks to wait 86,400 s"),
        ((500, {}, b'{"error": "out of memory"}'), "didn't answer in 2 tries; the last: HTTP 500: out of memory"),
    ],
)
def test_a_bad_answer_gets_one_line(reply, words):
    with ModelServer() as server:
        server.reply = lambda *_: reply
        host = host_of(server, "hf-inference", retries=1, concurrency=1)
        assert words in refused(host, 1)


def test_labels_that_come_and_go():
    with ModelServer() as server:
        replies = [label_scores(("cat", 0.5), ("dog", 0.5)), label_scores(("cat", 0.5), ("cow", 0.5))]
        server.reply = lambda *_: replies.pop(0)
        host = host_of(server, "hf-inference", access="scores", concurrency=1)
        assert "come and go: it suddenly shows 'cow'" in refused(host)


def test_a_number_of_labels_that_is_wrong():
    with ModelServer() as server:
        host = reprogram.load_host(f"tf-serving:{server.url}?model=m&num_classes=12&size=48")
        assert "numbers of shape 10 an image; 12 labels" in refused(host)


def test_a_version_that_changes_in_the_middle():
    with ModelServer() as server:
        host = host_of(server)
        host(images(2))
        server.version = "2"
        assert "version changed from '1' to '2'" in refused(host)


def test_a_server_that_is_not_there_or_not_ready():
    with ModelServer(ready=False) as server:
        with pytest.raises(HostUnavailableError, match=r"HTTP 503.*is the server ready") as error:
            reprogram.load_host(f"oip:{server.url}?model=m&retries=0")
        assert error.value.exit_code == 5
        url = server.url
    for spec in ("oip:{}?model=m", "torchserve:{}?model=m&num_classes=3&size=48"):
        start = time.monotonic()
        with pytest.raises(HostUnavailableError, match="can't be reached"):
            reprogram.load_host(spec.format(url))(images(1))
        assert time.monotonic() - start < 15, "nobody waits for what was never there"


def test_a_server_that_is_gone_for_a_while():
    """What nobody was there to receive is no request."""
    with ModelServer() as server:
        host = host_of(server, "torchserve", concurrency=1)
        host(images(1))
        exchange, gone = host.client._exchange, [2]

        def away(request):
            if gone[0]:
                gone[0] -= 1
                raise host.client._library.ConnectError("refused")
            return exchange(request)

        host.client._exchange = away
        host(images(2))
        check_bill(host, server)
        assert (host.meter.requests, host.meter.retries) == (3, 0)


def test_a_response_without_end_is_cut_off(monkeypatch):
    monkeypatch.setattr("reprogram.hosts._client.MAX_RESPONSE", 1000)
    with ModelServer() as server:
        server.reply = lambda *_: (200, {}, b"x" * 5000)
        assert "more than 1,000 bytes" in refused(host_of(server, "hf-inference"), 1)


ATTACKS = {  # What is sent first, and what again and again.
    "a header without end": (b"HTTP/1.1 200 OK\r\nX: ", b"a"),
    "hints without end": (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
}


def attacked(server, stop, first, again):
    """Attack one connection until the test ends; for a minute where nothing else ends it."""
    one, _ = server.accept()
    with one, contextlib.suppress(OSError):
        one.sendall(first)
        for _ in range(1200):
            if stop.wait(0.05):
                return
            one.sendall(again)


@pytest.mark.parametrize("first, again", ATTACKS.values(), ids=ATTACKS)
def test_a_try_ends_in_time_whatever_goes_on(first, again):
    stop, meter = threading.Event(), Meter()
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=attacked, args=(server, stop, first, again), daemon=True)
        thread.start()
        client = Client(f"http://127.0.0.1:{server.getsockname()[1]}", name="x", timeout_s=2.0, retries=0)
        with pytest.raises(HostUnavailableError, match=r"^host x: .* in 1 tries; the last: no answer within 2 s$"):
            client.ask(Request(body=b"x"), lambda answer: answer, images=1, meter=meter)
        stop.set()
        thread.join(60)
    assert (meter.requests, meter.lost) == (1, 1)


def test_certificates_are_verified(tmp_path):
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl, which makes a certificate that nobody signed")
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *names]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with ModelServer() as server:
        server.http.socket = context.wrap_socket(server.http.socket, server_side=True)
        url = server.url.replace("http:", "https:")
        host = reprogram.load_host(f"torchserve:{url}?model=m&num_classes=10&size=48&concurrency=1")
        assert "certificate verify failed" in refused(host, 1).lower()
        assert server.requests == host.meter.requests == 0


def test_a_service_is_not_restricted_further():
    with ModelServer() as server, pytest.raises(reprogram.ConfigError, match="is a service and shows what it shows"):
        reprogram.load_host(f"restricted(host='oip:{server.url}?model=m')")
    assert server.gets == 0


@pytest.mark.parametrize(
    "options, words",
    [
        ({"input": "x"}, "no input 'x'; there is 'pixels'"),
        ({"output": "x"}, "no output 'x'; there is 'scores'"),
        ({"size": 32}, "size=32, and the input 'pixels'"),
        ({"mean": "0.5"}, "mean"),
        ({"datatype": "COMPLEX"}, "COMPLEX"),
    ],
)
def test_options_that_do_not_fit_the_model(options, words):
    with ModelServer() as server, pytest.raises(reprogram.ConfigError, match=words):
        host_of(server, **options)
