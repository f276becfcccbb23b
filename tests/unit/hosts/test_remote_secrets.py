"""Credentials come from the environment, go to the service, and get nowhere else."""

import json

import pytest
import torch

pytest.importorskip("httpx2", reason="needs the extra remote")

import reprogram
from helpers_server import ModelServer
from reprogram.errors import HostUnavailableError
from reprogram.hosts._remote import RemoteSource
from reprogram.registry import find, names

SECRET = "s3cr3t-VALUE/with+signs"  # noqa: S105
SPECS = {
    "oip": ("oip:{}?model=m", {"MODEL_SERVER_TOKEN": SECRET}, ("authorization", f"Bearer {SECRET}")),
    "http": (
        "http:{}/classify?labels=[*].label&numbers=[*].score&num_classes=10&size=48&token_header=X-Api-Key",
        {"MODEL_SERVER_TOKEN": SECRET},
        ("x-api-key", SECRET),
    ),
    "hf-inference": (
        "hf-inference:{}?num_classes=10&size=48",
        {"HF_TOKEN": SECRET},
        ("authorization", f"Bearer {SECRET}"),
    ),
    "google-vision": (
        "google-vision:{}?num_classes=10&size=48",
        {"GOOGLE_API_KEY": SECRET},
        ("x-goog-api-key", SECRET),
    ),
    "clarifai": (
        "clarifai:{}?model=m&num_classes=10&size=48",
        {"CLARIFAI_PAT": SECRET},
        ("authorization", f"Key {SECRET}"),
    ),
    "rekognition": (
        "rekognition:{}?num_classes=10&size=80",
        {"AWS_ACCESS_KEY_ID": "AKID-of-tests", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_SESSION_TOKEN": SECRET},
        ("x-amz-security-token", SECRET),
    ),
}


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch):
    for name in names("hosts"):
        variant = find("hosts", name)
        for variable in variant.variables if issubclass(variant, RemoteSource) else ():
            monkeypatch.delenv(variable, raising=False)


@pytest.mark.parametrize("name", SPECS)
def test_they_reach_the_service_and_nothing_else(name, monkeypatch, capfd):
    spec, variables, (header, value) = SPECS[name]
    with ModelServer(echo=True) as server:
        host = reprogram.load_host(spec.format(server.url))
        host(torch.rand(1, *host.info.shape))
        assert header not in server.seen[-1][1] and "authorization" not in server.seen[-1][1], "none is set"
        for variable, secret in variables.items():
            monkeypatch.setenv(variable, secret)
        host = reprogram.load_host(spec.format(server.url))
        host(torch.rand(1, *host.info.shape))
        assert server.seen[-1][1][header] == value
        # A server that tells them to everybody: as an error, as a label, as a header.
        server.reply = lambda *_: (400, {"X_Echo": SECRET}, json.dumps({"error": f"bad key {SECRET}!"}).encode())
        with pytest.raises(HostUnavailableError) as error:
            host(torch.rand(1, *host.info.shape))
        assert "bad key ***!" in str(error.value)
        told = [repr(host), str(host), repr(host.info), repr(host.source.config), host.info.id, host.fingerprint]
        told += [repr(vars(error.value)), str(error.value), *capfd.readouterr()]
        assert not any(SECRET in text for text in told)


def test_a_label_that_holds_the_secret(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", SECRET)
    with ModelServer() as server:
        server.reply = lambda *_: (200, {}, json.dumps([{"label": f"a {SECRET}", "score": 0.5}]).encode())
        host = reprogram.load_host(f"hf-inference:{server.url}?num_classes=3&size=48")
        host(torch.rand(1, 3, 48, 48))
        assert host.vocabulary.names == ("a ***",)


def test_they_do_not_travel_in_the_clear(monkeypatch):
    monkeypatch.setattr("reprogram.hosts._consent._authorised", {"vision.example"})
    monkeypatch.setenv("HF_TOKEN", SECRET)
    with pytest.raises(reprogram.ConfigError, match="in the clear") as error:
        reprogram.load_host("hf-inference:http://vision.example/m?num_classes=3")
    assert SECRET not in str(error.value)
