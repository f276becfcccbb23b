"""Programs of hosts that can't be compared, and names that Matplotlib would read as formulas."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from helpers_runs import finished_result
from reprogram.paper.experiments import base
from reprogram.paper.experiments.programs import BINS, spectrum
from reprogram.paper.plots import bars, histograms
from reprogram.paper.store import Row


class Store:
    """Rows and facts as a result store gives them."""

    def __init__(self, tmp_path, lengths, number=1.0):
        generator = np.random.default_rng(0)
        result = finished_result()
        self._rows, self._facts = [], {}
        for host, length in lengths.items():
            for seed in range(2):
                folder = tmp_path / f"{host}-{seed}"
                self._rows.append(Row(host=host, task="t", seed=seed, axis={}, folder=folder, result=result))
                self._facts[folder.name] = {"spectrum": [number, *generator.random(length - 1).tolist()]}

    def rows(self, experiment):
        return self._rows

    def facts(self, experiment):
        return self._facts


def hosts_told_apart(store):
    tables = [block for block in base.find("programs").show(store) if isinstance(block, base.Table)]
    return [[row[0] for row in table.rows] for table in tables]


def test_hosts_are_told_apart_where_their_spectra_are_alike(tmp_path):
    store = Store(tmp_path, {"a": 48, "b": 48, "grey": 16})
    assert hosts_told_apart(store) == [["a", "b", "all"]]
    assert hosts_told_apart(Store(tmp_path, {"a": 48, "grey": 16})) == []


def test_what_an_earlier_version_stored_without_a_number_is_left_out(tmp_path):
    assert hosts_told_apart(Store(tmp_path, {"a": 48, "b": 48}, number=float("nan"))) == []


@pytest.mark.parametrize("size", [4, 16, 17, 224])
def test_a_spectrum_is_finite_and_that_of_the_rings(size):
    pixels = torch.rand(2, size, size, generator=torch.Generator().manual_seed(0))
    found = np.array(spectrum(pixels)).reshape(2, BINS)
    assert np.isfinite(found).all() and abs(found.mean()) < 1e-9
    if size == 224:  # No ring is empty; the definition, ring by ring.
        values = pixels.double().numpy()
        power = np.abs(np.fft.fft2(values - values.mean(axis=(1, 2), keepdims=True))) ** 2
        distance = np.sqrt(np.add.outer(np.fft.fftfreq(size) ** 2, np.fft.fftfreq(size) ** 2))
        edges = np.linspace(0, 0.5, BINS + 1)
        edges[-1] = 1
        rings = [(distance >= low) & (distance < high) for low, high in pairwise(edges)]
        logs = np.array([[np.log(power[c][ring].mean() + 1e-12) for ring in rings] for c in range(2)])
        assert np.allclose(found, logs - logs.mean(), atol=1e-6)


@pytest.mark.parametrize("name", [r"x $\\frac$", "$5 or $6", "a$"])
def test_a_dollar_is_a_dollar(name):
    for picture in (
        bars({name: {name: 0.5}}, label=name),
        histograms({name: [0.1, 0.2], "other": [0.3]}, label=name),
    ):
        assert picture.source.startswith("data:image/svg")
