"""The map by the names of the labels."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import reprogram
from helpers import ConvNet, random_task, seeded

NAMES = ("tabby cat", "tree frog", "sports car", "garbage truck", "container ship", "golden retriever")


def named_model(label_map, classes, host_names=NAMES):
    task = random_task(num_classes=len(classes))
    object.__setattr__(task, "class_names", classes)
    host = reprogram.Host.wrap(seeded(lambda: ConvNet(num_classes=6)), size=16, class_names=host_names)
    return reprogram.Reprogrammed.build(host, task, label_map=label_map)


def test_text_finds_names_that_are_spelt_alike():
    model = named_model("text:spelling", ("Truck", "ship", "frog", "cat"))
    assert model.label_map.assignment() == [[3], [4], [1], [0]]
    assert named_model("text:spelling", ("a", "b"), None).label_map.reads().numel() == 2


@pytest.mark.parametrize("how", ["optimal", "greedy"])
def test_text_takes_the_nearest_embeddings_of_a_file(how, tmp_path):
    rng = np.random.default_rng(0)
    host, task = rng.normal(size=(6, 9)).astype(np.float32), rng.normal(size=(4, 9)).astype(np.float32)
    path = tmp_path / "names.safetensors"
    save_file({"host": torch.from_numpy(host), "task": torch.from_numpy(task)}, path)
    model = named_model(f"text(encoder={str(path)!r}, assignment={how!r})", ("a", "b", "c", "d"))
    cosines = (task / np.linalg.norm(task, axis=1)[:, None]) @ (host / np.linalg.norm(host, axis=1)[:, None]).T
    found = [row[0] for row in model.label_map.assignment()]
    if how == "optimal":
        from itertools import permutations

        assert found == list(max(permutations(range(6), 4), key=lambda p: cosines[range(4), list(p)].sum()))
    else:
        first = np.unravel_index(cosines.argmax(), cosines.shape)
        assert found[first[0]] == first[1] and len(set(found)) == 4
    saved = model.save(tmp_path / "p.safetensors")
    path.unlink()  # A program file is read without the embeddings.
    assert reprogram.load(saved, host=model.host).label_map.assignment() == model.label_map.assignment()


@pytest.mark.parametrize(
    "tensors,says",
    [
        (None, "can't be read"),
        ({"host": torch.zeros(6, 9)}, "'task' of 4 x d"),
        ({"host": torch.tensor(1.0), "task": torch.zeros(4, 9)}, "'host' of 6 x d"),
        ({"host": torch.zeros(5, 9), "task": torch.zeros(4, 9)}, "'host' of 6 x d"),
        ({"host": torch.zeros(6, 9), "task": torch.zeros(4, 8)}, "expected"),
        ({"host": torch.zeros(6, 9), "task": torch.full((4, 9), float("nan"))}, "finite"),
    ],
)
def test_embeddings_that_do_not_fit_are_refused(tensors, says, tmp_path, one_line):
    path = tmp_path / "names.safetensors"
    if tensors is not None:
        save_file(tensors, path)
    with pytest.raises(reprogram.DataError) as error:
        named_model(f"text(encoder={str(path)!r})", ("a", "b", "c", "d"))
    one_line(error, says, str(path))
