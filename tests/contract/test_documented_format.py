"""The wire format of docs/black-box.md is one file that works, under faults too."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("httpx2", reason="needs the extra remote")

from helpers_server import ModelServer, settled

PAGE = Path(__file__).parents[2] / "docs" / "black-box.md"


def test_one_file_is_a_format(tmp_path, monkeypatch):
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    (source,) = (block for block in blocks if "class OneLine(" in block)
    (tmp_path / "one_line.py").write_text(source)
    spec = importlib.util.spec_from_file_location("reprogram.hosts.one_line", tmp_path / "one_line.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    with ModelServer(rate=0.3, seed=1, faults=("500", "truncated", "reset")) as server:
        host = module.OneLine(module.OneLine.Config(url=server.url, num_classes=10, size=48)).build()
        assert host.info.id.startswith("one-line(") and host.info.access == "label"
        monkeypatch.setattr("helpers_server._json", lambda value: ({}, value[0]["label"].encode()))
        images = torch.rand(12, 3, 48, 48, generator=torch.Generator().manual_seed(0))
        scores = host(images)
        settled(server)
        expected = server.scores((images * 255).round().permute(0, 2, 3, 1).numpy()).argmax(1)
        assert [host.vocabulary.names[i] for i in scores.argmax(1)] == [f"label {i}" for i in expected]
        assert (host.meter.requests, host.meter.images) == (server.requests, server.answered)
