"""An audit of a model server on the loopback: its bill is the server's own count, also where it was interrupted."""

import pytest

import reprogram
from helpers_server import ModelServer
from reprogram.evaluation.baselines import direct_training


def test_the_bill_of_an_audit_is_the_servers_own_count(tmp_path, monkeypatch):
    monkeypatch.setattr(direct_training, "DIRECT_IMAGES", 32)
    monkeypatch.setattr(direct_training, "DIRECT_PASSES", 1)
    options = {
        "tasks": ["counts=squares(train=200, validation=100, test=60)"], "budgets": [200], "seeds": [0, 1], "shots": 2,
        "test_images": 20, "out": tmp_path / "out", "price": 1.5, "executor": "inline",
    }  # fmt: skip
    with ModelServer() as server:
        spec = f"oip:{server.url}?model=m&class_names={tuple(server.labels)!r}"

        def stop(event):
            if event.state == "finished":
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            reprogram.audit(spec, on_event=stop, **options)
        report = reprogram.audit(spec, **options)
        answered = server.answered
        assert reprogram.audit(spec, **options).estimates == report.estimates
        assert server.answered == answered  # Nothing was left to ask.
    assert [estimate.rung for estimate in report.estimates] == ["scores"]
    assert {"no-ceiling"} <= {flag.name for flag in report.flags}
    assert report.bill.images == answered
    assert report.bill.cost == pytest.approx(1.5 * answered / 1000)
