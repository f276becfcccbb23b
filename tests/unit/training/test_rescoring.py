"""The last program meets the best of the validations on images that no validation looked at."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch

import reprogram
from helpers import random_task
from reprogram import Host, Reprogrammed
from reprogram.training.rescoring import better_of, num_fresh_images
from reprogram.training.validation import Validator
from reprogram.utils.distributed import ProcessGroup


def made(asked=None):
    """A host that only answers, by the sum of the canvas's colours, and notes what it is asked for."""
    task, asked = random_task(n=(40, 400, 16)), [] if asked is None else asked
    weight = torch.randn(3 * 12 * 12, 16, generator=torch.Generator().manual_seed(0)).abs()  # Bright images are seen.
    weight[:, 1::2] *= -1

    def classify(images):
        asked.append(images.clone())
        return images.flatten(1) @ weight

    host = Host.wrap(classify, size=12, access="scores", name="counting")
    asked.clear()
    return Reprogrammed.build(host, task, canvas="centre", program="frame"), task


@pytest.mark.parametrize("validation, available, fresh", [(50, 400, 50), (100, 180, 80), (100, 140, 0), (49, 400, 0)])
def test_as_many_images_as_a_validation_if_there_are_enough(validation, available, fresh):
    assert num_fresh_images(validation, available) == fresh


def test_the_better_on_fresh_images_is_kept_and_the_model_stays():
    asked = []
    model, task = made(asked)
    learner = reprogram.registry.find("learners", "snes")(reprogram.registry.configure("learners", "snes")[1])
    validator = Validator(model, learner, task.validation, 0, ProcessGroup())
    validator.choose(300)
    states = [model.learned_state()]
    generator = torch.Generator().manual_seed(4)
    states.append({**states[0], "program.weight": 3 * torch.randn(1, 3, 12, 12, generator=generator)})
    known = {tuple(image.flatten().tolist()) for image in task.validation.images[validator.indices]}

    def accuracy(state, images, labels):
        model.load_learned_state(state)
        with torch.no_grad():
            return int((model(images).argmax(1) == labels).sum())

    unknown = torch.ones(400, dtype=torch.bool)
    unknown[validator.indices] = False
    rest = task.validation.take(unknown.nonzero()[:, 0])
    correct = [accuracy(state, rest.images, rest.labels) for state in states]
    assert correct[0] != correct[1]
    for best, last in (states, states[::-1]):
        model.load_learned_state(last)
        asked.clear()
        kept, found, is_last = better_of(validator, best, 100, lambda: False)
        winner = max(((correct[0], states[0]), (correct[1], states[1])), key=lambda pair: pair[0])
        assert torch.equal(kept["program.weight"], winner[1]["program.weight"])
        assert (found.correct, found.n) == (winner[0], 100) and is_last == (kept is not best)
        assert torch.equal(model.learned_state()["program.weight"], last["program.weight"])
        assert sum(map(len, asked)) == 200
    seen = model.canvas(rest.images).window
    assert not known & {tuple((image * 255).round().int().flatten().tolist()) for image in seen}
    assert better_of(validator, states[0], 100, lambda: True) is None
    assert torch.equal(model.learned_state()["program.weight"], states[0]["program.weight"])


@pytest.mark.parametrize("queries", [3000, 4001])
def test_a_run_counts_the_last_meeting_and_never_exceeds_its_budget(queries):
    asked = []
    model, task = made(asked)
    result = reprogram.fit(model, task, learner="nes(pairs=4)", queries=queries, batch_size=8, validations=10)
    spent, validation = sum(map(len, asked)), queries // 20
    # Short of the limit by less than a step and a validation; by two more where the last program was the best anyway.
    assert queries - 64 - 3 * validation < spent <= queries and result.queries == spent
    assert result.validation.n == validation == num_fresh_images(validation, 400)


def test_an_interrupted_meeting_is_held_again(tmp_path):
    """Killed while the last program and the best one are compared: the same program in the end."""
    options = {"learner": "nes(pairs=4)", "queries": 3000, "batch_size": 8, "checkpoint_every": "1"}
    model, task = made()
    whole = reprogram.fit(model, task, **options)
    again, _ = made()
    state, stop = tmp_path / "state", SimpleNamespace(after=whole.queries - 150)
    host = again.host
    watched = host.meter.watcher

    class KilledError(Exception):
        pass

    def watch():
        if host.meter.images > stop.after:
            raise KilledError

    host.meter.watcher = watch
    with pytest.raises(KilledError):
        reprogram.fit(again, task, checkpoint=state, **options)
    host.meter.watcher = watched
    third, _ = made()
    found = reprogram.fit(third, task, checkpoint=state, **options)
    assert torch.equal(third.program.weight, model.program.weight)
    assert dataclasses.replace(found, seconds=0.0, history=[]) == dataclasses.replace(whole, seconds=0.0, history=[])
