"""Answers that nobody writes down: labels in order, said twice, cut, escaped or compressed."""

import json

import numpy as np
import pytest
import torch

import reprogram
from reprogram.errors import ConfigError, HostUnavailableError
from reprogram.hosts._answers import Answers
from reprogram.hosts._consent import checked_url, credential
from reprogram.hosts._oip import read_outputs
from reprogram.hosts._reading import tensor, vector
from reprogram.hosts._shown import Shown
from reprogram.hosts._throttle import num_answered, refusal, waiting_time
from reprogram.hosts._vocabulary import Vocabulary
from reprogram.hosts._wire import GarbledError, Response, WrongAnswerError

FREE = {"kind": "probabilities", "decimals": None, "whole": False}


def rows(answers, labels=12):
    return Vocabulary([f"L{i}" for i in range(labels)], labels, "test").evidence(answers, **FREE).exp().numpy()


@pytest.mark.parametrize("labels", [2, 3, 12])
def test_labels_without_numbers_keep_their_order_and_are_above_all_others(labels):
    names = ["L10", "L0", "L2"] if labels == 12 else ["L1", "L0"]
    (found,) = rows([[(name, None) for name in names]], labels)
    order = np.argsort(-found, kind="stable")[: len(names)]
    assert [f"L{i}" for i in order] == names
    hidden = np.delete(found, order)
    assert not len(hidden) or found[order].min() >= 2 * hidden.max() - 1e-6
    np.testing.assert_allclose(found.sum(), 1, atol=1e-6)
    assert (np.diff(found[order]) < 0).all()


@pytest.mark.parametrize("labels, shown", [(2, 1), (3, 1), (3, 2), (10, 1), (10, 5), (4, 4)])
def test_a_shown_label_has_at_least_twice_what_a_hidden_one_has(labels, shown):
    mask = (torch.arange(labels) < shown)[None]
    (found,) = Shown(labels=shown, numbers=False).evidence(torch.zeros(1, labels), mask).exp().numpy()
    np.testing.assert_allclose(found[:shown], found[0])
    assert shown == labels or found[0] >= 2 * found[-1] - 1e-6
    assert found[:shown].sum() >= 0.5 - 1e-6
    np.testing.assert_allclose(found.sum(), 1, atol=1e-6)


def test_a_host_of_two_labels_shows_which_one_it_is():
    spec = "timm:test_resnet(pretrained=False, num_classes=2, size=48)"
    pixels = torch.rand(24, 3, 48, 48, generator=torch.Generator().manual_seed(0)).mul(255).round() / 255
    scores = reprogram.load_host(spec)(pixels)
    labels = (scores[:, 1] - scores[:, 1].median() > 0).long()  # Random weights say one label for all of them.
    shown = Shown(labels=1, numbers=False)
    logits = torch.stack([scores[:, 1].median().expand(24), scores[:, 1]], dim=1)
    found = shown.evidence(*shown.answer(logits.detach()))
    assert torch.equal(found.argmax(1), labels) and 0 < labels.sum() < 24
    (alone,) = reprogram.load_host(f"restricted(host={spec!r}, access='label')")(pixels[:1])
    assert abs(float(alone[0] - alone[1])) == pytest.approx(np.log(2), abs=1e-6)


def test_each_image_of_a_request_is_read_by_itself():
    together = rows([[("L3", 0.9), ("L1", 0.05)], [("L2", None)], [("L0", 0.6), ("L5", None)]])
    alone = [rows([answer])[0] for answer in ([("L3", 0.9), ("L1", 0.05)], [("L2", None)], [("L0", 0.6)])]
    np.testing.assert_array_equal(together, np.stack(alone))


def test_of_a_label_that_is_there_twice_the_larger_number_counts():
    np.testing.assert_array_equal(rows([[("L4", 0.6), ("L4", 0.1), ("L1", 0.2)]]), rows([[("L4", 0.6), ("L1", 0.2)]]))
    names = tuple("abcde")
    pairs = [[("a", 0.6), ("a", 0.1), ("b", 0.2)]]
    found = [Answers(lambda _, p=p: p, names, numbers=True, name="t") for p in (pairs, [pairs[0][::2]])]
    assert torch.equal(*(net(torch.zeros(1, 1, 2, 2)) for net in found))


def test_rounding_above_1_is_no_percent():
    read = Answers(lambda _: [[("a", 1.0000001)], [("a", 1.0)], [("a", 99.0)]], tuple("abcde"), numbers=True, name="t")
    found = read(torch.zeros(3, 1, 2, 2)).exp()
    torch.testing.assert_close(found[0], found[1])
    assert found[2, 0] == pytest.approx(0.99) and found[0, 0] == pytest.approx(1)


def test_numbers_of_labels_without_a_column_are_checked_too():
    with pytest.raises(HostUnavailableError, match="aren't finite"):
        Vocabulary(["a"], 1, "t").evidence([[("a", 0.5), ("b", float("nan"))]], **FREE)


@pytest.mark.parametrize("values", [["0.1", "0.2"], [True, False], [0.1, "0.2"]])
def test_texts_and_truth_values_are_no_numbers(values):
    with pytest.raises(WrongAnswerError, match="list of numbers"):
        vector(values)
    with pytest.raises(GarbledError, match="tensor"):
        tensor(values, [2])
    np.testing.assert_array_equal(vector([1, None]), [1, np.nan])
    np.testing.assert_array_equal(tensor([[1, 2], [3, 4]], [2, 2]), [[1, 2], [3, 4]])


def test_a_label_called_error_is_a_label():
    assert refusal(200, {}, {"ok": 0.9, "error": 0.1}) is None
    assert refusal(200, {}, [{"label": "error", "score": 0.2}]) is None
    assert all(refusal(200, {}, {"error": said}) for said in ("no", ["no"], True, {"code": 3}))


@pytest.mark.parametrize("date", ["Mon, 01 Jan 2024 00:00:00 +99999999999999", "Mon, 01 Jan 99999 00:00:00 GMT", "x"])
def test_dates_that_are_none_say_nothing(date):
    assert waiting_time({"retry-after": date}) is None
    assert waiting_time({"retry-after": "Mon, 01 Jan 2024 00:00:10 GMT", "date": date}) == 0


@pytest.mark.parametrize(
    "document, count",
    [
        ({"responses": [{}, {"error": {"code": 14}}, {"labelAnnotations": []}]}, 2),
        ({"outputs": [{"status": {"code": 10000}}, {"status": {"code": 10020}}], "status": {"code": 10010}}, 1),
        ({"error": {"code": 8}}, 0),
        ({"responses": "no", "outputs": 3}, 0),
        (None, 0),
    ],
)
def test_what_a_refusal_answers_all_the_same_is_billed(document, count):
    assert num_answered(document) == count


WHOLE = [
    (b"<html>welcome</html>", {"content-type": "text/html; charset=utf-8"}, "text/html"),
    (b"\x1f\x8b\x08", {"content-encoding": "gzip"}, "gzip"),
    (b"null", {}, "no JSON"),
    (b"  ", {}, "no JSON"),
]


@pytest.mark.parametrize("body, headers, words", WHOLE)
def test_what_can_never_be_an_answer_is_not_asked_for_again(body, headers, words):
    with pytest.raises(WrongAnswerError, match=words):
        Response(body=body, headers=headers).json()
    with pytest.raises(GarbledError):
        Response(body=b'{"a": [1, 2', headers={"content-type": "application/json"}).json()


@pytest.mark.parametrize("shape", [[], [1] * 100 + [10]])
def test_tensors_of_odd_shapes_are_refused(shape):
    head = json.dumps({"outputs": [{"name": "o", "datatype": "FP32", "shape": shape}]}).encode()
    count = int(np.prod(shape))
    head = head.replace(b'"FP32"', b'"FP32", "parameters": {"binary_data_size": %d}' % (4 * count))
    response = Response(body=head + bytes(4 * count), headers={"inference-header-content-length": str(len(head))})
    with pytest.raises(WrongAnswerError):
        read_outputs(response)["o"].rows(1)


def test_an_escaped_credential_does_not_get_out():
    clean = lambda text: text.replace("S3cr3t/T", "***")  # noqa: E731
    body = b'{"label": "S3cr3t\\/T", "words": ["\\u00533cr3t/T"], "\\u00533cr3t/T": 1}'
    assert Response(body=body, clean=clean).json() == {"label": "***", "words": ["***"], "***": 1}


def test_a_credential_with_a_new_line_is_taken_without_it(monkeypatch, one_line):
    monkeypatch.setenv("MODEL_SERVER_TOKEN", " token-of-tests\r\n")
    assert credential("MODEL_SERVER_TOKEN", "http") == "token-of-tests"
    for wrong in ("tök-of-tests", "tok\nen-of-tests", "tok\x07en"):
        monkeypatch.setenv("MODEL_SERVER_TOKEN", wrong)
        with pytest.raises(ConfigError) as error:
            credential("MODEL_SERVER_TOKEN", "http")
        one_line(error, "MODEL_SERVER_TOKEN")
        assert "of-tests" not in str(error.value)
    monkeypatch.delenv("MODEL_SERVER_TOKEN")
    assert credential("MODEL_SERVER_TOKEN", "http") == ""


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1#", "http://127.0.0.1:1?", " http://127.0.0.1:1", "http://127.0.0.1\t"]
)
def test_urls_that_would_lose_a_path_are_refused(url, one_line):
    with pytest.raises(ConfigError) as error:
        checked_url(url, "http")
    one_line(error, "URL")


def test_a_function_that_fails_in_the_middle_is_not_this_librarys_bug(one_line):
    calls = []

    def classify(pixels):
        calls.append(len(pixels))
        if len(calls) > 12:
            raise KeyError("label 7")
        return [[("a", 0.5)]] * len(pixels.numpy())

    host = reprogram.Host.wrap(classify, size=16, class_names=tuple("abc"), outputs="top-k", name="mine")
    images = torch.rand(1, 3, 16, 16)
    with pytest.raises(ConfigError) as error:
        for _ in range(20):
            host(images)
    one_line(error, "mine", "its function failed", "KeyError", "label 7")
