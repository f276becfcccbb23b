"""Independent clients judge the server: Triton's, which knows the protocol and not us, and Schemathesis."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers_serving import models, running

pytestmark = pytest.mark.judge
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def served():
    return models()


@pytest.fixture(scope="module")
def run(served):
    with running(served) as run:
        yield run


@pytest.mark.parametrize("binary", [True, False])
def test_tritons_client(run, served, binary):
    http = pytest.importorskip("tritonclient.http", reason="needs tritonclient, which make judges installs")
    client = http.InferenceServerClient(run.url.removeprefix("http://"), connection_timeout=60, network_timeout=60)
    try:
        assert client.is_server_live() and client.is_server_ready()
        assert {"classification", "binary_tensor_data"} <= set(client.get_server_metadata()["extensions"])
        for name in ("framed", "filled", "host"):
            assert client.is_model_ready(name)
            document = client.get_model_metadata(name)
            (version,) = document["versions"]
            assert client.is_model_ready(name, version) and not client.is_model_ready(name, "none")
            for count in (1, 2, 17):
                check(http, client, served, name, document, count, binary=binary)
        with pytest.raises(http.InferenceServerException, match="no model 'other'"):
            client.get_model_metadata("other")
    finally:
        client.close()


def check(http, client, served, name, document, count, *, binary):
    images = RNG.integers(0, 256, (count, *document["inputs"][0]["shape"][1:]), dtype=np.uint8)
    pixels = torch.from_numpy(images)
    model = served.get(name)
    with torch.no_grad():
        scores = served["framed"].host(pixels.float() / 255) if model is None else model(pixels)
    for values, datatype in ((images, "UINT8"), ((images / 255).astype(np.float32), "FP32")):
        tensor = http.InferInput("image", list(images.shape), datatype)
        tensor.set_data_from_numpy(values, binary_data=binary)
        result = client.infer(name, [tensor], request_id="one")
        assert result.get_response()["id"] == "one"
        np.testing.assert_allclose(result.as_numpy("logits"), scores.numpy(), rtol=1e-4, atol=1e-5)
        wishes = [
            http.InferRequestedOutput("labels", binary_data=binary),
            http.InferRequestedOutput("probabilities", binary_data=binary, class_count=2),
        ]
        result = client.infer(name, [tensor], outputs=wishes)
        texts = [text.decode() if isinstance(text, bytes) else text for text in result.as_numpy("labels")[:, 0]]
        best = scores.argmax(1).tolist()
        if model is not None:
            assert texts == [model.task.classes[i] for i in best]
        top = result.as_numpy("probabilities")
        assert top.shape == (count, 2)
        first = [text.decode() if isinstance(text, bytes) else text for text in top[:, 0]]
        assert [int(text.split(":")[1]) for text in first] == best


def test_schemathesis_finds_nothing(run, tmp_path):
    """Every route of the OpenAPI description, with data that fit it and data that don't.

    Whether a file is an image no schema can say, so that well-formed requests may be refused: the check
    positive_data_acceptance is left out, and no other.
    """
    pytest.importorskip("schemathesis", reason="needs schemathesis, which make judges installs")
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{run.url}/openapi.json", "--no-color"]
    command += ["--exclude-checks", "positive_data_acceptance", "--max-examples", "25", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
