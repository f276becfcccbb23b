"""Amazon's signature: the worked example of its documentation, and what must not be in it."""

from datetime import UTC, datetime

from reprogram.hosts._sigv4 import region_of, signed
from reprogram.hosts._wire import Request

SECRETS = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
}
NOW = datetime(2015, 8, 30, 12, 36, 0, tzinfo=UTC)


def test_the_worked_example_of_the_documentation():
    """GET of iam ListUsers, whose signature AWS publishes step by step."""
    request = Request(headers={"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"})
    headers = signed(
        Request(path="/?Action=ListUsers&Version=2010-05-08", headers=request.headers),
        "https://iam.amazonaws.com",
        SECRETS,
        service="iam",
        region="us-east-1",
        now=NOW,
    )
    assert headers["X-Amz-Date"] == "20150830T123600Z"
    assert headers["Authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, "
        "SignedHeaders=content-type;host;x-amz-date, "
        "Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
    )


def test_the_suite_s_post_of_nothing_but_the_host():
    """The case `post-vanilla` of AWS's test suite."""
    headers = signed(
        Request(path="/", body=b""),
        "https://example.amazonaws.com",
        SECRETS,
        service="service",
        region="us-east-1",
        now=NOW,
    )
    signature = headers["Authorization"].partition("Signature=")[2]
    assert signature == "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"


def test_without_keys_nothing_is_signed_and_a_token_is_sent():
    request = Request(path="/", body=b"x")
    options = {"service": "rekognition", "region": "", "now": NOW}
    assert signed(request, "http://localhost", {}, **options) == {}
    headers = signed(request, "http://localhost", SECRETS | {"AWS_SESSION_TOKEN": "token"}, **options)
    assert headers["X-Amz-Security-Token"] == "token"
    assert "host;x-amz-date;x-amz-security-token" in headers["Authorization"]
    assert SECRETS["AWS_SECRET_ACCESS_KEY"] not in str(headers)


def test_regions(monkeypatch):
    for variable in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(variable, raising=False)
    assert region_of("runtime.sagemaker.eu-west-1.amazonaws.com") == "eu-west-1"
    assert region_of("rekognition.us-gov-west-1.amazonaws.com") == "us-gov-west-1"
    assert region_of("localhost") == "us-east-1"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "ap-south-1")
    assert region_of("localhost") == "ap-south-1"
