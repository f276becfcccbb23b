"""Who asks, and how often: tokens, accounts, rates."""

import pytest

import reprogram
from helpers_serving import running
from reprogram.serving import accounts
from reprogram.serving.accounts import VARIABLE, Accounts, UnknownTokenError, tokens_of_environment


def test_accounts_are_tokens_or_addresses():
    assert Accounts((), None).of("Bearer anything", "10.0.0.1") == "10.0.0.1"
    known = Accounts(("first", "second"), None)
    assert known.of("Bearer second", "x") == "token 2" and known.of("bearer  first ", "x") == "token 1"
    for text in (None, "", "Bearer", "Bearer third", "Basic first", "first", "Bearer first second", "Bearer f\udcff"):
        with pytest.raises(UnknownTokenError):
            known.of(text, "x")


def test_tokens_come_from_the_environment(monkeypatch, one_line):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert tokens_of_environment() == ()
    monkeypatch.setenv(VARIABLE, "one, two")
    assert tokens_of_environment() == ("one", "two")
    for text in ("", " ", "one,", "a b", "é"):
        monkeypatch.setenv(VARIABLE, text)
        with pytest.raises(reprogram.ConfigError) as error:
            tokens_of_environment()
        one_line(error, VARIABLE)


def test_a_rate_is_a_bucket_that_fills(monkeypatch):
    now = [0.0]
    limited = Accounts((), 2.0, clock=lambda: now[0])
    assert [limited.wait_s("a") for _ in range(2)] == [0, 0]
    assert limited.wait_s("a") == pytest.approx(0.5) and limited.wait_s("b") == 0
    now[0] = 0.5
    assert limited.wait_s("a") == 0 and limited.wait_s("a") == pytest.approx(0.5)
    now[0] = 100.0
    assert [limited.wait_s("a") > 0 for _ in range(3)] == [False, False, True], "it holds no more than a second's"
    slow = Accounts((), 0.1, clock=lambda: now[0])
    assert slow.wait_s("a") == 0 and slow.wait_s("a") == pytest.approx(10)
    monkeypatch.setattr(accounts, "MAX_ACCOUNTS", 3)
    for name in "abcdef":
        limited.wait_s(name)
    assert len(limited._buckets) == 3


def test_a_token_is_asked_for_where_it_is_set_and_never_told(monkeypatch, capfd):
    secret = "s3cr3t-of-the-server"  # noqa: S105
    monkeypatch.setenv(VARIABLE, secret)
    with running() as run:
        for path in ("/", "/page.js", "/page.css", "/v2/health/live", "/v2/health/ready"):
            assert run.client.get(path).status_code == 200
        for path in ("/v2", "/v2/models/framed", "/v1/programs", "/metrics", "/openapi.json", "/nothing"):
            answer = run.client.get(path)
            assert answer.status_code == 401 and answer.headers["WWW-Authenticate"] == "Bearer"
            assert answer.json().keys() == {"error"}
            assert run.client.get(path, headers={"Authorization": "Bearer wrong"}).status_code == 401
        assert run.post("/v1/classify", b"x").status_code == 401
        good = {"Authorization": f"Bearer {secret}"}
        assert run.client.get("/v2/models/framed", headers=good).status_code == 200
        assert run.client.get("/openapi.json", headers=good).json()["components"]["securitySchemes"]
        assert secret not in run.client.get("/metrics", headers=good).text
    assert secret not in "".join(capfd.readouterr())


def test_too_many_requests_are_told_when_to_come_again():
    with running(rate=0.5) as run:
        assert run.post("/v1/classify", b"x").status_code == 400
        answer = run.post("/v1/classify", b"x")
        assert answer.status_code == 429 and answer.headers["Retry-After"] == "2" and answer.json().keys() == {"error"}
        assert run.client.get("/v2").status_code == 200, "what asks for no image isn't limited"


def test_tokens_are_guessed_no_faster_than_the_rate(monkeypatch):
    monkeypatch.setenv(VARIABLE, "right")
    with running(rate=0.5) as run:
        tried = [run.client.get("/v2", headers={"Authorization": f"Bearer wrong{number}"}) for number in range(5)]
        assert [answer.status_code for answer in tried] == [401, 429, 429, 429, 429]
        assert all(answer.headers["Retry-After"] == "2" for answer in tried[1:])
        good = run.client.get("/v2", headers={"Authorization": "Bearer right"})
        assert good.status_code == 200, "who has a token isn't kept waiting by those who guess"
