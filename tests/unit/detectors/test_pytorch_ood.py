"""The detectors of unusual answers say what pytorch-ood says."""

import numpy as np
import pytest

import reprogram

pytestmark = pytest.mark.judge


@pytest.fixture(scope="module")
def ood():
    return pytest.importorskip("pytorch_ood.detector", reason="needs pytorch-ood, which make judges installs")


def values(spec, answers):
    built = reprogram.load_detector(spec)
    return np.array([built.value(answer) for answer in answers])


def test_softmax_and_energy(ood):
    import torch

    answers = torch.randn(30, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 4
    for t in (1.0, 3.0):
        found = values(f"largest-softmax(temperature={t})", answers.numpy())
        np.testing.assert_allclose(found, ood.MaxSoftmax.score(answers, t).numpy())
        np.testing.assert_allclose(
            values(f"energy(temperature={t})", answers.numpy()), ood.EnergyBased.score(answers, t).numpy()
        )


def test_mahalanobis_and_neighbours(ood):
    import torch

    generator = torch.Generator().manual_seed(1)
    benign, odd = (torch.randn(n, 6, generator=generator) * 2 for n in (300, 20))
    labels = torch.arange(300) % 4
    theirs = ood.Mahalanobis(None).fit_features(benign, labels).predict_features(odd).numpy()
    built = reprogram.load_detector("mahalanobis(shrinkage=0.0)")
    built.fit(benign.double().numpy(), labels.numpy())
    # Theirs is half the distance by the sum of the products, ours by their mean, divided by d.
    ours = np.array([built.value(z) for z in odd.double().numpy()])
    np.testing.assert_allclose(ours * 6 / 300 / 2, theirs, rtol=1e-4)
    near = reprogram.load_detector("neighbours(k=7)")
    near.fit(benign.double().numpy())
    theirs = ood.KNN(None, k=7).fit_features(benign, labels).predict_features(odd).numpy()
    np.testing.assert_allclose([near.value(z) for z in odd.double().numpy()], theirs, atol=1e-5)
