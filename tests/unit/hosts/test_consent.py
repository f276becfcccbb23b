"""Nothing is sent to another machine without its user's word, which nothing stores."""

import pytest

import reprogram
from reprogram.hosts import _consent
from reprogram.hosts._consent import authorise, check_encrypted, checked_url, is_loopback


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(_consent, "_authorised", set())


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "::1"])
def test_this_machine(host):
    assert is_loopback(host)
    written = f"[{host}]" if ":" in host else host
    assert checked_url(f"http://{written}:8000/", "oip") == f"http://{written}:8000"


@pytest.mark.parametrize(
    "host",
    [
        "vision.example",
        "localhost.example",
        "127.0.0.1.example",
        "0.0.0.0",  # noqa: S104
        "10.0.0.1",
        "192.168.0.1",
        "169.254.169.254",
        "2130706433",
        "0x7f.1",
        "::ffff:10.0.0.1",
        "localhost.",
    ],
)
def test_every_other_machine_needs_consent(host):
    assert not is_loopback(host)
    url = f"https://[{host}]/x" if ":" in host else f"https://{host}/x"
    with pytest.raises(reprogram.ConfigError, match="--i-am-authorised"):
        checked_url(url, "http")
    authorise(host)
    assert checked_url(url, "http") == url


def test_consent_is_for_exactly_one_host():
    authorise("vision.example")
    assert checked_url("https://VISION.example/v1/", "http") == "https://VISION.example/v1"
    for other in ("https://other.example", "https://a.vision.example", "https://vision.example.org"):
        with pytest.raises(reprogram.ConfigError, match="isn't this machine"):
            checked_url(other, "http")
    for wrong in ("https://vision.example", "*.example", "", "a b", "vision.example/path", "-x"):
        with pytest.raises(reprogram.ConfigError, match="exact name of one host"):
            authorise(wrong)


@pytest.mark.parametrize(
    "url, words",
    [
        ("http://user:secret@localhost:8000", "environment variables only"),
        ("http://localhost@vision.example", "environment variables only"),
        ("http://localhost:8000/?key=secret", "query"),
        ("http://localhost:8000/#x", "fragment"),
        ("http://localhost\\@vision.example/", "no URL|backslash|user name"),
        ("ftp://localhost", "no URL"),
        ("file:///etc/passwd", "no URL"),
        ("localhost:8000", "no URL"),
        ("http://", "no URL"),
        ("http://localhost:99999", "no URL"),
        ("http://[::1", "no URL"),
        ("http://loc\u0430lhost", "no URL"),
    ],
)
def test_urls_that_are_refused(url, words):
    with pytest.raises(reprogram.ConfigError, match=words) as error:
        checked_url(url, "http")
    assert "secret" not in str(error.value) or "key=secret" in url


def test_credentials_do_not_travel_in_the_clear():
    check_encrypted("http://127.0.0.1:8000", "oip")
    check_encrypted("https://vision.example", "oip")
    with pytest.raises(reprogram.ConfigError, match="in the clear to vision"):
        check_encrypted("http://vision.example", "oip")
