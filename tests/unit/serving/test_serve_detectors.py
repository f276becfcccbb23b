"""Detectors that watch what the host itself is sent: they see what it sees, by account, and count, log or refuse."""

import os
import time

import numpy as np
import pytest
import torch

import reprogram
from helpers_serving import host, models, running
from reprogram.detectors.base import Query, Verdict
from reprogram.serving.detection import Alarm, Watch
from reprogram.serving.remembered import remembered

RNG = np.random.default_rng(0)


def ask(run, images, datatype="UINT8"):
    values = images if datatype == "UINT8" else images / 255
    tensor = {"name": "image", "shape": list(images.shape), "datatype": datatype, "data": values.reshape(-1).tolist()}
    return run.infer("host", {"inputs": [tensor]})


def test_a_detector_sees_levels_the_account_and_the_hosts_scores(caplog):
    on, seen = host(), []

    def see(images, account, answers):
        seen.append((torch.stack(images).numpy(), account, answers["scores"]))
        verdict = Verdict(score=1.0, alarm=True)
        return [Alarm(detector="own", account=account, index=0, verdict=verdict)] if len(images) == 2 else []

    with running(models(on), detectors=[see]) as run:
        images = RNG.integers(0, 256, (2, 3, 32, 32), dtype=np.uint8)
        for datatype in ("UINT8", "FP32"):
            assert ask(run, images, datatype).status_code == 200
        assert ask(run, images[:1]).status_code == 200
        run.infer(
            "framed", {"inputs": [{"name": "image", "shape": [1, 3, 8, 8], "datatype": "UINT8", "data": [0] * 192}]}
        )
        text = run.client.get("/metrics").text
    assert len(seen) == 3, "programs are the owner's own"
    with torch.no_grad():
        scores = on(torch.from_numpy(images).float() / 255).numpy()
    for levels, account, answers in seen[:2]:
        assert np.array_equal(levels, images) and account == "127.0.0.1"
        np.testing.assert_allclose(answers, scores, rtol=1e-4, atol=1e-5)
    assert 'reprogram_alarms_total{detector="own"} 2.0' in text
    assert "alarm of own: 1 of 2 images of 127.0.0.1" in caplog.text


def test_the_same_border_again_and_again_is_refused(monkeypatch):
    monkeypatch.setenv("MODEL_SERVER_TOKEN", "the-attacker,somebody-else")
    border = RNG.integers(0, 256, (3, 32, 32), dtype=np.uint8)

    def queries(count):
        images = np.repeat(border[None], count, 0)
        images[:, :, 10:22, 10:22] = RNG.integers(0, 256, (count, 3, 12, 12), dtype=np.uint8)
        return images

    watch = Watch(["repeated-border"])
    with running(models(host()), detectors=[watch.see], on_alarm="refuse") as run:
        attacker = {"Authorization": "Bearer the-attacker"}
        run.client.headers = attacker
        statuses = [ask(run, queries(1)).status_code for _ in range(80)]
        assert statuses[0] == 200 and statuses[-1] == 429 and watch.alarms["repeated-border"] > 0
        run.client.headers = {"Authorization": "Bearer somebody-else"}
        assert ask(run, RNG.integers(0, 256, (1, 3, 32, 32), dtype=np.uint8)).status_code == 200


def border_queries(count):
    images = np.repeat(BORDER[None], count, 0)
    images[:, :, 10:22, 10:22] = RNG.integers(0, 256, (count, 3, 12, 12), dtype=np.uint8)
    return images


BORDER = RNG.integers(0, 256, (3, 32, 32), dtype=np.uint8)


def test_detectors_go_on_after_a_restart(tmp_path):
    """Two servers in turn ring as one that never stopped; without the folder the second begins anew."""
    spec, queries = "repeated-border(threshold=4.0)", border_queries(9)
    never = Watch([spec])
    whole = [bool(never.see([query], "anna")) for query in queries]
    said = []
    for part in (queries[:4], queries[4:]):
        with remembered(Watch([spec]), tmp_path / "state") as watch:
            said += [bool(watch.see([query], "anna")) for query in part]
    assert said == whole and any(whole)
    assert sorted(path.name for path in (tmp_path / "state").iterdir()) == ["repeated-border.safetensors"]


def test_what_detectors_remember_is_written_while_a_server_runs(tmp_path):
    """A killed server forgets no more than the time between two writes."""
    with remembered(Watch(["repeated-border(threshold=4.0)"]), tmp_path, every_s=0.01) as watch:
        watch.see(border_queries(3), "anna")
        end = time.monotonic() + 60
        while reprogram.Detector.load(tmp_path / "repeated-border.safetensors").accounts() != ["anna"]:
            assert time.monotonic() < end
        with (
            pytest.raises(reprogram.ReprogramError) as error,
            remembered(Watch(["repeated-border(threshold=4.0)"]), tmp_path),
        ):
            pass
        assert str(os.getpid()) in str(error.value), "another server works there"


@pytest.mark.parametrize("spec", ["repeated-border(side=8, threshold=4.0)", "still-cells(threshold=1.0)"])
def test_a_folder_of_other_detectors_is_not_overwritten(tmp_path, spec, one_line):
    with remembered(Watch(["repeated-border(threshold=4.0)"]), tmp_path):
        pass
    if spec.startswith("still"):
        with remembered(Watch([spec]), tmp_path):
            pass
        assert len(list(tmp_path.iterdir())) == 2
        return
    with pytest.raises(reprogram.ConfigError) as error, remembered(Watch([spec]), tmp_path):
        pass
    one_line(error, "give the same detector")


def test_what_was_learned_belongs_to_its_threshold(tmp_path, one_line):
    """A detector of features that was calibrated anew would meet its old means with the new threshold."""

    def calibrated(rate):
        detector = reprogram.load_detector("mahalanobis")
        answers = np.random.default_rng(0).normal(size=(200, 6))
        detector.calibrate([Query(image=np.zeros((1, 1, 1), np.uint8), answer=a) for a in answers], rate)
        return detector

    with remembered(Watch([calibrated(0.1)]), tmp_path):
        pass
    with remembered(Watch([calibrated(0.1)]), tmp_path):
        pass
    with pytest.raises(reprogram.ConfigError) as error, remembered(Watch([calibrated(0.3)]), tmp_path):
        pass
    one_line(error, "calibrated otherwise")
