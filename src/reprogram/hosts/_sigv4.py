"""Amazon's signature of a request, version 4, with the standard library."""

import hashlib
import hmac
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

from reprogram.hosts._wire import Request

VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
"""The environment variables of credentials, as Amazon's own tools name them; the last only for temporary ones."""

ALGORITHM = "AWS4-HMAC-SHA256"


def signed(
    request: Request, url: str, secrets: Mapping[str, str], *, service: str, region: str, now: datetime | None = None
) -> dict[str, str]:
    """The headers that sign a request.

    Args:
        request: a POST; its headers are signed too.
        url: the host's; the request's path follows it.
        secrets: the values of `VARIABLES` that are set.
        service: the service's name, such as `rekognition`.
        region: such as `eu-west-1`; by default AWS_REGION, AWS_DEFAULT_REGION, or what the URL names.
        now: the time; by default the clock's.

    Returns:
        `Authorization`, `X-Amz-Date`, and `X-Amz-Security-Token` where there is one; nothing without keys.

    Reference: AWS, Signature Version 4 for API requests: Create a signed AWS API request.
    """
    key, secret = (secrets.get(name) for name in VARIABLES[:2])
    if not key or not secret:
        return {}
    moment = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    parts = urlsplit(url + request.path)
    own = {"X-Amz-Date": moment}
    if token := secrets.get(VARIABLES[2]):
        own["X-Amz-Security-Token"] = token
    headers = {"host": parts.netloc, **{name.lower(): value for name, value in {**request.headers, **own}.items()}}
    names = ";".join(sorted(headers))
    canonical = "\n".join(
        [
            "GET" if request.body is None else "POST",
            quote(parts.path or "/", safe="/~"),
            parts.query,
            *(f"{name}:{' '.join(headers[name].split())}" for name in sorted(headers)),
            "",
            names,
            hashlib.sha256(request.body or b"").hexdigest(),
        ]
    )
    region = region or region_of(parts.hostname or "")
    scope = f"{moment[:8]}/{region}/{service}/aws4_request"
    to_sign = "\n".join([ALGORITHM, moment, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    signing = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        signing = hmac.digest(signing, part.encode(), "sha256")
    signature = hmac.digest(signing, to_sign.encode(), "sha256").hex()
    return {
        **own,
        "Authorization": f"{ALGORITHM} Credential={key}/{scope}, SignedHeaders={names}, Signature={signature}",
    }


def region_of(host: str) -> str:
    """The region of a request: the environment's, or the one in the host's name.

    Args:
        host: such as `runtime.sagemaker.eu-west-1.amazonaws.com`.
    """
    stated = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    named = re.search(r"\.([a-z]{2}(?:-[a-z]+)+-\d)\.", host)
    return stated or (named[1] if named else "us-east-1")
