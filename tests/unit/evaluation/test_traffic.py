"""Benign traffic made by code: the same for a seed, of every kind, and what each kind promises."""

import numpy as np
import pytest

import reprogram
from reprogram.evaluation.traffic import STREAMS, benign, photographs


@pytest.fixture(scope="module")
def photos():
    return photographs()


def sent(photos, kind, n=12, **options):
    options = {"queries": n, "accounts": 1, "size": 48, "seed": 1, "shares": {kind: 1.0}, **options}
    return list(benign(photos, **options))


def test_a_seed_decides_all_and_accounts_keep_their_kind(photos):
    options = {"queries": 60, "accounts": 25, "size": 32}
    first, again, other = (list(benign(photos, seed=seed, **options)) for seed in (3, 3, 4))
    assert all(np.array_equal(a.image, b.image) and a.account == b.account for a, b in zip(first, again, strict=True))
    assert any(not np.array_equal(a.image, b.image) for a, b in zip(first, other, strict=True))
    kinds = {query.account.partition("-")[0] for query in benign(photos, queries=300, accounts=25, size=32)}
    assert kinds == set(STREAMS) - {"screens"}


@pytest.mark.parametrize("kind", STREAMS)
def test_every_kind_is_images_of_the_size(kind, photos):
    for query in sent(photos, kind):
        assert query.image.shape == (3, 48, 48) and query.image.dtype == np.uint8 and query.account == f"{kind}-0"


def test_films_of_any_length_stay_in_their_scene(photos):
    assert all(len(sent(photos, "burst", 150, size=16, seed=seed)) == 150 for seed in range(8))


def test_what_stays_is_what_should(photos):
    shares = {}
    for kind in STREAMS:
        images = np.stack([query.image for query in sent(photos, kind, 16, size=64, seed=5)])
        shares[kind] = (images == images[0]).all(axis=(0, 1)).mean()
    assert shares["photos"] == shares["burst"] == 0
    assert 0.1 <= shares["framed"] <= 0.5 and 0.5 < shares["screens"] < 0.9 and 0.4 < shares["thumbnails"] < 0.95


def test_wrong_wishes_are_refused(photos, tmp_path):
    for options in ({"shares": {"nothing": 1.0}}, {"shares": {}}, {"queries": 0}, {"size": 4}):
        with pytest.raises(reprogram.ConfigError):
            sent(photos, "photos", **options)
    with pytest.raises(reprogram.DataError, match="no images"):
        photographs(tmp_path)


@pytest.mark.parametrize("size", [16, 17, 19, 20])
def test_small_hosts_get_traffic_too(photos, size):
    queries = list(benign(photos, queries=40, accounts=20, size=size))
    assert len(queries) == 40 and all(query.image.shape == (3, size, size) for query in queries)
