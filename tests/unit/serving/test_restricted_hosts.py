"""A host that shows less than its scores shows no more through a server; a script's mistakes are refused."""

import numpy as np
import pytest
import torch
from test_open_inference import png, tensor

import reprogram
from helpers import random_task
from helpers_serving import models, running
from reprogram.serving.run import serve

PLAIN = reprogram.load_host("linear:40")
IMAGE = np.random.default_rng(0).integers(0, 256, (*PLAIN.info.shape[1:], 3), dtype=np.uint8)
BATCH = torch.from_numpy(IMAGE).permute(2, 0, 1)[None]


def served(options):
    host = reprogram.load_host(f"restricted(host='linear:40', {options})")
    return host, {
        "program": reprogram.Reprogrammed.build(host, random_task(), program="full(init=1.0)", canvas="resize")
    }


@pytest.fixture(scope="module")
def probabilities():
    with torch.no_grad():
        return PLAIN(BATCH.float() / 255).double().softmax(1)[0].numpy()


CASES = {
    "access='label'": (1, None, ["labels"]),
    "access='topk', k=3": (3, 12, ["probabilities", "labels"]),
    "access='topk', k=3, round=2": (3, 2, ["probabilities", "labels"]),
    "access='topk', k=3, floor=0.01": (1, None, ["labels"]),
    "access='scores', kind='percent', round=12": (16, 12, ["probabilities", "labels"]),
    "access='scores', round=1": (16, 1, ["probabilities", "labels"]),
}


@pytest.mark.parametrize("options", CASES)
def test_the_host_shows_its_own_labels_and_numbers_alone(options, probabilities):
    count, decimals, outputs = CASES[options]
    order = np.argsort(-probabilities, kind="stable")[:count]
    _, programs = served(options)
    with running(programs) as run:
        shown = run.client.get("/v2/models/host").json()["outputs"]
        assert [output["name"] for output in shown] == outputs
        answer = run.post("/v1/classify?model=host&top=40", png(IMAGE)).json()
        of_program = run.post("/v1/classify?model=program", png(IMAGE)).json()
        assert len(answer["predictions"]) == count and len(of_program["host"]) == min(count, 3)
        first, exact = int(answer["label"].rpartition(" ")[2]), 12 if decimals is None else decimals
        assert round(probabilities[first], exact) == round(probabilities[order[0]], exact)  # Rounded ones may be equal.
        if decimals is None:
            assert "probability" not in str(answer["predictions"]) and "probability" not in str(of_program["host"])
            return
        numbers = [entry["probability"] for entry in answer["predictions"]]
        np.testing.assert_allclose(numbers, np.round(probabilities[order], decimals), atol=1e-6)
        inferred = run.infer("host", {"inputs": [tensor(BATCH, data=BATCH.flatten().tolist())]}).json()
        assert [output["shape"][1] for output in inferred["outputs"]] == [count, 1 if count == 16 else count]


def test_a_server_that_shows_less_than_its_host_shows_less():
    _, programs = served("access='topk', k=3, round=2")
    with running(programs, answers="topk", k=2, round=1) as run:
        answer = run.post("/v1/classify?model=host&top=40", png(IMAGE)).json()
        assert len(answer["predictions"]) == 2
        assert all(entry["probability"] == round(entry["probability"], 1) for entry in answer["predictions"])
    with running(programs, answers="label") as run:
        assert "probability" not in run.post("/v1/classify?model=host", png(IMAGE)).text
    _, programs = served("access='label'")
    with running(programs, answers="topk", k=3) as run:  # Of the program three labels, of the host its one.
        answer = run.post("/v1/classify?model=host&top=40", png(IMAGE)).json()
        assert len(answer["predictions"]) == 1 and "probability" not in str(answer["predictions"])
        assert run.post("/v1/classify?model=program", png(IMAGE)).status_code == 200


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"answers": "top-k"}, ("answers", "topk")),
        ({"kind": "Percent"}, ("kind", "percent")),
        ({"on_alarm": "x"}, ("on_alarm", "refuse")),
        ({"foo": 1}, ("foo",)),
        ({"port": "8000"}, ("port", "whole number")),
        ({"rate": True}, ("rate",)),
        ({"batch": 0}, ("batch", "1")),
        ({"k": 3}, ("k=3", "answers=topk")),
        ({"k": 3, "answers": "scores"}, ("k=3", "answers=topk")),
        ({"on_alarm": "refuse"}, ("on_alarm=refuse", "detectors")),
        ({"detectors": ["repeated-border"]}, ("detectors", "Watch")),
    ],
)
def test_wrong_options_of_a_script_are_refused(change, words, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        serve(models(), **{"port": 0, **change})
    one_line(error, *words)


@pytest.mark.parametrize("name", ["host", "a/b", "", 5, "x" * 65, "-a"])
def test_names_that_cannot_be_asked_are_refused(name, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        serve({name: models()["framed"]}, port=0)
    one_line(error, "the name")


@pytest.mark.parametrize("given", [[1], {}, {"a": "runs/two"}, None])
def test_what_is_no_model_is_refused(given, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        serve(given, port=0)
    one_line(error, "serve")
