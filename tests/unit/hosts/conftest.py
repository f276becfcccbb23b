"""Nothing goes online, and pixels for the hosts of `tiny_clip` and `tiny_hf`."""

import pytest
import torch


@pytest.fixture
def no_network(monkeypatch):
    """Connecting anywhere fails the test."""
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("went online"))


@pytest.fixture
def pixels():
    return torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
