"""Which response of a service is no answer, whether to ask again, and when: one place for every format."""

import math
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from reprogram.utils.text import printable

THROTTLED = {429, 503}
"""The HTTP statuses of a service that is asked too much, or that still loads its model."""

PASSING = {408, 425, 500, 502, 504}
"""The HTTP statuses of faults that may be gone the next time."""

AWS_THROTTLES = {
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
}
"""The error codes with which Amazon's services refuse too many requests, mostly under HTTP status 400."""

CLARIFAI_SUCCESS = 10000
CLARIFAI_THROTTLES = {10030, 11005}
"""Clarifai's codes for "try again" and for too many requests; they stand in the body, whatever the HTTP status."""

GOOGLE_THROTTLES = {"RESOURCE_EXHAUSTED", "UNAVAILABLE", 8, 14, 429, 503}
"""Google's names and numbers of a spent quota and of an overloaded service."""

SUCCESSES = {0, 200, "0", "200", "OK", "ok"}
"""Numbers and names of no error, which some services write where errors have theirs (gRPC's code 0, HTTP's 200)."""

BASE_S, LONGEST_S = 0.2, 30.0
"""The longest first wait, and the longest wait that isn't asked for by the service, in seconds."""

LONGEST_ESTIMATE_S = 1e9
MAX_WORDS = 200


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A response that is no answer.

    Attributes:
        reason: what the service says, in one line.
        again: whether the same request may be answered later.
        wait_s: seconds after which the service wants to be asked again; None where it doesn't say.
    """

    reason: str
    again: bool
    wait_s: float | None = None


def refusal(status: int, headers: Mapping[str, str], document: Any, now: datetime | None = None) -> Refusal | None:
    """Judge a response.

    Args:
        status: the HTTP status.
        headers: by lower-case names.
        document: the body's JSON value; None where it has none.
        now: the time that HTTP dates are measured from, where the response has no `Date`; by default the clock's.

    Returns:
        Why it is no answer; None for one that is.
    """
    codes = [*_codes(headers, document)]
    throttled = status in THROTTLED or any(throttle for _, throttle in codes)
    if 200 <= status < 300 and not codes:
        return None
    again = throttled or status in PASSING or _original_status(document) >= 500
    named = [str(code) for code, _ in codes if code]
    words = ": ".join(filter(None, [f"HTTP {status}", *dict.fromkeys(named), said(document)]))
    return Refusal(reason=words, again=again, wait_s=waiting_time(headers, document, now) if again else None)


def _codes(headers: Mapping[str, str], document: Any) -> Iterator[tuple[Any, bool]]:
    """The error codes in a response, and whether each says that the service was asked too much."""
    if (kind := headers.get("x-amzn-errortype")) is not None:
        code = _short(kind)
        yield code, code in AWS_THROTTLES
    if not isinstance(document, dict):
        return
    if isinstance(document.get("__type"), str):
        code = _short(document["__type"])
        yield code, code in AWS_THROTTLES
    number = _clarifai_code(document)
    if isinstance(number, int) and number > CLARIFAI_SUCCESS and "description" in document["status"]:
        yield number, number in CLARIFAI_THROTTLES
    responses = document.get("responses")
    for response in (document, *(responses if isinstance(responses, list) else ())):
        error = response.get("error") if isinstance(response, dict) else None
        if isinstance(error, dict) and error:
            named = [error[key] for key in ("status", "code") if isinstance(error.get(key), str | int)]
            if named and SUCCESSES.issuperset(named):
                continue
            yield (named[0] if named else ""), not GOOGLE_THROTTLES.isdisjoint(named)
        elif error and (error is True or isinstance(error, str | list)):  # A label may be called so, with a number.
            yield "", False


def num_answered(document: Any) -> int:
    """How many images a response that is refused answers all the same: of a batch, a service may fail at some alone.

    Args:
        document: the body's JSON value.
    """
    if not isinstance(document, dict):
        return 0
    google = [one for one in _listed(document, "responses") if isinstance(one, dict) and not one.get("error")]
    clarifai = [one for one in _listed(document, "outputs") if _clarifai_code(one) == CLARIFAI_SUCCESS]
    return len(google) + len(clarifai)


def _listed(document: dict[str, Any], name: str) -> list[Any]:
    value = document.get(name)
    return value if isinstance(value, list) else []


def _clarifai_code(value: Any) -> Any:
    status = value.get("status") if isinstance(value, dict) else None
    return status.get("code") if isinstance(status, dict) else None


def _short(kind: str) -> str:
    """Amazon's error code without its namespace and address: `a.b#Code:http://...` is `Code`."""
    return printable(kind.partition(":")[0].rpartition("#")[2])[:60]


def _original_status(document: Any) -> int:
    """The status of the model's container behind SageMaker's `ModelError`; 0 where there is none."""
    status = document.get("OriginalStatusCode") if isinstance(document, dict) else None
    return status if isinstance(status, int) else 0


def said(document: Any, depth: int = 3) -> str:
    """The service's own words on an error, in one line; empty where it has none.

    Args:
        document: the body's JSON value.
        depth: how many objects are looked into, one in the other.
    """
    if not isinstance(document, dict) or not depth:
        return ""
    for key in ("error", "message", "Message", "OriginalMessage", "description", "details", "detail", "status"):
        value = document.get(key)
        if isinstance(value, dict):
            value = said(value, depth - 1)
        if isinstance(value, str) and value:
            return printable(" ".join(value.split()))[:MAX_WORDS]
    responses = document.get("responses")
    errors = [said(item, depth - 1) for item in responses] if isinstance(responses, list) else []
    return next(filter(None, errors), "")


def waiting_time(headers: Mapping[str, str], document: Any = None, now: datetime | None = None) -> float | None:
    """The seconds that a service asks to wait: `Retry-After`, `ratelimit`, or the time until a model is loaded.

    Args:
        headers: by lower-case names.
        document: the body's JSON value; Hugging Face's holds `estimated_time` while a model is loaded.
        now: see `refusal`.

    Returns:
        Seconds, not negative; None where the service doesn't say.
    """
    asked = _retry_after(headers, now)
    if asked is None:
        asked = spent_for_s(headers)
    estimate = document.get("estimated_time") if isinstance(document, dict) else None
    if asked is None and isinstance(estimate, int | float) and abs(estimate) < LONGEST_ESTIMATE_S:
        asked = float(estimate)
    return max(0.0, asked) if asked is not None and math.isfinite(asked) else None


def _retry_after(headers: Mapping[str, str], now: datetime | None) -> float | None:
    """`Retry-After`, a number of seconds or an HTTP date; a date counts from the response's own `Date`."""
    text = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    when = _date(text)
    if when is None:
        return None
    return (when - (_date(headers.get("date", "")) or now or datetime.now(UTC))).total_seconds()


def _date(text: str) -> datetime | None:
    try:
        when = parsedate_to_datetime(text)
        return (when if when.tzinfo is not None else when.replace(tzinfo=UTC)).astimezone(UTC)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None


def spent_for_s(headers: Mapping[str, str]) -> float | None:
    """The seconds for which a quota is spent, by the header `ratelimit: "policy";r=REMAINING;t=SECONDS`.

    Args:
        headers: by lower-case names.

    Returns:
        The longest such time of all policies of which nothing remains; None where there is none.
    """
    spent = []
    for policy in headers.get("ratelimit", "").split(","):
        values = dict(re.findall(r";\s*(r|t)=(\d+)", policy))
        if values.get("r") == "0" and "t" in values:
            spent.append(float(values["t"]))
    return max(spent, default=None)


def backoff_s(retry: int, wait_s: float | None, chance: random.Random) -> float:
    """The seconds until the next try: exponential with full jitter, and never before the service wants it.

    max(w, 0) + U(0, min(LONGEST_S, BASE_S · 2^retry)), without the second term's growth where w is given.

    Args:
        retry: 0 before the first retry.
        wait_s: the seconds w that the service asked for, or None.
        chance: draws the jitter.

    Reference: Brooker, Exponential Backoff and Jitter, AWS Architecture Blog, 2015.
    """
    if wait_s is not None:
        return wait_s + chance.uniform(0, BASE_S)
    return chance.uniform(0, min(LONGEST_S, BASE_S * 2.0 ** min(retry, 30)))
