"""A detector goes on from a state's file: which threshold counts."""

import numpy as np
import pytest

import reprogram
from reprogram.detectors._detect import continued
from reprogram.detectors.base import Query

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (3, 20, 20), dtype=np.uint8)


@pytest.mark.parametrize("calibrated", [True, False])
def test_a_detector_whose_threshold_was_set_keeps_it_beside_an_older_state(calibrated, tmp_path):
    """Of the state come the accounts: the score goes on, and the alarm is that of the new threshold."""
    images = np.repeat(IMAGE[None], 6, axis=0)
    images[:, :, 8:12, 8:12] = RNG.integers(0, 256, (6, 3, 4, 4), dtype=np.uint8)
    older = reprogram.load_detector("repeated-border")
    for image in images[:5]:
        assert not older.observe(image, "a").alarm
    state = older.save(tmp_path / "state.safetensors")
    newer = reprogram.load_detector("repeated-border")
    if calibrated:
        newer.calibrate([Query(image=RNG.integers(0, 256, (3, 20, 20), dtype=np.uint8)) for _ in range(30)], 0.1)
    else:
        newer.threshold = 0.0
    file = newer.save(tmp_path / "new.safetensors")
    found = continued(reprogram.load_detector(file), state)
    verdict = found.observe(images[5], "a")
    assert (verdict.score, verdict.alarm) == (5, True)
    assert (found.threshold, found.num_calibrated) == (0, 30 if calibrated else 0)
    assert continued(reprogram.load_detector("repeated-border"), file).threshold == 0


def test_what_another_detector_learned_is_refused_beside_its_state(tmp_path, one_line):
    def calibrated(rate):
        detector = reprogram.load_detector("mahalanobis")
        answers = np.random.default_rng(0).normal(size=(200, 6))
        detector.calibrate([Query(image=IMAGE, answer=answer) for answer in answers], rate)
        return detector

    state = calibrated(0.1).save(tmp_path / "state.safetensors")
    assert continued(calibrated(0.1), state).num_calibrated == 100
    assert continued(reprogram.load_detector("mahalanobis"), state).num_calibrated == 100
    with pytest.raises(reprogram.ConfigError) as error:
        continued(calibrated(0.3), state)
    one_line(error, "state.safetensors", "calibrated otherwise")
