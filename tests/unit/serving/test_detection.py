"""Detectors where traffic runs: the hook, and the middleware in front of a real ASGI application."""

import asyncio
import threading

import numpy as np
import pytest

import reprogram
from reprogram.serving.detection import DetectionMiddleware, Watch, account_of

RNG = np.random.default_rng(0)
FRAME = RNG.integers(0, 256, (3, 32, 32), dtype=np.uint8)


def framed(n):
    images = np.repeat(FRAME[None], n, axis=0)
    images[:, :, 8:24, 8:24] = RNG.integers(0, 256, (n, 3, 16, 16), dtype=np.uint8)
    return images


def test_the_hook_reads_batches_and_tells_of_alarms():
    seen = []
    watch = Watch(["repeated-border(threshold=4.0)", "concentration(least=2, threshold=0.5)"], on_alarm=seen.append)
    assert watch.reads == {"scores"}
    alarms = watch.see(framed(6), "anna")
    assert (
        [(a.detector, a.account, a.index) for a in alarms]
        == [("repeated-border", "anna", 5)]
        == [(a.detector, a.account, a.index) for a in seen]
    )
    scores = np.eye(5)[[0, 0]]
    others = RNG.integers(0, 256, (2, 3, 32, 32), dtype=np.uint8)
    assert [a.detector for a in watch.see(others, "b", {"scores": scores})] == ["concentration"]
    assert watch.images == 8 and watch.alarms == {"repeated-border": 1, "concentration": 1}
    with pytest.raises(reprogram.DataError, match="1 scores for 2 images"):
        watch.see(framed(2), "anna", {"scores": scores[:1]})


def test_an_image_that_cannot_be_read_hides_no_alarm_of_the_others():
    watch, bad = Watch(["repeated-border(threshold=4.0)"]), np.zeros((3, 8, 5000), np.uint8)
    with pytest.raises(reprogram.DataError, match="sides of 1 to 4096"):
        watch.see([*framed(6), bad], "anna")
    assert watch.images == 6 and watch.alarms == {"repeated-border": 1}
    alarms = watch.see([bad, *framed(2)], "anna", skip_bad=True)
    assert [alarm.index for alarm in alarms] == [1, 2] and watch.alarms == {"repeated-border": 3}


@pytest.mark.parametrize("error", [OSError("cannot identify image file"), IndexError("list"), RuntimeError("decoder")])
def test_what_an_operators_decoder_meets_is_handed_on(error):
    def decode(scope, body):
        raise error

    middleware = DetectionMiddleware(None, watch=Watch(["repeated-border"]), decode=decode, action="refuse")
    assert middleware._rings({"type": "http"}, b"...") is False


def middleware_of(watch, decode, **options):
    """The middleware before an application that says 200 to everything."""

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    return DetectionMiddleware(app, watch=watch, decode=decode, **options)


def status_of(middleware, body=b"x", method="POST"):
    """What a client gets for one request."""
    sent, scope = [], {"type": "http", "method": method, "headers": [], "client": ("10.0.0.1", 5)}

    async def receive():
        return {"type": "http.request", "body": body}

    async def send(message):
        sent.append(message)

    asyncio.run(middleware(scope, receive, send))
    return sent[0]["status"]


@pytest.mark.parametrize(
    "decode,options,text",
    [
        (lambda scope, body: [np.zeros((32, 32, 3), np.uint8)], {}, "unread: "),
        (lambda scope, body: [np.zeros((3, 32, 32), np.float32)], {}, "unread: "),
        (lambda scope, body: [FRAME], {"account": lambda scope: None}, "the account None is no text"),
        (lambda scope, body: [FRAME], {"account": lambda scope: {}["user"]}, "user"),
        (lambda scope, body: 5, {}, "int"),
    ],
)
def test_an_operator_is_told_that_queries_pass_unread(decode, options, text, caplog):
    """Once as a warning, and by a count; the application answers all the same."""
    watch = Watch(["repeated-border(threshold=2.0)"])
    middleware = middleware_of(watch, decode, action="refuse", **options)
    assert [status_of(middleware) for _ in range(5)] == [200] * 5
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warned) == 1 and text in warned[0]
    assert watch.images == 0 and watch.unread == (5 if text == "unread: " else 0)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_generators_are_read_and_a_failing_on_alarm_refuses_all_the_same(method, caplog):
    def on_alarm(alarm):
        raise OSError("the log's disk is full")

    watch = Watch(["repeated-border(threshold=2.0)"], on_alarm=on_alarm)
    middleware = middleware_of(watch, lambda scope, body: (image for image in framed(1)), action="refuse")
    codes = [status_of(middleware, method=method) for _ in range(6)]
    assert codes[0] == 200 and codes[-1] == 429 and watch.images == 6 and "disk is full" in caplog.text


def test_other_requests_go_on_while_one_is_looked_at():
    """The event loop runs while a detector reads: what waits for it here would wait for ever otherwise."""

    async def two():
        reading, goes_on = threading.Event(), threading.Event()

        def decode(scope, body):
            reading.set()
            assert goes_on.wait(60)
            return None

        async def receive():
            return {"type": "http.request", "body": b"x"}

        async def send(message):
            pass

        middleware = middleware_of(Watch(["repeated-border"]), decode)
        scope = {"type": "http", "method": "POST", "headers": []}
        first = asyncio.create_task(middleware(scope, receive, send))
        while not reading.is_set():
            await asyncio.sleep(0.001)
        goes_on.set()
        await first

    asyncio.run(two())


def test_a_watch_without_sense_is_refused(one_line):
    for detectors in ([], ["energy"], ["repeated-border", "repeated-border(side=8)"]):
        with pytest.raises(reprogram.ConfigError) as error:
            Watch(detectors)
        one_line(error)


@pytest.mark.parametrize("action", ["log", "refuse"])
def test_the_middleware_hands_on_or_refuses(action):
    fastapi = pytest.importorskip("fastapi", reason="needs the extra serve")
    pytest.importorskip("httpx2", reason="FastAPI's client needs it")
    from fastapi.testclient import TestClient

    app = fastapi.FastAPI()

    @app.post("/")
    async def echo(request: fastapi.Request):
        return {"bytes": len(await request.body())}

    def decode(scope, body):
        return np.frombuffer(body, np.uint8).reshape(-1, 3, 32, 32)

    watch = Watch(["repeated-border(threshold=4.0)"])
    client = TestClient(DetectionMiddleware(app, watch=watch, decode=decode, action=action, max_bytes=10**5))
    answers = [client.post("/", content=image.tobytes()) for image in framed(8)]
    assert [a.status_code for a in answers] == [200] * 5 + [200 if action == "log" else 429] * 3
    assert answers[0].json() == {"bytes": 3 * 32 * 32} and watch.alarms == {"repeated-border": 3}
    # Another account, no image at all, and a body beyond the limit.
    assert client.post("/", content=FRAME.tobytes(), headers={"Authorization": "Bearer x"}).status_code == 200
    assert client.post("/", content=b"no image").json() == {"bytes": 8}
    assert client.post("/", content=b"\0" * 200_000).json() == {"bytes": 200_000}
    assert client.get("/").status_code == 405 and watch.images == 9


def test_accounts_are_digests_of_keys_or_addresses():
    one = account_of({"headers": [(b"Authorization", b"Bearer secret")], "client": ("10.0.0.1", 5)})
    assert one.startswith("key-") and "secret" not in one
    assert account_of({"headers": [], "client": ("10.0.0.1", 5)}) == "address-10.0.0.1"
    assert account_of({}) == "unknown"
