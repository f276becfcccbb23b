"""What a server refuses, and that it goes on: full queues, large bodies, bombs, slow and broken clients."""

import asyncio
import base64
import contextlib
import io
import json
import socket
import struct
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from helpers_serving import models, running
from reprogram.serving import bodies, server


def png(width, height, mode="L"):
    buffer = io.BytesIO()
    Image.new(mode, (width, height)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def run():
    with running(models(), max_bytes=200_000, max_pixels=10_000, queue=64) as run:
        yield run


def still_answers(run):
    assert run.post("/v1/classify", png(9, 9)).status_code == 200


def raw(run, *parts, wait_s=0.0):
    """What the server sends to some bytes, and whether it closes the connection."""
    with socket.create_connection(("127.0.0.1", run.port), timeout=20) as one:
        for part in parts:
            one.sendall(part)
            time.sleep(wait_s)
        answer = b""
        while part := one.recv(65536):
            answer += part
    return answer


@pytest.mark.parametrize("path", ["/v2/models/framed", "/nothing", ""])
def test_a_whole_address_means_its_path(run, path):
    asked = "GET {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answers = [
        raw(run, asked.format(target).encode()) for target in (path or "/", f"http://127.0.0.1:{run.port}{path}")
    ]
    status, body = answers[0].split(b"\r\n", 1)[0], answers[0].split(b"\r\n\r\n", 1)[1]
    assert answers[1].startswith(status) and answers[1].endswith(body) and body


def test_large_bodies_are_refused_before_they_are_read(run):
    answer = run.post("/v1/classify", b"x" * 200_001)
    assert answer.status_code == 413 and "200,000" in answer.json()["error"]
    answer = run.client.post("/v1/classify", content=iter([b"x" * 50_000] * 5))  # Chunked: no length is stated.
    assert answer.status_code == 413
    assert run.post("/v1/classify", b"x", Content_Encoding="gzip").status_code == 415
    still_answers(run)


def test_bombs_are_refused_before_they_are_decoded(run):
    assert run.post("/v1/classify", png(100, 100)).status_code == 200
    answer = run.post("/v1/classify", png(101, 100))
    assert answer.status_code == 400 and "10,000" in answer.json()["error"]
    sound = png(8, 8)
    header = b"IHDR" + struct.pack(">II", 65536, 65536) + sound[24:29]
    bomb = sound[:12] + header + struct.pack(">I", zlib.crc32(header)) + sound[33:]
    assert run.post("/v1/classify", bomb).status_code == 400
    file = base64.b64encode(png(100, 100)).decode()
    for count, status in ((4, 200), (5, 400)):  # All files of a request together.
        tensor = {"name": "image", "shape": [count], "datatype": "BYTES", "data": [file] * count}
        assert run.infer("filled", {"inputs": [tensor]}).status_code == status
    still_answers(run)


def test_more_images_than_a_request_may_have(run):
    zeros = np.zeros((65, 1, 6, 7), np.uint8)
    tensor = {"name": "image", "shape": [65, 1, 6, 7], "datatype": "UINT8", "data": zeros.reshape(-1).tolist()}
    answer = run.infer("filled", {"inputs": [tensor]})
    assert answer.status_code == 400 and "64" in answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (b"", "image/png", "empty"),
        (b"hello", "image/png", "not an image"),
        (b"GIF89a", "image/gif", "GIF"),
        (b"<svg/>", "image/svg+xml", "web page or SVG"),
        (b"%PDF-1.4", "application/pdf", "PDF"),
        (png(9, 9)[:40], "image/png", ""),
        (b"--b\r\n", "multipart/form-data; boundary=b", ""),
        (b"x", "multipart/form-data", ""),
        (b'--b\r\nContent-Disposition: form-data; name="image"\r\n\r\ntext\r\n--b--\r\n',
         "multipart/form-data; boundary=b", "no file"),
        (b"file:///etc/passwd", "text/plain", "not an image"),
        (b"http://127.0.0.1:1/x.png", "text/plain", "not an image"),
    ],
)  # fmt: skip
def test_what_is_no_image_gets_one_line(run, body, kind, words):
    for path in ("/v1/classify", "/v1/show"):
        answer = run.post(path, body, Content_Type=kind)
        assert answer.status_code == 400 and answer.json().keys() == {"error"}
        assert words in answer.json()["error"] and "\n" not in answer.json()["error"]


def test_an_image_as_thin_as_a_thread_costs_no_more_than_another(run):
    """By its shorter side the host's photograph of it would have billions of pixels."""
    limit = run.desk.options.max_pixels
    for size in ((1, limit), (limit, 1), (2, limit // 2)):
        for model in ("host", "framed"):
            answer = run.post(f"/v1/classify?model={model}", png(*size))
            assert answer.status_code == 200, answer.text


def test_two_files_and_odd_options(run):
    part = b'--b\r\nContent-Disposition: form-data; name="image"; filename="../../x.png"\r\n\r\n' + png(9, 9) + b"\r\n"
    form = "multipart/form-data; boundary=b"
    assert run.post("/v1/classify", part + b"--b--\r\n", Content_Type=form).status_code == 200
    assert run.post("/v1/classify", part * 2 + b"--b--\r\n", Content_Type=form).status_code == 400
    for query in ("top=0", "top=x", "top=-1", "top=1000000"):
        answer = run.post(f"/v1/classify?{query}", png(9, 9))
        assert answer.status_code == 400 and "top" in answer.json()["error"]
    assert run.post("/v1/classify?model=none", png(9, 9)).status_code == 404
    # curl --data-binary says so of every file.
    kind = "application/x-www-form-urlencoded"
    assert run.post("/v1/classify", png(9, 9), Content_Type=kind).status_code == 200


def test_what_is_no_http_is_closed_with_one_line(run):
    for text in (b"hello\r\n\r\n", b"\x16\x03\x01\x02\x00\r\n\r\n", b"GET / HTTP/9\r\n\r\n",
                 b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
                 b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
                 b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 17_000):  # fmt: skip
        head, _, body = raw(run, text).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400") and json.loads(body).keys() == {"error"}
    still_answers(run)


def test_slow_heads_and_bodies_end(run, monkeypatch):
    monkeypatch.setattr(server, "HEAD_WITHIN_S", 0.3)
    monkeypatch.setattr(bodies, "READ_WITHIN_S", 0.3)
    assert raw(run, b"GET / HTTP/1.1\r\n") == b""
    head = b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nConnection: close\r\n\r\n"
    assert raw(run, head + b"x").startswith(b"HTTP/1.1 408")
    with socket.create_connection(("127.0.0.1", run.port)) as one:  # It goes away in the middle.
        one.sendall(head + b"x")
    still_answers(run)
    assert run.desk.bodies.room == bodies.AT_ONCE * 200_000


def test_bodies_share_their_room(run, monkeypatch):
    monkeypatch.setattr(bodies, "SMALL", 50)
    room = run.desk.bodies.room
    with ThreadPoolExecutor(8) as clients:  # There is room for one at a time: the others wait for it.
        file = png(9, 9)
        assert 60 < 2 * len(file) < 240
        run.desk.bodies.room = len(file)
        answers = list(clients.map(lambda _: run.post("/v1/classify", file).status_code, range(24)))
    assert answers == [200] * 24
    monkeypatch.setattr(bodies, "WAIT_FOR_ROOM_S", 0.3)
    run.desk.bodies.room = 10
    answer = run.post("/v1/classify", png(9, 9))
    assert answer.status_code == 503 and answer.headers["Retry-After"] == "5"
    assert run.desk.bodies.room == 10
    run.desk.bodies.room = room
    still_answers(run)


def test_too_many_connections_are_told_to_come_again(run, monkeypatch):
    still_answers(run)
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 3)
    open_ones = [socket.create_connection(("127.0.0.1", run.port)) for _ in range(2)]
    time.sleep(0.1)
    answer = raw(run)
    assert answer.startswith(b"HTTP/1.1 503") and b"Retry-After" in answer
    for one in open_ones:
        one.close()
    time.sleep(0.1)
    still_answers(run)


def test_a_full_queue_says_when_to_come_again_and_no_answer_is_lost():
    served = models(wait_s=0.05)
    with running(served, queue=8, batch=4) as run, ThreadPoolExecutor(24) as clients:
        answers = list(clients.map(lambda _: run.post("/v1/classify?model=host", png(32, 32)), range(72)))
        statuses = [answer.status_code for answer in answers]
        assert set(statuses) == {200, 503}
        for answer in answers:
            if answer.status_code == 503:
                assert int(answer.headers["Retry-After"]) >= 1 and answer.json().keys() == {"error"}
        text = run.client.get("/metrics").text
        assert f'reprogram_images_total{{model="host"}} {statuses.count(200)}.0' in text
        assert f'reprogram_requests_total{{route="/v1/classify",status="503"}} {statuses.count(503)}.0' in text


def test_a_failing_host_is_a_server_error_that_says_nothing_of_it(caplog):
    import torch

    import reprogram
    from helpers import random_task

    class Failing(torch.nn.Module):
        fails = False

        def forward(self, pixels):
            if self.fails:
                raise RuntimeError("a secret of the host")
            return pixels.mean((2, 3)).repeat(1, 2)

    net = Failing()
    host = reprogram.Host.wrap(net, size=16, name="failing")
    host.run_as_is()
    built = {"one": reprogram.Reprogrammed.build(host, random_task(shape=(3, 8, 8)))}
    with running(built) as run:
        still_answers(run)
        Failing.fails = True
        answer = run.post("/v1/classify", png(9, 9))
        assert answer.status_code == 500 and "secret" not in answer.text and answer.json().keys() == {"error"}
        Failing.fails = False
        still_answers(run)


def test_stopping_answers_what_was_taken_and_closes_connections():
    served = models(wait_s=0.1)
    with running(served, batch=1) as run:
        with ThreadPoolExecutor(6) as clients:
            waiting = [clients.submit(run.post, "/v1/classify?model=host", png(32, 32)) for _ in range(6)]
            while run.desk.batcher.images < 6:
                time.sleep(0.005)
            run.server.should_exit = True
            answers = [one.result() for one in waiting]
        assert [answer.status_code for answer in answers] == [200] * 6
        assert {answer.headers.get("connection") for answer in answers[-1:]} <= {"close", None}
        with pytest.raises(OSError):
            end = time.monotonic() + 10
            while time.monotonic() < end:
                socket.create_connection(("127.0.0.1", run.port), timeout=1).close()
                time.sleep(0.02)


def test_threads_end_with_the_server():
    before = {thread.name for thread in threading.enumerate()}
    with running():
        assert "compute" in {thread.name for thread in threading.enumerate()}
    time.sleep(0.1)
    assert {thread.name for thread in threading.enumerate()} - before <= {"compute"}


def test_clients_that_do_not_read_share_one_answer(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (4, 600, 600, 3), dtype=np.uint8)
    for i, picture in enumerate(noise):
        Image.fromarray(picture).save(tmp_path / f"{i}.png")
    with running(models(), samples=tmp_path) as run, contextlib.ExitStack() as stack:
        whole = run.client.get("/v1/programs")
        assert len(whole.content) > 8 * 2**20 and whole.headers["Content-Type"] == "application/json"
        assert int(whole.headers["Content-Length"]) == len(whole.content)
        pictures = [sample["picture"] for sample in whole.json()["programs"][0]["samples"]]
        files = [(tmp_path / f"{i}.png").read_bytes() for i in range(4)]
        assert [base64.b64decode(picture.split(",")[1]) for picture in pictures] == files
        lazy = []
        for _ in range(5):
            one = stack.enter_context(socket.socket())
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.settimeout(60)
            one.connect(("127.0.0.1", run.port))
            one.sendall(b"GET /v1/programs HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            lazy.append(one)
        held, end = [], time.monotonic() + 60
        while sum(size > 0 for size in held) < len(lazy) and time.monotonic() < end:
            time.sleep(0.02)
            held = [each.transport.get_write_buffer_size() for each in list(run.server.server_state.connections)]
        assert sum(size > 0 for size in held) == len(lazy) and max(held) < 2**19
        still_answers(run)
        for one in lazy:
            with one.makefile("rb") as answer:
                assert answer.read().endswith(b"\r\n\r\n" + whole.content)


def test_the_description_of_programs_is_rendered_once():
    with running(models()) as run:
        (route,) = [each for each in run.server.config.app.routes if getattr(each, "path", "") == "/v1/programs"]
        first, second = (asyncio.run(route.endpoint()) for _ in range(2))
        assert first.body is second.body and first.body == run.client.get("/v1/programs").content
