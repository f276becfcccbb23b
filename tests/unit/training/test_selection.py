"""Invariant 6: selection never sees the test split, and every accuracy carries its evidence."""

import pytest

import reprogram
from helpers import random_task, tiny_model


class Trap:
    """A test split that must not be looked at."""

    def __getattribute__(self, name):
        raise AssertionError(f"the test split was asked for {name!r}")

    def __len__(self):
        raise AssertionError("the test split was counted")


@pytest.fixture
def guarded():
    task = random_task()
    assert task.fingerprint  # Computed before the test split goes.
    return task


def test_the_trap_works():
    with pytest.raises(AssertionError):
        _ = Trap().images
    with pytest.raises(AssertionError):
        len(Trap())


def test_fit_never_looks_at_the_test_split(guarded, tmp_path):
    model = tiny_model(guarded)
    object.__setattr__(guarded, "test", Trap())
    fitted = reprogram.fit(
        model, guarded, epochs=2, batch_size=8, checkpoint=tmp_path / "c", on_progress=lambda r: None
    )
    assert fitted.validation.n == 12
    with pytest.raises(AssertionError, match="test split"):
        reprogram.evaluate(model, guarded)


def test_what_is_selected_does_not_depend_on_the_test_split():
    a, b = random_task(n=(40, 12, 16)), random_task(n=(40, 12, 16))
    object.__setattr__(b, "test", a.test.take(a.test.labels.argsort(descending=True)))
    models = [tiny_model(task) for task in (a, b)]
    fits = [reprogram.fit(m, t, epochs=2, batch_size=8) for m, t in zip(models, (a, b), strict=True)]
    assert models[0].program.weight.equal(models[1].program.weight)
    assert fits[0].best_step == fits[1].best_step


def test_the_best_validation_is_selected_and_reported():
    """Most right answers first, then the lower loss; the model holds that program, not the last."""
    task = random_task()
    model = tiny_model(task)
    fitted = reprogram.fit(model, task, epochs=4, batch_size=8, validations=10, learner="adam(learning_rate=2.0)")
    best = max(fitted.history, key=lambda row: (row["validation_accuracy"], -row["validation_loss"]))
    assert fitted.best_step == best["step"]
    assert fitted.validation.accuracy == best["validation_accuracy"]
    again = reprogram.evaluate(model, task.validation)
    assert again.accuracy == best["validation_accuracy"]
    assert again.loss == pytest.approx(best["validation_loss"], rel=1e-6)
    assert len({row["validation_loss"] for row in fitted.history}) > 1
