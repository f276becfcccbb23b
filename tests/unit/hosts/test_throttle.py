"""Which response is a refusal, whether and when to ask again."""

import random
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reprogram.hosts._throttle import BASE_S, LONGEST_S, backoff_s, refusal, waiting_time

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "status, headers, document",
    [
        (429, {}, None),
        (503, {}, {"error": "Model some/model is currently loading", "estimated_time": 20.0}),
        (400, {}, {"__type": "ThrottlingException", "message": "Rate exceeded"}),
        (400, {}, {"__type": "com.amazonaws.rekognition#ProvisionedThroughputExceededException", "Message": "x"}),
        (400, {"x-amzn-errortype": "ThrottlingException:http://internal.amazon.com/coral/"}, {}),
        (200, {}, {"status": {"code": 11005, "description": "Throttled"}}),
        (401, {}, {"status": {"code": 11005, "description": "Throttled"}}),
        (200, {}, {"responses": [{"labelAnnotations": []}, {"error": {"code": 8, "message": "quota"}}]}),
        (429, {}, {"error": {"code": 429, "message": "Quota exceeded", "status": "RESOURCE_EXHAUSTED"}}),
        (500, {}, None),
        (502, {}, None),
        (504, {}, None),
        (408, {}, None),
        (424, {}, {"Message": "Received server error", "OriginalStatusCode": 500, "OriginalMessage": "x"}),
    ],
)
def test_ask_again(status, headers, document):
    found = refusal(status, headers, document, NOW)
    assert found is not None and found.again and "\n" not in found.reason


@pytest.mark.parametrize(
    "status, headers, document, words",
    [
        (
            400,
            {},
            {"__type": "InvalidImageFormatException", "Message": "bad image"},
            "InvalidImageFormatException: bad",
        ),
        (400, {}, {"error": "unexpected shape"}, "HTTP 400: unexpected shape"),
        (401, {}, {"error": "Invalid username or password."}, "Invalid username"),
        (403, {"x-amzn-errortype": "AccessDeniedException"}, {"Message": "no"}, "AccessDeniedException: no"),
        (404, {}, None, "HTTP 404"),
        (200, {}, {"status": {"code": 11009, "description": "Invalid key"}}, "11009: Invalid key"),
        (200, {}, {"responses": [{"error": {"code": 3, "message": "Bad image data."}}]}, "3: Bad image data."),
        (200, {}, {"error": "the model\nbroke"}, "the model broke"),
        (424, {}, {"Message": "m", "OriginalStatusCode": 400}, "HTTP 424: m"),
        (301, {}, None, "HTTP 301"),
    ],
)
def test_do_not_ask_again(status, headers, document, words):
    found = refusal(status, headers, document, NOW)
    assert found is not None and not found.again and words in found.reason and "\n" not in found.reason


@pytest.mark.parametrize(
    "document",
    [
        *(None, [], {}, 3, {"status": {"code": 10000}}, {"responses": [{}]}, {"status": "ok"}, {"error": None}),
        *({"error": {}}, {"error": {"code": 0, "message": "ok"}}, {"error": {"status": "OK"}, "label": "cat"}),
        *({"error": {"code": 200}}, {"status": {"code": 20000, "message": "success"}, "label": "cat"}),
        {"responses": [{"error": {"code": 0}, "labelAnnotations": []}]},
    ],
)
def test_answers_are_no_refusals(document):
    assert refusal(200, {}, document) is None


@pytest.mark.parametrize(
    "headers, document, seconds",
    [
        ({"retry-after": "17"}, None, 17),
        ({"retry-after": "0"}, None, 0),
        ({"retry-after": "Thu, 01 Jan 2026 12:00:09 GMT"}, None, 9),
        ({"retry-after": "Thu, 01 Jan 2026 11:00:00 GMT"}, None, 0),
        ({"retry-after": "Thu, 01 Jan 2026 12:00:09 GMT", "date": "Thu, 01 Jan 2026 12:00:05 GMT"}, None, 4),
        ({"retry-after": "soon"}, None, None),
        ({"retry-after": "-3"}, None, None),
        ({"ratelimit": '"api";r=0;t=55'}, None, 55),
        ({"ratelimit": '"api";r=3;t=55'}, None, None),
        ({"ratelimit": '"a";r=0;t=5, "b";r=0;t=50, "c";r=1;t=500'}, None, 50),
        ({"ratelimit": '"api";r=0;t=55', "retry-after": "2"}, None, 2),
        ({}, {"estimated_time": 20.5}, 20.5),
        ({}, {"estimated_time": float("nan")}, None),
        ({}, None, None),
    ],
)
def test_how_long_a_service_wants_to_be_left_alone(headers, document, seconds):
    assert waiting_time(headers, document, NOW) == seconds


def test_backoff_grows_is_jittered_and_never_too_soon():
    chance = random.Random(0)
    draws = [[backoff_s(retry, None, chance) for _ in range(2000)] for retry in range(12)]
    for retry, waits in enumerate(draws):
        longest = min(LONGEST_S, BASE_S * 2**retry)
        assert min(waits) >= 0 and max(waits) <= longest
        assert sum(waits) / len(waits) == pytest.approx(longest / 2, rel=0.1)
    assert all(7 <= backoff_s(9, 7.0, chance) <= 7 + BASE_S for _ in range(100))


KEYS = ["error", "status", "code", "responses", "__type", "message", "estimated_time", "OriginalStatusCode", "x"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(status=st.sampled_from([200, 204, 301, 400, 424, 429, 500, 503]), document=JSON)
def test_whatever_a_service_says_is_judged_in_one_line(status, document):
    found = refusal(status, {"ratelimit": str(document)[:50], "retry-after": str(document)[:50]}, document)
    assert found is None or ("\n" not in found.reason and len(found.reason) < 1000)


def test_errors_deep_in_each_other():
    document = {}
    for _ in range(5000):
        document = {"error": document}
    assert refusal(500, {}, document).reason == "HTTP 500"
