"""Hosts behind defences: specs, order, rungs of access, learning and going on, and the attacker who asks again."""

import numpy as np
import pytest
import torch

import reprogram
from reprogram import evaluate, fit, load_host
from reprogram.errors import ConfigError
from reprogram.hosts.defended import split

TINY = "timm:test_resnet(pretrained=False, num_classes=16, size=48)"


def defended(by, host=TINY):
    return load_host(f"defended(host={host!r}, by={by!r})")


def pixels(n=3):
    return torch.rand(n, 3, 48, 48, generator=torch.Generator().manual_seed(0)).mul(255).round() / 255


@pytest.mark.parametrize(
    "by, parts",
    [
        ("jpeg", ["jpeg"]),
        ("jpeg(quality=5)+rounding", ["jpeg(quality=5)", "rounding"]),
        ("blur(sigma=1e+0) + noise(kind='a+b')", ["blur(sigma=1e+0)", "noise(kind='a+b')"]),
        ("top-k?k=3+jpeg", ["top-k?k=3", "jpeg"]),
        ("", []),
    ],
)
def test_several_are_joined_by_plus(by, parts):
    assert list(split(by)) == parts


def test_a_list_and_an_address_say_the_same_and_the_id_builds_it_again():
    by_text = load_host(f"defended(host={TINY!r}, by='blur(sigma=1.0)+top-k(k=3)')")
    by_list = load_host(f"defended(host={TINY!r}, by=['blur', 'top-k?k=3'])")
    simple = load_host("defended:linear:32?by=blur+top-k(k=3)")
    assert by_text.info == by_list.info and by_text.info.access == simple.info.access == "top-k"
    assert load_host(by_text.info.id).info == by_text.info
    assert "by='blur+top-k(k=3)'" in by_text.info.id


def test_scores_pass_in_the_order_of_the_list_whatever_stands_between():
    scores = load_host(TINY)(pixels())
    expected = np.round(torch.softmax(scores / 5, 1).detach().numpy(), 2)
    for by in ("temperature(t=5.0)+rounding", "blur(sigma=0.1)+temperature(t=5.0)+rounding"):
        found = defended(by)(pixels()).detach().exp().numpy()
        np.testing.assert_allclose(found[expected > 0], expected[expected > 0], atol=2e-3)
    other = defended("rounding+temperature(t=5.0)")(pixels()).detach().softmax(1).numpy()
    assert not np.allclose(other[expected > 0], expected[expected > 0], atol=2e-3)


def test_images_pass_in_the_order_of_the_list():
    def by_hand(first, second):
        from reprogram.registry import configure

        images = pixels()
        for spec in (first, second):
            variant, config = configure("defences", spec)
            images = variant(config).transform(images, None)
        return load_host(TINY)(images)

    for pair in (("bit-depth(bits=1)", "blur"), ("blur", "bit-depth(bits=1)")):
        torch.testing.assert_close(defended("+".join(pair))(pixels()), by_hand(*pair), rtol=1e-4, atol=1e-5)


def test_a_service_behind_defences_is_the_restricted_host_outside():
    spec = f"defended(host={TINY!r}, by='bit-depth(bits=2)+temperature(t=3.0)')"
    found = load_host(f"restricted(host={spec!r}, kind='logits')")(pixels())
    expected = load_host(TINY)(pixels().mul(3).round() / 3) / 3
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert load_host(f"restricted(host={defended('label-only').info.id!r})").info.access == "label"
    with pytest.raises(reprogram.ConfigError, match="put the restriction outside"):
        defended("jpeg", host=f"restricted(host={TINY!r})")


@pytest.mark.parametrize(
    "spec, words",
    [
        (f"defended(host={TINY!r}, by='')", "names no defence"),
        (f"defended(host={TINY!r}, by='jpegs')", "did you mean 'jpeg'"),
        ("defended:linear:32?by=jpeg(quality=0)", "quality=0"),
        ("defended(host='defended:linear:32?by=blur', by='jpeg')", "name all defences in one"),
        ("defended(host='oip:http://localhost:1?model=m', by='jpeg')", "is a service"),
        ("defended:linear:32", "by is missing"),
        ("restricted:(averaged:linear:32)", "put averaged outside"),
        ("untrained:(averaged:(timm:test_resnet?pretrained=0))", "put averaged outside"),
        ("averaged:linear:32?times=0", "times=0"),
        ("averaged:(averaged:linear:32)", "averaged already"),
        ("quantized:linear:32?bits=1", "bits=1"),
        ("pruned:linear:32?share=1.0", "share=1"),
        ("pruned(host='defended:linear:32?by=blur')", "put pruned inside"),
    ],
)
def test_what_makes_no_sense_is_refused(spec, words, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        load_host(spec)
    one_line(error, words)


def test_no_features_get_out_and_the_twin_is_defended_too():
    host = defended("rounding(decimals=1)")
    features, where = host.features(pixels())
    assert where == "scores" and torch.equal(features, host(pixels()))
    twin = load_host(f"untrained(host={host.info.id!r}, seed=3)")
    bare = load_host(f"untrained(host={TINY!r}, seed=3)")
    expected = np.round(bare(pixels()).softmax(1).detach().numpy(), 1)
    found = twin(pixels()).detach().exp().numpy()
    np.testing.assert_allclose(found[expected > 0], expected[expected > 0], atol=1e-5)
    assert torch.equal(host.untrained(3)(pixels()), twin(pixels()))


def learned(digits, tmp_path, steps, by="random-padding+noise(deviation=0.01)", spec="{}", **chosen):
    """A program learned on a host that answers by chance, in two parts where it is stopped after some images."""
    host = load_host(spec.format(f"defended:(linear:12)?by={by}"))
    model = reprogram.Reprogrammed.build(host, digits, program="cosine(side=3)")
    options = {"images": 96, "batch_size": 16, "validations": 2, "validation_images": 20, "checkpoint_every": "1"}
    options |= chosen
    tmp_path.mkdir(exist_ok=True)

    def stop(progress):
        if progress.images == steps:
            raise KeyboardInterrupt

    try:
        fit(model, digits, checkpoint=tmp_path / "state", on_progress=stop, **options)
    except KeyboardInterrupt:
        return learned(digits, tmp_path, 0, by, spec, **chosen)
    return model.program.weight.detach().clone(), host.meter.images


def test_a_continued_run_on_a_host_that_draws_is_the_same(digits, tmp_path):
    whole = learned(digits, tmp_path / "a", 0)
    continued = learned(digits, tmp_path / "b", 48)
    assert torch.equal(whole[0], continued[0]) and whole[1] == continued[1]
    with pytest.raises(reprogram.ConfigError, match="another defences"):
        learned(digits, tmp_path / "a", 0, by="noise(deviation=0.01)")


def test_so_it_is_for_who_asks_several_times(digits, tmp_path):
    asked = {"spec": "averaged:(restricted:({}))?times=2", "learner": "spsa", "by": "noise(deviation=0.01)"}
    whole = learned(digits, tmp_path / "a", 0, **asked)
    continued = learned(digits, tmp_path / "b", 48, **asked)
    assert torch.equal(whole[0], continued[0]) and whole[1] == continued[1]


def test_the_mean_of_several_answers_is_nearer_to_the_truth_and_all_are_on_the_bill():
    truth = load_host(TINY)(pixels(6)).softmax(1)
    errors = {}
    for times in (1, 16):
        host = load_host(f"averaged:(restricted:(defended:({TINY})?by=noise(deviation=0.01)))?times={times}")
        errors[times] = float((host(pixels(6)).softmax(1) - truth).square().mean().sqrt())
        assert host.meter.images == 6 * times and host.info.access == "scores"
    assert errors[16] < 0.4 * errors[1]  # 1/4 for sixteen answers.


def test_averaging_learns_within_a_budget_and_keeps_the_gradient(digits):
    noisy = "defended(host='linear:12', by='noise(deviation=0.01)')"
    host = load_host(f"averaged(host={noisy!r}, times=3)")
    images = torch.rand(2, *host.info.shape, requires_grad=True)
    assert torch.autograd.grad(host(images).sum(), images)[0].abs().sum() > 0
    asked = load_host(f"averaged(host={f'restricted(host={noisy!r})'!r}, times=3)")
    model = reprogram.Reprogrammed.build(asked, digits, program="cosine(side=2)")
    found = fit(model, digits, learner="spsa", queries=600, batch_size=8, validations=1, validation_images=20)
    assert 0 < found.queries <= 600 and asked.meter.images == found.queries
    assert evaluate(model, digits).n == len(digits.test)


def test_pruned_and_quantized_weights():
    bare, half, few = (
        load_host(spec.format(TINY)) for spec in ("{}", "pruned(host={!r})", "quantized(host={!r}, bits=3)")
    )
    assert len({host.fingerprint for host in (bare, half, few)}) == 3
    weights = [
        [
            part.weight.detach().numpy()
            for part in host.net.modules()
            if isinstance(part, torch.nn.Conv2d | torch.nn.Linear)
        ]
        for host in (bare, half, few)
    ]
    sizes = np.concatenate([np.abs(weight).ravel() for weight in weights[0]])
    for before, pruned, rounded in zip(*weights, strict=True):
        np.testing.assert_array_equal(pruned, np.where(np.abs(before) > np.sort(sizes)[len(sizes) // 2 - 1], before, 0))
        for row, new in zip(before, rounded, strict=True):
            step = np.abs(row).max() / 3
            np.testing.assert_allclose(new, np.round(row / step) * step, atol=1e-6)
    assert np.isclose(sum((w == 0).sum() for w in weights[1]) / len(sizes), 0.5, atol=0.01)


def test_weights_of_a_module_in_a_file_of_ones_own(tmp_path, one_line):
    (tmp_path / "mine.py").write_text(
        "import torch\n"
        "module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 5))\n"
        "def function(pixels): return pixels.mean((2, 3))\n"
    )
    own = f"python:{tmp_path}/mine.py:module?size=8"
    torch.manual_seed(0)
    host = load_host(f"pruned(host={own!r}, share=0.25)")
    bare = host.net[1].weight[host.net[1].weight != 0].abs()
    assert np.isclose((host.net[1].weight == 0).float().mean(), 0.25, atol=0.01) and len(bare)
    torch.manual_seed(0)
    few = load_host(f"quantized(host={own!r}, bits=3)")
    assert all(len(row.unique()) <= 7 for row in few.net[1].weight) and few.fingerprint != host.fingerprint
    for kind in ("pruned", "quantized"):
        with pytest.raises(reprogram.ConfigError) as error:
            load_host(f"{kind}(host={f'python:{tmp_path}/mine.py:function?size=8'!r})")
        one_line(error, "no convolution or linear layer of PyTorch")


OWN = """
import torch

WEIGHTS = torch.linspace(-1, 1, 4 * 12).reshape(4, 12)


def classify(pixels):
    return torch.nn.functional.adaptive_avg_pool2d(pixels, 2).flatten(1) @ WEIGHTS.T


def name(pixels):
    return [int(index) for index in classify(pixels).argmax(1)]
"""


@pytest.mark.parametrize(
    ("function", "access"),
    [("classify", "gradient"), ("classify", "scores"), ("name", "label")],
)
def test_a_function_of_ones_own_file_can_be_defended(tmp_path, function, access):
    """What it is known again by stays its own, so that a program that was learned on it loads behind a defence."""
    (tmp_path / "own.py").write_text(OWN)
    outputs = ", outputs='labels', class_names=('a', 'b', 'c', 'd')" if function == "name" else ""
    spec = f"python(function={str(tmp_path / 'own.py') + ':' + function!r}, size=8, access={access!r}{outputs})"
    bare = reprogram.load_host(spec)
    defended = reprogram.load_host(f"defended:({spec})?by=bit-depth(bits=1)")
    assert (defended.info.access, defended.fingerprint) == (access, bare.fingerprint)
    images = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(defended(images), bare((images > 0.5).float()))


def test_a_host_that_stands_for_several_answers_is_refused():
    with pytest.raises(ConfigError, match="put averaged outside"):
        reprogram.load_host("defended:(averaged:(linear:8)?times=2)?by=blur")


def test_what_is_rounded_twice_is_rounded_once_and_labels_are_left_out_of_what_is_shown():
    once, twice = (
        defended(by)(pixels()) for by in ("rounding(decimals=1)", "rounding(decimals=1)+rounding(decimals=1)")
    )
    assert torch.equal(once, twice)
    probabilities = load_host(TINY)(pixels()).softmax(1).detach().numpy()
    found = defended("rounding(decimals=1)+top-k(k=3)")(pixels()).exp().detach().numpy()
    for row, exact in zip(found, probabilities, strict=True):
        first = np.argsort(-exact)[:3]  # Services sort before they round.
        numbers = np.maximum(np.round(exact[first], 1), 0.025)
        np.testing.assert_allclose(row[first], numbers, atol=1e-6)
        hidden = min((1 - numbers.sum()) / 13, numbers.min())
        np.testing.assert_allclose(np.delete(row, first), hidden, atol=1e-6)
    inner = f"defended(host={TINY!r}, by='rounding(decimals=1)')"
    outside = load_host(f"restricted(host={inner!r}, access='topk', k=3)")
    np.testing.assert_allclose(outside(pixels()).exp().numpy(), found, atol=1e-6)
    assert outside.guard.shown.labels == 3 and outside.guard.shown.round == 1


def test_noise_of_a_service_and_of_its_defence_are_not_the_same():
    inner = f"defended(host={TINY!r}, by={'noise(deviation=0.1, kind=' + repr('logits') + ')'!r})"
    both = load_host(f"restricted(host={inner!r}, kind='logits', noise=0.1)")
    images = pixels(8)
    noise = (both(images) - load_host(TINY)(images)).detach().numpy()
    assert 0.12 < noise.std() < 0.16  # 0.1 · √2; the same numbers twice would give 0.2.


def test_random_numbers_of_two_seeds_and_of_far_images_differ():
    def drawn(**which):
        return reprogram.utils.seeding.Draws(count=1, **which).rows(lambda g: torch.rand(4, generator=g))

    assert not torch.equal(drawn(seed=0, first=2**20), drawn(seed=1, first=0))
    assert torch.equal(drawn(seed=5, first=7), torch.rand(1, 4, generator=torch.Generator().manual_seed((5 << 20) + 7)))


def test_each_copy_of_an_image_meets_other_random_numbers():
    host = defended("smoothing(copies=6, sigma=0.0, answer='mean')+random-padding(smallest=0.3)")
    seen = []
    undefended = host._undefended
    host._undefended = lambda images, labels=None: (seen.append(images), undefended(images, labels))[1]
    host(pixels(1))
    assert len(seen) == 6 and all(not torch.equal(seen[0], other) for other in seen[1:])


@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("by", ["resize-back", "random-padding(smallest=0.5)", "blur", "blur(sigma=0.7)"])
def test_black_and_white_pixels_have_a_gradient(by, value):
    images = torch.full((2, 3, 48, 48), value, requires_grad=True)
    (gradient,) = torch.autograd.grad(defended(by)(images).sum(), images)
    assert (gradient != 0).float().mean() > 0.2


@pytest.mark.parametrize("service", [False, True])
def test_the_mean_of_noisy_numbers_is_that_of_what_is_shown(service):
    """Against the numbers themselves, of which NumPy takes the mean: many of them are below 0."""
    inner = f"defended(host={TINY!r}, by='noise(deviation=0.3)')"
    spec = f"restricted(host={inner!r})" if service else inner
    found = load_host(f"averaged(host={spec!r}, times=400)")(pixels()).detach().exp().numpy()
    exact = load_host(TINY)(pixels()).softmax(1).detach().numpy()
    deviation = 0.3 / 20
    drawn = np.zeros_like(exact)
    for time in range(400):
        for image in range(3):
            generator = torch.Generator().manual_seed(3 * time + image)
            drawn[image] += torch.randn(16, generator=generator).numpy() * 0.3 / 400
    mean = exact + drawn
    np.testing.assert_allclose(found, deviation * np.log1p(np.exp(mean / deviation)), atol=1e-5)
    assert np.abs(found - exact).max() < 5 * deviation


def test_scores_that_come_after_noise_are_averaged_as_scores():
    """What a temperature makes of noisy numbers are no numbers that are shown: the mean is that of probabilities."""
    by = "noise(deviation=0.1)+temperature(t=3.0)"
    host = defended(by)
    answers = [host(pixels()).softmax(1) for _ in range(2)]  # The second has the next images' numbers, as averaged has.
    spec = f"defended(host={TINY!r}, by={by!r})"
    found = load_host(f"averaged(host={spec!r}, times=2)")(pixels())
    torch.testing.assert_close(found.softmax(1), sum(answers) / 2)


def test_one_host_serves_no_programs_of_hosts_with_other_defences(digits, one_line):
    hosts = [load_host(TINY), defended("label-only"), defended("label-only"), load_host(f"restricted(host={TINY!r})")]
    models = [reprogram.Reprogrammed.build(host, digits) for host in hosts]
    reprogram.SharedHost(models[1:3])
    for other in (0, 3):
        with pytest.raises(ConfigError) as error:
            reprogram.SharedHost([models[1], models[other]])
        one_line(error, "models of one host")
