"""Services with an open vocabulary: labels get columns in the order of the images, and programs know them."""

import json
import time

import numpy as np
import pytest
import torch

pytest.importorskip("httpx2", reason="needs the extra remote")

import reprogram
from helpers_server import ModelServer, logits
from reprogram.cli import main
from reprogram.errors import HostMismatchError, HostUnavailableError
from reprogram.hosts._vocabulary import Vocabulary
from reprogram.programfile import file as programfile

WORDS = ["tree", "car", "cat", "road", "sky", "dog", "house", "door", "boat", "moon"]


def host_of(server, **options):
    given = {"size": 48, "num_classes": 8, **options}
    text = "&".join(f"{key}={value}" for key, value in given.items())
    return reprogram.load_host(f"google-vision:{server.url}?batch=1&{text}")


def first_seen(server, pixels):
    """The labels in the order in which they appear, by NumPy."""
    levels = (pixels * 255).round().permute(0, 2, 3, 1).numpy()
    order = np.argsort(-server.scores(levels), axis=1)[:, : server.top]
    return list(dict.fromkeys(server.labels[i] for row in order for i in row))


def images(n, seed=0):
    return torch.rand(n, 3, 48, 48, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("concurrency", [1, 8])
def test_columns_are_in_the_order_of_the_images_however_many_ask(concurrency):
    with ModelServer(WORDS, top=2) as server:
        slow = server.scores
        delays = iter([0.15, 0.0, 0.1, 0.0, 0.05] * 20)
        server.scores = lambda pixels: (time.sleep(next(delays)), slow(pixels))[1]
        host = host_of(server, concurrency=concurrency, num_classes=10)
        host(images(12))
        server.scores = slow
        expected = first_seen(server, images(12))
        assert host.vocabulary.names == tuple(expected) and 2 < len(expected) <= 10
        assert host.info.class_names[: len(expected)] == tuple(expected)
        assert host.found_labels == tuple(expected)


def test_a_label_without_a_column_is_no_evidence():
    vocabulary = Vocabulary(["a", "b"], 3, "test")
    options = {"kind": "independent", "decimals": None, "whole": False}
    first = vocabulary.evidence([[("c", 0.5), ("b", 0.25)]], **options)
    assert vocabulary.names == ("a", "b", "c") and not vocabulary.grows
    again = vocabulary.evidence([[("d", 0.9), ("c", 0.5), ("b", 0.25)]], **options)
    assert torch.equal(first, again) and vocabulary.names == ("a", "b", "c")
    # A shown number counts as it is; one that isn't shown as a K-th of the least that is.
    np.testing.assert_allclose(first[0].exp().numpy(), [0.25 / 3, 0.25, 0.5], rtol=1e-6)
    nothing = vocabulary.evidence([[("d", 0.9)]], **options)
    assert nothing.unique().numel() == 1


def test_declared_names_come_first_and_others_are_found_behind_them():
    with ModelServer(WORDS, top=3) as server:
        host = host_of(server, class_names="('moon','boat')", num_classes=6)
        host(images(6))
        found = [label for label in first_seen(server, images(6)) if label not in ("moon", "boat")]
        assert host.vocabulary.names == ("moon", "boat", *found)[:6]


def test_labels_in_another_order_and_one_more_are_the_same_host_by_name():
    """A program that knows its labels by name reads a service alike whose labels stand in another order."""
    names = str(tuple(f"label {i}" for i in range(10))).replace(" ", "%20")
    with ModelServer() as server:
        host = host_of(server, class_names=names, num_classes=10)
        expected = host(images(5))
        order = [3, 1, 4, 0, 5, 9, 2, 6, 8, 7]
        server.labels = [f"label {i}" for i in order] + ["one more"]
        server.scores = lambda pixels: np.concatenate(
            [logits(pixels, 10)[:, order], np.full((len(pixels), 1), -9.0)], axis=1
        )
        torch.testing.assert_close(host(images(5)), expected)


def test_a_program_knows_its_labels_and_takes_no_others(tmp_path, capsys):
    with ModelServer(WORDS, top=2) as server:
        spec = f"google-vision:{server.url}?batch=1&size=48&num_classes=12"
        host = reprogram.load_host(spec)
        host(images(3, seed=5))
        known = host.found_labels
        assert 2 <= len(known) < 10
        model = reprogram.Reprogrammed.build(host, "squares(train=16, validation=8, test=8)", label_map="greedy")
        path = model.save(tmp_path / "p.safetensors")
        assert programfile.read(path).header.host.labels == known
        # Another start hears other labels first: the program's own columns count, and no label is added to them.
        other = reprogram.load_host(spec)
        other(images(12, seed=9))
        loaded = reprogram.load(path, host=other)
        assert loaded.host.found_labels == known
        loaded.host(images(12, seed=9))
        assert loaded.host.found_labels == known
        torch.testing.assert_close(loaded.host(images(3, seed=5)), host(images(3, seed=5)))
        assert loaded.save(tmp_path / "q.safetensors").read_bytes() == path.read_bytes()
        assert main(["inspect", str(path)]) == 0
        shown = capsys.readouterr().out
        assert f"host label 0 ({known[0]})" in shown
        declared = reprogram.load_host(f"{spec}&class_names=('elsewhere',)")
        with pytest.warns(UserWarning, match="differ"), pytest.raises(HostMismatchError, match="class_names"):
            reprogram.load(path, host=declared, any_host=True)


def test_a_host_whose_labels_are_known_writes_none(tmp_path):
    model = reprogram.Reprogrammed.build("linear:48", "squares(train=16, validation=8, test=8)")
    path = model.save(tmp_path / "p.safetensors")
    head = path.read_bytes()[8 : 8 + int.from_bytes(path.read_bytes()[:8], "little")]
    assert "labels" not in json.loads(json.loads(head)["__metadata__"]["reprogram"])["host"]


@pytest.mark.parametrize("answer", [[(7, 0.5)], [(-1, 0.5)], np.zeros(3), np.zeros((2, 2))])
def test_answers_that_do_not_fit_are_refused(answer):
    with pytest.raises(HostUnavailableError, match="num_classes"):
        Vocabulary([], 5, "test").evidence([answer], kind="logits", decimals=None, whole=False)


def test_labels_of_strangers_are_made_printable():
    vocabulary = Vocabulary([], 5, "test")
    vocabulary.evidence([[("a\x1b[31m\nb", 0.5), ("x" * 999, 0.1)]], kind="independent", decimals=None, whole=False)
    assert vocabulary.names[0] == "a\N{REPLACEMENT CHARACTER}[31m\N{REPLACEMENT CHARACTER}b"
    assert len(vocabulary.names[1]) == 256
