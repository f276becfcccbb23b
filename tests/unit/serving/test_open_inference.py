"""The Open Inference Protocol v2 as its documents have it: what is asked is read off them, and computed separately."""

import base64
import io
import json
import struct

import numpy as np
import pytest
import torch
from PIL import Image

from helpers_serving import models, running

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def served():
    return models()


@pytest.fixture(scope="module")
def server(served):
    with running(served) as run:
        yield run


def levels(count, shape):
    return RNG.integers(0, 256, (count, *shape), dtype=np.uint8)


def expected(served, name, images):
    """The scores of a separate call; of the host's own, where that is asked."""
    pixels = torch.from_numpy(images)
    with torch.no_grad():
        if name == "host":
            return next(iter(served.values())).host(pixels.float() / 255).numpy()
        return served[name](pixels).numpy()


def softmax(scores):
    powers = np.exp(scores - scores.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def png(array):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def tensor(images, datatype="UINT8", **more):
    return {"name": "image", "shape": list(images.shape), "datatype": datatype, **more}


SHAPES = {"framed": (3, 8, 8), "filled": (1, 6, 7), "host": (3, 32, 32)}


def test_health_and_metadata(server):
    for path in ("live", "ready"):
        answer = server.client.get(f"/v2/health/{path}")
        assert answer.status_code == 200 and answer.json() == {"live": True, "ready": True}
        assert server.client.head(f"/v2/health/{path}").status_code == 200
    assert server.client.get("/v2").json().keys() == {"name", "version", "extensions"}
    assert server.client.get("/v2/models").json() == {"models": [*SHAPES]}
    for name, shape in SHAPES.items():
        document = server.client.get(f"/v2/models/{name}").json()
        assert document["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, *shape]}]
        assert [output["name"] for output in document["outputs"]] == ["logits", "probabilities", "labels"]
        (version,) = document["versions"]
        assert server.client.get(f"/v2/models/{name}/versions/{version}").json() == document
        assert server.client.get(f"/v2/models/{name}/ready").json() == {"name": name, "ready": True}
        assert server.client.get(f"/v2/models/{name}/versions/{version}/ready").status_code == 200
        assert server.client.get(f"/v2/models/{name}/versions/no").status_code == 404


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("datatype", ["UINT8", "FP32", "FP64"])
def test_json_tensors(server, served, name, nested, datatype):
    images = levels(3, SHAPES[name])
    values = images if datatype == "UINT8" else images / 255
    data = values.tolist() if nested else values.reshape(-1).tolist()
    answer = server.infer(name, {"id": "7", "inputs": [tensor(images, datatype, data=data)]}).json()
    assert (answer["model_name"], answer["id"]) == (name, "7")
    logits, probabilities, labels = answer["outputs"]
    scores = expected(served, name, images)
    assert logits["shape"] == list(scores.shape) and logits["datatype"] == "FP32"
    np.testing.assert_allclose(np.reshape(logits["data"], scores.shape), scores, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.reshape(probabilities["data"], scores.shape), softmax(scores), atol=1e-5)
    names = served[name].task.classes if name != "host" else [f"host label {i}" for i in range(24)]
    assert (labels["datatype"], labels["shape"]) == ("BYTES", [3, 1])
    assert labels["data"] == [names[i] for i in scores.argmax(1)]


def split(answer):
    end = int(answer.headers["Inference-Header-Content-Length"])
    return json.loads(answer.content[:end]), answer.content[end:]


def binary(server, name, document, behind):
    head = json.dumps(document).encode()
    return server.post(f"/v2/models/{name}/infer", head + behind, Inference_Header_Content_Length=str(len(head)))


@pytest.mark.parametrize("datatype", ["UINT8", "FP16", "FP32", "FP64"])
def test_binary_tensors_both_ways(server, served, datatype):
    images = levels(2, SHAPES["framed"])
    kinds = {"UINT8": "u1", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8"}
    raw = (images if datatype == "UINT8" else images / 255).astype(kinds[datatype]).tobytes()
    document = {
        "inputs": [tensor(images, datatype, parameters={"binary_data_size": len(raw)})],
        "outputs": [{"name": "labels"}, {"name": "logits", "parameters": {"binary_data": True}}],
    }
    head, behind = split(binary(server, "framed", document, raw))
    labels, logits = head["outputs"]
    scores = expected(served, "framed", images)
    assert "data" not in logits and logits["parameters"]["binary_data_size"] == len(behind) == scores.size * 4
    got = np.frombuffer(behind, "<f4").reshape(scores.shape)
    np.testing.assert_allclose(got, scores, rtol=2e-3 if datatype == "FP16" else 1e-4, atol=1e-3)
    assert labels["data"] == [served["framed"].task.classes[i] for i in scores.argmax(1)]


def test_all_outputs_binary_and_the_raw_request(server, served):
    """Triton's `binary_data_output`, and its request without any JSON: the body is the tensor."""
    images = levels(2, SHAPES["filled"])
    answer = server.post("/v2/models/filled/infer", images.tobytes(), Inference_Header_Content_Length="0")
    head, behind = split(answer)
    labels = head["outputs"][2]
    scores = expected(served, "filled", images)
    np.testing.assert_allclose(np.frombuffer(behind[: scores.size * 4], "<f4"), scores.reshape(-1), rtol=1e-4)
    texts = behind[-labels["parameters"]["binary_data_size"] :]
    (length,) = struct.unpack_from("<I", texts)
    assert texts[4 : 4 + length].decode() == served["filled"].task.classes[scores[0].argmax()]
    odd = server.post("/v2/models/filled/infer", images.tobytes()[:-1], Inference_Header_Content_Length="0")
    assert odd.status_code == 400


def test_classification_names_labels(server, served):
    images = levels(3, SHAPES["framed"])
    wish = {"name": "probabilities", "parameters": {"classification": 2}}
    document = {"inputs": [tensor(images, data=images.reshape(-1).tolist())], "outputs": [wish]}
    (output,) = server.infer("framed", document).json()["outputs"]
    assert (output["datatype"], output["shape"]) == ("BYTES", [3, 2])
    scores = softmax(expected(served, "framed", images))
    for row, texts in zip(scores, np.reshape(output["data"], (3, 2)), strict=True):
        for index, text in zip(np.argsort(-row)[:2], texts, strict=True):
            number, position, label = text.split(":", 2)
            assert (int(position), label) == (index, served["framed"].task.classes[index])
            assert float(number) == pytest.approx(row[index], rel=1e-4)
    wish["parameters"]["classification"] = 99
    assert server.infer("framed", document).json()["outputs"][0]["shape"] == [3, 4]


def test_image_files_as_bytes(server, served):
    """PNG files, in binary and as base64; a file of another size is resized as predict resizes it."""
    images = levels(2, SHAPES["framed"])
    files = [png(image.transpose(1, 2, 0)) for image in images]
    scores = expected(served, "framed", images)
    texts = [base64.b64encode(file).decode() for file in files]
    (logits, *_) = server.infer(
        "framed", {"inputs": [{"name": "image", "shape": [2], "datatype": "BYTES", "data": texts}]}
    ).json()["outputs"]
    np.testing.assert_allclose(np.reshape(logits["data"], scores.shape), scores, rtol=1e-4, atol=1e-5)
    raw = b"".join(struct.pack("<I", len(file)) + file for file in files)
    head = {"name": "image", "shape": [2, 1], "datatype": "BYTES", "parameters": {"binary_data_size": len(raw)}}
    answer = binary(server, "framed", {"inputs": [head], "outputs": [{"name": "logits"}]}, raw).json()
    np.testing.assert_allclose(np.reshape(answer["outputs"][0]["data"], scores.shape), scores, rtol=1e-4, atol=1e-5)
    large = png(levels(1, (60, 90, 3))[0])
    from reprogram.utils import images as image_files

    picture = image_files.fit(Image.open(io.BytesIO(large)), 8, 8)
    scores = expected(served, "framed", image_files.to_tensor(picture, 3)[None].numpy())
    text = base64.b64encode(large).decode()
    answer = server.infer("framed", {"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": [text]}]})
    np.testing.assert_allclose(answer.json()["outputs"][0]["data"], scores[0], rtol=1e-4, atol=1e-5)


def test_a_photograph_for_the_host_is_cropped_and_its_own_size_is_not(server, served):
    own, large = levels(1, (32, 32, 3))[0], levels(1, (80, 50, 3))[0]
    info = next(iter(served.values())).host.info
    from reprogram.utils.photographs import as_photograph

    cropped = as_photograph(Image.fromarray(large), size=(32, 32), crop=info.crop, interpolation=info.interpolation)
    for array, pixels in ((own, own.transpose(2, 0, 1)[None]), (large, (cropped * 255).round().byte().numpy())):
        answer = server.post("/v1/classify?model=host&top=24", png(array)).json()
        scores = softmax(expected(served, "host", np.ascontiguousarray(pixels)))[0]
        got = {item["label"]: item["probability"] for item in answer["predictions"]}
        np.testing.assert_allclose([got[f"host label {i}"] for i in range(24)], scores, atol=1e-5)


GOOD = {"name": "image", "shape": [1, 1, 6, 7], "datatype": "UINT8", "data": [0] * 42}
WRONG = {
    "no list": 3,
    "empty": {},
    "no inputs": {"inputs": []},
    "two inputs": {"inputs": [GOOD, GOOD]},
    "other name": {"inputs": [{**GOOD, "name": "x"}]},
    "no shape": {"inputs": [{"name": "image", "datatype": "UINT8", "data": []}]},
    "shape of text": {"inputs": [{**GOOD, "shape": ["1", 1, 6, 7]}]},
    "shape true": {"inputs": [{**GOOD, "shape": [True, 1, 6, 7]}]},
    "shape negative": {"inputs": [{**GOOD, "shape": [-1, 1, 6, 7]}]},
    "shape zero": {"inputs": [{**GOOD, "shape": [0, 1, 6, 7], "data": []}]},
    "huge shape": {"inputs": [{**GOOD, "shape": [2**40, 1, 6, 7]}]},
    "other size": {"inputs": [{**GOOD, "shape": [1, 1, 7, 6]}]},
    "no batch": {"inputs": [{**GOOD, "shape": [1, 6, 7]}]},
    "too few": {"inputs": [{**GOOD, "data": [0] * 41}]},
    "ragged": {"inputs": [{**GOOD, "data": [[0] * 40, [0, [1]]]}]},
    "depths": {"inputs": [{**GOOD, "data": [[0], 1]}]},
    "texts": {"inputs": [{**GOOD, "data": ["1"] * 42}]},
    "true": {"inputs": [{**GOOD, "data": [True] * 42}]},
    "level 256": {"inputs": [{**GOOD, "data": [256] * 42}]},
    "level .5": {"inputs": [{**GOOD, "data": [0.5] * 42}]},
    "beyond 1": {"inputs": [{**GOOD, "datatype": "FP32", "data": [1.5] * 42}]},
    "huge number": {"inputs": [{**GOOD, "datatype": "FP32", "data": [10**400] * 42}]},
    "type": {"inputs": [{**GOOD, "datatype": "INT64"}]},
    "no data": {"inputs": [{key: GOOD[key] for key in ("name", "shape", "datatype")}]},
    "size without bytes": {"inputs": [{**GOOD, "parameters": {"binary_data_size": 42}}]},
    "parameters": {"inputs": [{**GOOD, "parameters": [1]}]},
    "shared memory": {"inputs": [{**GOOD, "parameters": {"shared_memory_region": "somewhere"}}]},
    "no base64": {"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": ["/etc/passwd"]}]},
    "no image": {"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": ["aGVsbG8="]}]},
    "a path": {"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": ["file:///etc/passwd"]}]},
    "count of files": {"inputs": [{"name": "image", "shape": [2], "datatype": "BYTES", "data": ["aGVsbG8="]}]},
    "id": {"inputs": [GOOD], "id": 3},
    "output": {"inputs": [GOOD], "outputs": [{"name": "x"}]},
    "output twice": {"inputs": [GOOD], "outputs": [{"name": "logits"}, {"name": "logits"}]},
    "outputs": {"inputs": [GOOD], "outputs": {"name": "logits"}},
    "classification": {"inputs": [GOOD], "outputs": [{"name": "logits", "parameters": {"classification": 0}}]},
    "classification true": {"inputs": [GOOD], "outputs": [{"name": "logits", "parameters": {"classification": True}}]},
    "binary_data": {"inputs": [GOOD], "outputs": [{"name": "logits", "parameters": {"binary_data": 1}}]},
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_requests_get_one_line_in_the_protocols_form(server, case):
    answer = server.infer("filled", WRONG[case])
    assert answer.status_code in (400, 413), answer.text
    error = answer.json()
    assert error.keys() == {"error"} and "\n" not in error["error"] and len(error["error"]) > 10


def test_bytes_that_are_no_request(server):
    path = "/v2/models/filled/infer"
    for body in (b"", b"{", b"[" * 100_000, b"\xff\xfe", b'{"inputs": NaN}', b'{"inputs": [1, 2'):
        assert server.post(path, body).status_code == 400
    for length in ("-1", "x", "999999", "", "1e3", "9" * 40):
        answer = server.post(path, b"{}", Inference_Header_Content_Length=length)
        assert answer.status_code == 400 and answer.json().keys() == {"error"}
    raw = struct.pack("<I", 2**32 - 1) + b"xx"
    head = {"name": "image", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": len(raw)}}
    for size in (len(raw), len(raw) - 1, -1, "6", True):
        head["parameters"]["binary_data_size"] = size
        assert binary(server, "filled", {"inputs": [head]}, raw).status_code == 400
    for size, words in ((43, "43 bytes and no JSON; images of 42 bytes"), (0, "0 bytes and no JSON")):
        answer = server.post(path, bytes(size), Inference_Header_Content_Length="0")
        assert answer.status_code == 400 and words in answer.json()["error"], answer.text
    answer = server.infer("filled", {"inputs": [{**GOOD, "shape": [1, 1, 1, 6, 7]}]})
    assert "5 numbers" in answer.json()["error"]


def test_head_says_what_get_says_without_the_body(server):
    paths = ("/", "/page.js", "/v2", "/v2/models", "/v2/models/framed", "/v2/models/framed/ready", "/v1/programs")
    for path in (*paths, "/v2/health/live", "/v2/health/ready", "/openapi.json", "/v2/models/none", "/v1/classify"):
        head, whole = server.client.head(path), server.client.get(path)
        assert head.status_code == whole.status_code and head.content == b"", path
        for name in ("content-type", "content-length", "allow"):
            assert head.headers.get(name) == whole.headers.get(name), path
    assert server.client.get("/v2").status_code == 200, "the connection goes on behind it"


def test_paths_and_methods_that_are_not_there(server):
    for path in ("/nothing", "/v2/models/none", "/v2/models/none/ready", "/v2/models/..%2f..%2fetc"):
        answer = server.client.get(path)
        assert answer.status_code == 404 and answer.json().keys() == {"error"}
    assert server.infer("none", {}).status_code == 404
    for path, allowed in (("/v2", "GET, HEAD"), ("/v2/models/framed/infer", "POST"), ("/v1/classify", "POST")):
        answer = server.client.delete(path)
        assert answer.status_code == 405 and answer.headers["Allow"] == allowed and answer.json().keys() == {"error"}
