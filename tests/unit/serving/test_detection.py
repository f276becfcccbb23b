"""Detectors where traffic runs: the hook, and the middleware in front of a real ASGI application."""

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
