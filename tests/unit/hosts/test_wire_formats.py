"""Golden documents of the wire formats: what is sent for given images, and what is read of a given response."""

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from reprogram.hosts._throttle import refusal
from reprogram.hosts._wire import GarbledError, Response, WrongAnswerError
from reprogram.registry import configure

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "wire"
DOCUMENTS = {path.stem: json.loads(path.read_text()) for path in sorted(GOLDEN.glob("*.json"))}


def images_of(golden):
    if golden["images"] == "80 pixels":
        return np.random.default_rng(0).integers(0, 256, (1, 80, 80, 3), dtype=np.uint8)
    return np.array(golden["images"], dtype=np.uint8)


def source_of(golden):
    variant, config = configure("hosts", golden["host"])
    return variant(config)


def check_file(data, image, encoding):
    """A file that Pillow decodes to the image, up to what JPEG loses."""
    opened = Image.open(io.BytesIO(data))
    assert opened.format == encoding.upper()
    if encoding == "png":
        assert np.array_equal(np.array(opened), image)
    else:
        assert np.array(opened).shape == image.shape


def check_body(found, wanted, images, encoding):
    """The value that was wanted, with files in base64 where it says <image N>."""
    if isinstance(wanted, str) and wanted.startswith("<image "):
        check_file(base64.b64decode(found, validate=True), images[int(wanted[7:-1])], encoding)
    elif isinstance(wanted, dict):
        assert isinstance(found, dict) and list(found) == list(wanted)
        for key in wanted:
            check_body(found[key], wanted[key], images, encoding)
    elif isinstance(wanted, list):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            check_body(one, other, images, encoding)
    elif isinstance(wanted, float):
        assert found == pytest.approx(wanted, abs=1e-7)
    else:
        assert found == wanted


def test_there_are_documents_of_at_least_nine_formats():
    assert len({configure("hosts", golden["host"])[0] for golden in DOCUMENTS.values()}) >= 9


@pytest.mark.parametrize("name", DOCUMENTS)
def test_request(name):
    golden = DOCUMENTS[name]
    source, images = source_of(golden), images_of(golden)
    request = source.encode(images)
    assert request.path == golden["path"] and dict(request.headers) == golden["headers"]
    if golden["request"] == "<image 0>":
        check_file(request.body, images[0], source.config.encoding)
    else:
        check_body(json.loads(request.body), golden["request"], images, source.config.encoding)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_response(name):
    golden = DOCUMENTS[name]
    response = Response(body=json.dumps(golden["response"]).encode())
    assert refusal(response.status, response.headers, response.document) is None
    answers = source_of(golden).decode(response, len(golden["answers"]))
    assert len(answers) == len(golden["answers"])
    for found, wanted in zip(answers, golden["answers"], strict=True):
        if isinstance(found, np.ndarray):
            np.testing.assert_allclose(found, wanted, rtol=1e-12)
        else:
            assert [label for label, _ in found] == [label for label, _ in wanted]
            for (_, number), (_, expected) in zip(found, wanted, strict=True):
                assert number == (None if expected is None else pytest.approx(expected, rel=1e-12))


@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.parametrize(
    "body",
    [b"", b"<html><body>502</body></html>", b'{"a"', b"null", b"[]", b"{}", b"[1, 2]", b'{"outputs": [3]}', b"7"],
)
def test_bodies_that_are_no_answer(name, body):
    """Whatever comes, nothing but the two errors that the client expects is raised, in one line."""
    source, golden = source_of(DOCUMENTS[name]), DOCUMENTS[name]
    try:
        answers = source.decode(Response(body=body), len(golden["answers"]))
    except (GarbledError, WrongAnswerError) as error:
        assert str(error).startswith("answers") or str(error).startswith("answered")
        assert "\n" not in str(error) and len(str(error)) < 300
    else:
        assert len(answers) != len(golden["answers"]) or all(len(answer) == 0 for answer in answers)


def spec(options):
    return source_of({"host": f"oip(url='http://localhost:8000', model='m', {options})"})


def test_binary_tensors():
    """The layout of Triton's extension: little-endian numbers behind a JSON head whose length a header says."""
    source = spec("input='x', output='y', datatype='FP32', layout='NCHW', size=2, num_classes=3, format='binary'")
    images = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3)
    request = source.encode(images)
    length = int(request.headers["Inference-Header-Content-Length"])
    head, behind = json.loads(request.body[:length]), request.body[length:]
    assert head["inputs"] == [
        {"name": "x", "shape": [2, 3, 2, 2], "datatype": "FP32", "parameters": {"binary_data_size": 96}}
    ]
    assert head["outputs"] == [{"name": "y", "parameters": {"binary_data": True}}]
    expected = (images.transpose(0, 3, 1, 2) / 255).astype("<f4")
    assert behind == expected.tobytes()

    scores = np.array([[1, 2, 3], [4, 5, 6]], dtype="<f4")
    reply = {
        "model_name": "m",
        "outputs": [
            {"name": "other", "datatype": "INT64", "shape": [1], "parameters": {"binary_data_size": 8}},
            {"name": "y", "datatype": "FP32", "shape": [2, 3], "parameters": {"binary_data_size": 24}},
        ],
    }
    text = json.dumps(reply).encode()
    headers = {"inference-header-content-length": str(len(text))}
    body = text + (5).to_bytes(8, "little") + scores.tobytes()
    assert np.array_equal(source.decode(Response(headers=headers, body=body), 2), scores)
    with pytest.raises(GarbledError, match="20 of 24 bytes"):
        source.decode(Response(headers=headers, body=body[:-4]), 2)
    with pytest.raises(WrongAnswerError, match="3 images"):
        source.decode(Response(headers=headers, body=body), 3)


def test_files_as_elements_of_type_bytes():
    source = spec("input='x', output='y', datatype='BYTES', size=2, num_classes=3, format='bytes'")
    images = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3)
    request = source.encode(images)
    length = int(request.headers["Inference-Header-Content-Length"])
    head, rest = json.loads(request.body[:length]), request.body[length:]
    (tensor,) = head["inputs"]
    assert tensor["shape"] == [2] and tensor["datatype"] == "BYTES"
    assert tensor["parameters"]["binary_data_size"] == len(rest)
    for image in images:
        size = int.from_bytes(rest[:4], "little")
        check_file(rest[4 : 4 + size], image, "png")
        rest = rest[4 + size :]
    assert rest == b""


def test_labels_in_binary_texts():
    source = spec("input='x', output='y', size=1, num_classes=3, classification=2, datatype='UINT8', format='binary'")
    texts = [b"9.5:2:cat", b"1.0:0:dog"]
    raw = b"".join(len(text).to_bytes(4, "little") + text for text in texts)
    outputs = [{"name": "y", "datatype": "BYTES", "shape": [1, 2], "parameters": {"binary_data_size": len(raw)}}]
    text = json.dumps({"model_name": "m", "outputs": outputs}).encode()
    response = Response(headers={"inference-header-content-length": str(len(text))}, body=text + raw)
    assert source.decode(response, 1) == [[(2, 9.5), (0, 1.0)]]
    named = spec("input='x', output='y', size=1, class_names=('dog', 'x', 'cat'), classification=2, datatype='UINT8'")
    assert named.decode(response, 1) == [[("cat", 9.5), ("dog", 1.0)]], "names are asked for, whatever their order"


def test_normalised_inputs():
    """(p - mean) / std of p in [0, 1], in float32."""
    source = spec(
        "input='x', output='y', datatype='FP32', size=1, num_classes=3, mean=(0.5, 0.4, 0.3), std=(0.1, 0.2, 0.4)"
    )
    data = json.loads(source.encode(np.array([[[[0, 128, 255]]]], np.uint8)).body)["inputs"][0]["data"]
    np.testing.assert_allclose(data, [-5, (128 / 255 - 0.4) / 0.2, 1.75], rtol=1e-6)


ODD = [None, True, -1, 0, 10**400, 1e999, float("nan"), "", "x", [], {}, [[]], [None], [1, "2"], {"x": []}]


def places(value, path=()):
    """The paths of all values in a JSON value."""
    yield path
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        yield from places(inner, (*path, key))


def replaced(value, path, odd):
    if not path:
        return odd
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], odd)
    return copy


@pytest.mark.parametrize("name", DOCUMENTS)
def test_responses_with_something_odd_in_any_place(name):
    """One value of a good response is another one: it is read, or one of the client's two errors says what is wrong."""
    golden = DOCUMENTS[name]
    source = source_of(golden)
    for path in places(golden["response"]):
        for odd in ODD:
            body = json.dumps(replaced(golden["response"], path, odd)).encode()
            try:
                answers = source.decode(Response(body=body), len(golden["answers"]))
                source.version(Response(body=body))
                assert isinstance(answers, list)
            except (GarbledError, WrongAnswerError) as error:
                assert "\n" not in str(error) and len(str(error)) < 400


@settings(max_examples=100, deadline=None)
@given(cut=st.integers(0, 400), flip=st.integers(0, 400))
def test_damaged_binary_responses(cut, flip):
    source = spec("input='x', output='y', datatype='FP32', layout='NCHW', size=2, num_classes=3, format='binary'")
    outputs = [{"name": "y", "datatype": "FP32", "shape": [2, 3], "parameters": {"binary_data_size": 24}}]
    text = json.dumps({"model_name": "m", "model_version": "1", "outputs": outputs}).encode()
    body = bytearray(text + bytes(24))
    body[flip % len(body)] ^= 1 << (flip % 8)
    response = Response(headers={"inference-header-content-length": str(len(text))}, body=bytes(body[: cut or None]))
    try:
        assert len(source.decode(response, 2)) == 2
    except (GarbledError, WrongAnswerError) as error:
        assert "\n" not in str(error)
