"""The loss that evades a detector of the host's scores, by NumPy and SciPy."""

import numpy as np
import pytest
import torch
from scipy.special import logsumexp, softmax

import reprogram
from reprogram.detectors.base import Query
from reprogram.losses.base import Answered
from reprogram.training.losses import features_of, loss_named


def answered(requires_grad=False):
    host = torch.randn(6, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    host = host.requires_grad_() if requires_grad else host
    return Answered(host=host, task=host[:, :4], labels=torch.arange(6) % 4)


@pytest.mark.parametrize("low", [False, True])
@pytest.mark.parametrize("threshold", [None, -0.5])
@pytest.mark.parametrize("detector", ["largest-softmax", "energy"])
def test_it_adds_what_lies_above_the_threshold(detector, threshold, low):
    host = answered().host.numpy()
    score = -2 * logsumexp(host / 2, axis=1) if detector == "energy" else -softmax(host / 2, axis=1).max(1)
    score, threshold = (-score, threshold and -threshold) if low else (score, threshold)
    above = score if threshold is None else np.maximum(score - threshold, 0)
    options = f"temperature=2.0, low={low}, weight=3.0, threshold={threshold}"
    found = loss_named(f"evading(loss='margin', detector={detector!r}, {options})")
    expected = loss_named("margin").losses(answered()).numpy() + 3 * above
    np.testing.assert_allclose(found.losses(answered()), expected)
    values = answered(requires_grad=True)
    assert torch.autograd.grad(found.losses(values).sum(), values.host)[0].abs().sum() > 0


def test_it_is_what_the_other_loss_is():
    assert not loss_named("evading(loss='rank')").differentiable
    assert loss_named("evading(loss='leave-one-out')").whole_batch
    assert not loss_named("evading(loss='host')").bounded


FEATURES = np.random.default_rng(0).normal(1.0, 1.0, (200, 12))


def calibrated(spec, path, width=12):
    """The file of a detector that learned from benign answers, and the detector."""
    detector = reprogram.load_detector(spec)
    tiny = np.zeros((1, 1, 1), np.uint8)
    queries = [Query(image=tiny, answer=answer[:width]) for answer in FEATURES]
    detector.calibrate(queries, 0.2)
    detector.save(path)
    return detector


@pytest.mark.parametrize(
    "spec",
    [
        "mahalanobis",
        "neighbours(k=3)",
        "energy(temperature=2.0)",
        "energy(low=True)",
        "largest-softmax(confident=True)",
    ],
)
def test_a_kept_detector_is_evaded_as_it_is(spec, tmp_path):
    """The loss adds what the detector itself says beyond its own threshold."""
    detector = calibrated(spec, tmp_path / "kept.safetensors")
    answers = torch.randn(9, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2
    scores = np.array([detector.value(answer) for answer in answers.numpy()])
    path = str(tmp_path / "kept.safetensors")
    values = Answered(host=answers.requires_grad_(), task=answers[:, :4], labels=torch.arange(9) % 4, features=answers)
    middle = float(np.median(scores))
    for threshold, tau in ((None, detector.threshold), (middle, middle)):
        found = loss_named(f"evading(loss='task', detector={path!r}, weight=3.0, threshold={threshold})")
        added = found.losses(values) - loss_named("task").losses(values)
        np.testing.assert_allclose(added.detach(), 3 * np.maximum(scores - tau, 0), atol=1e-5)
        assert bool(torch.autograd.grad(added.sum(), values.host)[0].any()) == (scores > tau).any()


@pytest.mark.parametrize("spec", ["energy(over=4)", "largest-softmax(over=4)", "mahalanobis(over=4)"])
def test_a_detector_of_means_is_evaded_by_means(spec, tmp_path):
    """What the loss adds to the queries of an account is what the detector says once it has seen as many of them."""
    detector = calibrated(spec, tmp_path / "kept.safetensors")
    answers = torch.randn(8, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2
    tiny = np.zeros((1, 1, 1), np.uint8)
    detector.reset()
    said = [detector.observe(tiny, "one account", answer).score for answer in answers.numpy()]
    path = str(tmp_path / "kept.safetensors")
    values = Answered(host=answers, task=answers[:, :4], labels=torch.arange(8) % 4, features=answers)
    threshold = min(said[3], said[7]) - 1.0
    found = loss_named(f"evading(loss='task', detector={path!r}, threshold={threshold})")
    added = found.losses(values) - loss_named("task").losses(values)
    np.testing.assert_allclose(added, np.repeat([said[3], said[7]], 4) - threshold, atol=1e-5)
    assert found.whole_batch


@pytest.mark.parametrize("spec", ["encoder-neighbours(k=5, history=16)", "concentration(history=17, least=2)"])
def test_a_detector_that_remembers_an_account_meets_the_batch(spec):
    """What the last of an account's queries scores is what the loss adds to it, and there is a way down."""
    detector = reprogram.load_detector(spec)
    detector.threshold = 0.0
    answers = torch.randn(17, 12, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 3
    tiny = np.zeros((1, 1, 1), np.uint8)
    said = [detector.observe(tiny, "one account", answer).score for answer in answers.numpy()]
    values = Answered(host=answers.requires_grad_(), task=answers[:, :4], labels=torch.arange(17) % 4, features=answers)
    found = loss_named(f"evading(loss='task', detector={spec!r}, weight=2.0, threshold=-9.0)")
    added = found.losses(values) - loss_named("task").losses(values)
    np.testing.assert_allclose(added[-1].item(), 2 * (said[-1] + 9), atol=2e-3)  # float16 in the detector
    assert found.whole_batch and found.reads_features == spec.startswith("encoder")
    down = answers.detach().clone().requires_grad_()
    for _ in range(50):  # Labels change in jumps.
        down.data -= 5 * torch.autograd.grad(detector.scores_with_gradient(down).mean(), down)[0]
    assert detector.scores_with_gradient(down).mean() < detector.scores_with_gradient(answers).mean() - 0.05


def test_several_detectors_are_evaded_at_once(tmp_path):
    """Each adds what it adds alone, whether it reads scores or features."""
    path = str(calibrated("mahalanobis", tmp_path / "kept.safetensors").save(tmp_path / "other.safetensors"))
    answers = torch.randn(9, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2
    values = Answered(host=answers, task=answers[:, :4], labels=torch.arange(9) % 4, features=answers / 2)
    inner, options = f"evading(loss='task', detector={path!r}, weight=3.0)", "detector='energy', weight=2.0"
    both = loss_named(f"evading(loss={inner!r}, {options})")
    plain = loss_named("task").losses(values)
    added = [loss_named(spec).losses(values) - plain for spec in (inner, f"evading(loss='task', {options})")]
    np.testing.assert_allclose(both.losses(values), plain + sum(added))
    assert both.reads_features and min(each.abs().max() for each in added) > 0


def test_a_single_query_has_no_neighbours():
    found = loss_named("evading(loss='task', detector='encoder-neighbours', threshold=-9.0)")
    one = torch.ones(1, 12, requires_grad=True)
    values = Answered(host=one, task=one[:, :4], labels=torch.zeros(1, dtype=torch.long), features=one)
    added = found.losses(values) - loss_named("task").losses(values)
    np.testing.assert_allclose(added.detach(), 7.0)


def test_a_program_learns_to_stay_below_a_detector_of_features(resnet, digits, tmp_path):
    """On images that the detector's features lie far from; the host's features are those that `Host.features` gives."""
    host = resnet
    generator = torch.Generator().manual_seed(0)
    benign = torch.rand(120, *host.info.shape, generator=generator) * 0.2 + 0.4
    detector, tiny = reprogram.load_detector("mahalanobis"), np.zeros((1, 1, 1), np.uint8)
    detector.calibrate([Query(image=tiny, answer=v) for v in host.features(benign)[0].detach().double().numpy()], 0.1)
    path = str(detector.save(tmp_path / "kept.safetensors"))

    def learned(loss):
        model = reprogram.Reprogrammed.build(host, digits, program="frame(init=1.0)", seed=0)
        learner = "adam(learning_rate=0.2)"
        reprogram.fit(model, digits, images=160, validations=1, validation_images=20, loss=loss, learner=learner)
        with torch.no_grad():
            features = features_of(model, digits.test.images[:40]).double().numpy()
        return np.median([detector.value(v) for v in features])

    assert learned(f"evading(loss='task', detector={path!r}, weight=10.0)") < 0.7 * learned("task")


@pytest.mark.parametrize(
    "loss,text",
    [
        ("evading(detector='odin')", "no detector named 'odin'"),
        ("evading(detector='none.safetensors')", "none.safetensors"),
        ("evading(detector='kept.safetensors', low=True)", "leave them out"),
        ("evading(detector='border.safetensors')", "no gradient here"),
        ("evading(detector='empty.safetensors')", "calibrate it first"),
        ("evading(detector='kept.safetensors')", "96 features; it learned from 12"),
    ],
)
def test_wrong_detectors_are_refused(loss, text, resnet, digits, tmp_path, monkeypatch, one_line):
    monkeypatch.chdir(tmp_path)
    calibrated("neighbours", "kept.safetensors")
    reprogram.load_detector("repeated-border").save("border.safetensors")
    reprogram.load_detector("mahalanobis").save("empty.safetensors")
    model = reprogram.Reprogrammed.build(resnet, digits)
    with pytest.raises(reprogram.ReprogramError) as error:
        reprogram.fit(model, digits, images=16, validations=1, validation_images=20, loss=loss)
    one_line(error, text)


def test_a_host_that_gives_no_features_is_refused(digits, tmp_path, one_line):
    calibrated("neighbours", tmp_path / "kept.safetensors")
    model = reprogram.Reprogrammed.build(reprogram.load_host("defended:linear:12?by=blur"), digits)
    with pytest.raises(reprogram.ConfigError) as error:
        loss = f"evading(detector={str(tmp_path / 'kept.safetensors')!r})"
        reprogram.fit(model, digits, images=16, validations=1, validation_images=20, loss=loss)
    one_line(error, "learn on the host itself")


def test_a_run_does_not_go_on_against_another_detector_in_the_same_file(digits, tmp_path, one_line):
    path = tmp_path / "kept.safetensors"
    loss = (
        f"evading(loss=\"evading(detector={str(path)!r})\", detector='energy')"  # It counts where it is the inner one.
    )
    options = {"images": 96, "batch_size": 16, "validations": 1, "validation_images": 20, "loss": loss}
    options |= {"checkpoint": tmp_path / "c", "checkpoint_every": 1}

    def stop(progress):
        raise KeyboardInterrupt

    calibrated("energy", path)
    whole = path.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        reprogram.fit(reprogram.Reprogrammed.build("linear:12", digits), digits, on_progress=stop, **options)
    calibrated("energy(temperature=3.0)", path)
    with pytest.raises(reprogram.ConfigError) as error:
        reprogram.fit(reprogram.Reprogrammed.build("linear:12", digits), digits, **options)
    one_line(error, "contents of the loss's files")
    path.write_bytes(whole)
    reprogram.fit(reprogram.Reprogrammed.build("linear:12", digits), digits, **options)


def test_a_file_is_read_again_for_each_run(digits, tmp_path, one_line):
    """The same path holds a detector with a gradient, then one without."""
    path = tmp_path / "kept.safetensors"
    model = reprogram.Reprogrammed.build("linear:12", digits)
    options = {"images": 16, "validations": 1, "validation_images": 20, "loss": f"evading(detector={str(path)!r})"}
    calibrated("energy", path)
    reprogram.fit(model, digits, **options)
    reprogram.load_detector("repeated-border").save(path)
    with pytest.raises(reprogram.ConfigError) as error:
        reprogram.fit(model, digits, **options)
    one_line(error, "no gradient here")
