"""A server that shows less: the services that learning by queries practises on, asked by our own hosts."""

import itertools
import json

import numpy as np
import pytest
import torch

import reprogram
from helpers_serving import host, models, running
from reprogram.cli import main
from reprogram.hosts._shown import Shown
from reprogram.serving.accounts import Accounts

PIXELS = (torch.rand(7, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 255).round() / 255


@pytest.fixture(scope="module")
def own():
    return host()


@pytest.fixture(scope="module")
def logits(own):
    with torch.no_grad():
        return own(PIXELS)


def billed(run, asked):
    """The server's count of images of its host, and of requests, are the client's bill."""
    text = run.client.get("/metrics").text
    line = next(line for line in text.splitlines() if line.startswith('reprogram_images_total{model="host"}'))
    assert float(line.split()[1]) == asked.meter.images > 0
    answered = [line for line in text.splitlines() if "infer" in line or "classify" in line]
    counted = [line for line in answered if line.startswith("reprogram_requests_total") and 'status="200"' in line]
    assert sum(float(line.split()[1]) for line in counted) == asked.meter.requests
    assert asked.meter.lost == 0


@pytest.mark.parametrize("form", ["json", "binary", "bytes", "base64"])
def test_an_open_host_is_the_host(own, logits, form):
    with running(models(own)) as run:
        size = "&size=32" if form in ("bytes", "base64") else ""
        asked = reprogram.load_host(f"oip:{run.url}?model=host&format={form}&batch=3{size}")
        torch.testing.assert_close(asked(PIXELS), logits, rtol=1e-4, atol=1e-4)
        assert (asked.meter.requests, asked.meter.images) == (3, 7)
        billed(run, asked)


RUNGS = {
    "scores": ({"answers": "scores", "round": 3}, "kind=probabilities&decimals=3"),
    "percent": ({"answers": "scores", "kind": "percent", "round": 1}, "kind=percent&decimals=1"),
    "logits": ({"answers": "scores", "kind": "logits", "round": 2}, "kind=logits&decimals=2"),
    "topk": ({"answers": "topk", "k": 4}, "kind=probabilities&access=topk&classification=4&num_classes=24"),
    "label": ({"answers": "label"}, "access=label&classification=1&num_classes=24"),
}


@pytest.mark.parametrize("rung", RUNGS)
def test_each_rung_shows_what_the_restricted_host_shows(own, logits, rung):
    options, query = RUNGS[rung]
    record = Shown(
        labels={"topk": 4, "label": 1}.get(options["answers"]),
        numbers=options["answers"] != "label",
        kind=options.get("kind", "probabilities"),
        round=options.get("round"),
    )
    expected = record.evidence(*record.answer(logits.double()))
    with running(models(own), **options) as run:
        asked = reprogram.load_host(f"oip:{run.url}?model=host&{query}")
        got = asked(PIXELS)
        if rung == "label":
            assert (got.argmax(1) == logits.argmax(1)).all()
        else:
            torch.testing.assert_close(got.double(), expected, rtol=1e-3, atol=2e-3)
        billed(run, asked)
        # The same by the plain route: the host `http:` reads labels by name.
        access = {"topk": "topk", "label": "label"}.get(options["answers"], "scores")
        numbers = (
            ""
            if rung == "label"
            else "&numbers=predictions[*]." + ("probability" if "kind" not in options else "score")
        )
        more = f"&kind={options['kind']}" if "kind" in options else ""
        names = tuple(f"host label {i}" for i in range(24))
        plain = reprogram.load_host(
            f"http(url='{run.url}/v1/classify', query='model=host&top=24', labels='predictions[*].label', size=32, "
            f"class_names={names!r}, access='{access}'"
            + (f", numbers='{numbers.partition('=')[2]}'" if numbers else "")
            + (f", kind='{options['kind']}'" if more else ", kind='probabilities'")
            + (f", decimals={options['round']}" if "round" in options else "")
            + ")"
        )
        again = plain(PIXELS)
        if rung == "label":
            assert (again.argmax(1) == logits.argmax(1)).all()
        else:
            torch.testing.assert_close(again.double(), expected, rtol=1e-3, atol=2e-3)
        assert plain.meter.images == plain.meter.requests == 7


def test_no_route_tells_more_than_the_rung(own):
    """Of every answer to an image, the numbers and labels that a label-only service may not show."""
    from test_open_inference import png

    file = png((PIXELS[0].permute(1, 2, 0) * 255).byte().numpy())
    with running(models(own), answers="label") as run:
        for path in ("/v1/classify?model=host&top=24", "/v1/classify?model=framed&top=9", "/v1/show"):
            text = run.post(path, file).text
            assert "probability" not in text and "score" not in text
            answer = json.loads(text)
            for shown in answer.get("shown", [answer]):
                assert len(shown["predictions"]) == len(shown["host"]) == 1 and shown["kind"] == "none"
        tensor = {
            "name": "image",
            "shape": [1],
            "datatype": "BYTES",
            "data": [__import__("base64").b64encode(file).decode()],
        }
        answer = run.infer("host", {"inputs": [tensor]}).json()
        (output,) = answer["outputs"]
        assert output["name"] == "labels" and output["shape"] == [1, 1]
        wish = {"name": "labels", "parameters": {"classification": 24}}
        (output,) = run.infer("host", {"inputs": [tensor], "outputs": [wish]}).json()["outputs"]
        assert output["shape"] == [1, 1] and output["data"][0].startswith("1:")
        for name in ("logits", "probabilities"):
            assert run.infer("host", {"inputs": [tensor], "outputs": [{"name": name}]}).status_code == 400


def test_noise_is_fresh_and_of_its_size(own, logits):
    with running(models(own), answers="scores", kind="logits", noise=0.5) as run:
        asked = [reprogram.load_host(f"oip:{run.url}?model=host&format=binary&batch=7")(PIXELS) for _ in range(8)]
        errors = torch.stack(asked) - logits
        assert float(errors.std()) == pytest.approx(0.5, rel=0.1) and abs(float(errors.mean())) < 0.05
        assert not torch.equal(asked[0], asked[1])


def test_topk_tensors_follow_the_order_of_the_labels(own, logits):
    with running(models(own), answers="topk", k=3) as run:
        values = (PIXELS * 255).byte()
        tensor = {"name": "image", "shape": [7, 3, 32, 32], "datatype": "UINT8", "data": values.reshape(-1).tolist()}
        numbers, labels = run.infer("host", {"inputs": [tensor]}).json()["outputs"]
        assert (numbers["name"], numbers["shape"], labels["shape"]) == ("probabilities", [7, 3], [7, 3])
        probabilities, order = logits.double().softmax(1).topk(3)
        np.testing.assert_allclose(np.reshape(numbers["data"], (7, 3)), probabilities.numpy(), rtol=1e-4)
        assert labels["data"] == [f"host label {i}" for i in order.reshape(-1).tolist()]


def test_a_rate_slows_a_run_down_and_its_bill_is_the_servers(own, tmp_path, monkeypatch):
    """Learning by queries against the service, with refusals in between: the budget, the bill and the count agree.

    The clock of the accounts is one that goes on by .235 s with each question, however fast this machine asks: of four
    questions a second, the first 50 or so are admitted, then about one in sixteen is refused.
    """
    monkeypatch.setenv("MODEL_SERVER_TOKEN", "token-of-the-run")
    headers = {"Authorization": "Bearer token-of-the-run"}
    with running(models(own), headers=headers, answers="topk", k=5, round=3, rate=4) as run:
        questions = itertools.count()
        run.desk.accounts = Accounts((), rate=4, clock=lambda: 0.235 * next(questions))
        spec = f"oip:{run.url}?model=host&kind=probabilities&access=topk&classification=5&num_classes=24&decimals=3"
        task = "squares(train=48, validation=20, test=20)"
        code = main(
            ["fit", "--quiet", "--host", f"{spec}&batch=4", "--task", task, "--program", "tiles(side=2)", "--canvas",
             "centre(size=16)", "--learner", "spsa", "--queries", "400", "--baselines", "none", "--batch-size", "8",
             "--out", str(tmp_path / "run")]
        )  # fmt: skip
        assert code == 0
        bill = json.loads((tmp_path / "run" / "result.json").read_text())["bill"]
        text = run.client.get("/metrics").text
        served = [line for line in text.splitlines() if line.startswith('reprogram_images_total{model="host"}')]
        assert float(served[0].split()[1]) == bill["images"] > 100 and bill["lost"] == 0
        counts = {
            status: sum(
                float(line.split()[1])
                for line in text.splitlines()
                if line.startswith("reprogram_requests_total") and f'status="{status}"' in line and "infer" in line
            )
            for status in (200, 429)
        }
        assert counts[200] + counts[429] == bill["requests"] and counts[429] == bill["retries"] > 0
