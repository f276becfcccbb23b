"""Hosts that only answer: no image is asked for twice, and what was answered stays with its bill."""

import sqlite3
import threading

import numpy as np
import pytest
import torch

from reprogram import Box, Framed, Host, load_host
from reprogram.errors import BudgetError, ConfigError, DataError
from reprogram.hosts import _store
from reprogram.hosts._answering import AnsweringHost
from reprogram.hosts._info import HostInfo
from reprogram.hosts._store import AnswerStore
from reprogram.hosts.base import Meter

TINY = "timm:test_resnet(pretrained=False, num_classes=16, size=48)"


class Counting(AnsweringHost):
    """A linear classifier that writes down the images that it gets."""

    is_local = False

    def __init__(self, **changes):
        super().__init__(torch.nn.Identity(), HostInfo(id="counting", num_classes=5, size=(4, 4), access="scores"))
        self.weight = torch.randn(48, 5, generator=torch.Generator().manual_seed(0))
        self.seen, self.sizes, self.threads = [], [], set()
        self.__dict__.update(changes)

    def ask(self, images):
        with self.meter.request(len(images)) as sent:
            self.seen += [image.numpy().tobytes() for image in images]
            self.sizes.append(len(images))
            self.threads.add(threading.get_ident())
            sent.answered()
        return torch.stack([image.flatten() @ self.weight for image in images])


def attached(host, path=None):
    host.answers = AnswerStore(path, host.meter, key="host")
    return host


def pixels(n=6, seed=0):
    return torch.rand(n, 3, 4, 4, generator=torch.Generator().manual_seed(seed))


def expected(host, images):
    levels = np.round(images.numpy().astype(np.float64) * 255) / 255
    return levels.reshape(len(images), -1) @ host.weight.numpy().astype(np.float64)


@pytest.mark.parametrize("size, threads", [(None, 1), (2, 1), (2, 3), (1, 4), (100, 2)])
@pytest.mark.parametrize("stored", [True, False])
def test_rows_come_in_order_whatever_the_requests(size, threads, stored):
    host = Counting(images_per_request=size, concurrent_requests=threads)
    host = attached(host) if stored else host
    images = pixels(7)
    np.testing.assert_allclose(host(images).numpy(), expected(host, images), atol=1e-5)
    assert sorted(host.sizes) == sorted([size] * (7 // size) + [1] * (7 % size) if size in (1, 2) else [7])
    assert host.meter.images == 7 and host.meter.requests == len(host.sizes) == host.meter.calls
    assert host(pixels(0)).shape == (0, 5)


def test_an_image_is_asked_for_once():
    host, images = attached(Counting()), pixels(4)
    twice = torch.cat([images, images[1:3], images[:1] + 1e-5])  # The last one has the same 8 bits.
    np.testing.assert_allclose(host(twice).numpy(), expected(host, twice), atol=1e-5)
    assert len(host.seen) == len(set(host.seen)) == 4
    host(torch.cat([images[2:], pixels(1, seed=1)]))
    assert len(host.seen) == 5 == host.meter.images == host.answers.used
    host(images)
    assert host.meter.calls == 2, "nothing was asked"


def test_a_framed_image_is_the_same_as_a_whole_one():
    host, images = attached(Counting()), pixels(3)
    box = Box(top=1, left=1, height=2, width=2)
    framed = Framed(frame=images[:1], window=images[..., box.rows, box.columns], box=box)
    scores = host(framed)
    assert torch.equal(host(framed.dense()), scores) and len(host.seen) == 3
    local = load_host(f"restricted(host={TINY!r})")
    local.answers = AnswerStore(None, local.meter)
    large = torch.rand(3, 3, 48, 48, generator=torch.Generator().manual_seed(1))
    framed = Framed(frame=large[:1], window=large[..., 10:30, 10:30], box=Box(top=10, left=10, height=20, width=20))
    scores = local(framed)
    assert torch.equal(local(framed.dense()), scores) and local.meter.images == 3


def test_a_wrapped_function_is_asked_once_for_the_same_pixels():
    asked = []

    def classify(images):
        asked.append(len(images))
        return images.flatten(1)[:, :5]

    host = Host.wrap(classify, size=4, access="scores")
    asked.clear()
    host = attached(host)
    images, before = pixels(3), host.meter.images
    assert torch.equal(host(images), images.flatten(1)[:, :5]), "not rounded to 8 bits"
    host(torch.cat([images, images[:1] + 1e-5]))
    assert asked == [3, 1] and host.meter.images - before == 4
    host.answers = None
    host(images)
    assert asked == [3, 1, 3]


def test_noise_is_that_of_the_first_time():
    def noisy():
        host = load_host(f"restricted(host={TINY!r}, noise=0.1, seed=3)")
        host.answers = AnswerStore(None, host.meter)
        return host

    images = torch.rand(4, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    host, other = noisy(), noisy()
    first = host(images)
    assert torch.equal(host(images), first), "the same answer again"
    apart = torch.cat([other(images[:2]), other(images)[2:]])  # Rounding depends on the images of a call.
    torch.testing.assert_close(apart, first, msg="noise goes by the place among all")


def test_a_failed_request_keeps_the_answers_of_the_others(tmp_path):
    class Failing(Counting):
        def ask(self, images):
            if len(images) == 1:
                with self.meter.request(1):
                    raise ConnectionError("reset")
            return super().ask(images)

    host = attached(Failing(images_per_request=2, concurrent_requests=2), tmp_path / "a")
    with pytest.raises(ConnectionError):
        host(pixels(5))
    assert (host.meter.images, host.meter.lost) == (4, 1)
    host(pixels(4))
    assert (host.meter.images, host.meter.requests) == (4, 3)


def test_an_answer_that_cannot_be_kept_is_lost():
    host = attached(Counting())
    host.ask = lambda images: (Counting.ask(host, images), 1 / 0)
    with pytest.raises(ZeroDivisionError):
        host(pixels(3))
    assert (host.meter.calls, host.meter.images, host.meter.lost, host.meter.requests) == (0, 0, 3, 1)


def test_bill_and_answers_outlive_the_process(tmp_path):
    host = attached(Counting(), tmp_path / "a")
    host.meter.count(2)  # Before anything was kept, such as a trial.
    scores = host(pixels(4))
    with host.meter.waiting():
        pass
    number = host.answers.sending(7, retry=True)  # Under way when the process is killed: nothing closes the file.
    assert number > 0
    again = attached(Counting(), tmp_path / "a")
    assert (again.meter.images, again.meter.lost, again.meter.requests, again.meter.retries) == (6, 7, 3, 1)
    assert torch.equal(again(pixels(4)), scores) and not again.seen
    assert again.meter.seconds > 0
    again.answers.close()
    third = attached(Counting(), tmp_path / "a")
    assert (third.meter.images, third.meter.lost, third.meter.requests) == (6, 7, 3)


def test_a_continued_run_counts_what_it_uses_as_the_first_time(tmp_path):
    host = attached(Counting(images_per_request=3), tmp_path / "a")
    used = []
    for seed in range(4):
        host(pixels(5, seed))
        used.append((host.answers.used, host.answers.used_requests, host.answers.mark))
    again = attached(Counting(images_per_request=3), tmp_path / "a")
    assert (again.answers.used, again.answers.mark) == (0, 0) and again.meter.images == 20
    again.answers.go_on(mark=used[0][2], used=used[0][0], used_requests=used[0][1], free=0)
    for seed in range(1, 5):
        again(pixels(5, seed))
        again(pixels(5, 0))
        if seed < 4:
            assert (again.answers.used, again.answers.used_requests, again.answers.mark) == used[seed]
    assert again.answers.used == 25 == again.meter.images and len(again.seen) == 5


def test_places_go_on_behind_the_mark_of_a_checkpoint_whose_answers_are_gone():
    host = attached(Counting())
    host.answers.go_on(mark=40, used=40, used_requests=9, free=2)
    host(pixels(3))
    assert (host.answers.mark, host.answers.used) == (43, 43)


def test_answers_of_another_host_and_a_damaged_file_are_refused(tmp_path):
    AnswerStore(tmp_path / "a", Meter(), key="this").close()
    with pytest.raises(ConfigError, match="answers of another host or run"):
        AnswerStore(tmp_path / "a", Meter(), key="that")
    (tmp_path / "b").write_bytes(b"no database at all" * 100)
    with pytest.raises(DataError, match="damaged"):
        AnswerStore(tmp_path / "b", Meter())
    with pytest.raises(DataError, match="can't be"):
        AnswerStore(tmp_path / "no folder" / "c", Meter())
    meter = Meter()
    store = AnswerStore(tmp_path / "d", meter)
    store._db.close()
    store._db = sqlite3.connect(f"file:{tmp_path / 'd'}?mode=ro", uri=True)
    with pytest.raises(DataError, match="can't be written"):
        meter.count(3)
    assert meter == Meter(), "nothing was sent, nothing is counted"


def test_memory_is_bounded(monkeypatch):
    host = attached(Counting())
    monkeypatch.setattr(_store, "MEMORY_BYTES", 2000)
    for seed in range(40):
        host(pixels(5, seed))
    kept = host.answers._db.execute("SELECT COUNT(*), SUM(LENGTH(row)) FROM answers").fetchone()
    assert 10 < kept[0] < 100 and kept[1] <= 2000 and host.meter.images == 200
    seen = len(host.seen)
    host(pixels(5, 39))
    assert len(host.seen) == seen


def test_a_limit_in_the_middle_of_a_batch():
    host = attached(Counting(images_per_request=2))
    host.meter.limit = 5
    with pytest.raises(BudgetError):
        host(pixels(6))
    assert host.meter.images == len(host.seen) == 4
    host.meter.limit = 6
    host(pixels(6))
    assert host.meter.images == len(host.seen) == 6, "what was answered isn't asked again"


def test_a_host_elsewhere_is_never_asked_uncounted():
    host = attached(Counting())
    with host.uncounted():
        host(pixels(2))
    assert host.meter.images == 2
    local = load_host(f"restricted(host={TINY!r})")
    local.answers = AnswerStore(None, local.meter)
    with local.uncounted():
        local(torch.rand(2, 3, 48, 48))
    assert local.meter == Meter() and local.answers.used == 0
