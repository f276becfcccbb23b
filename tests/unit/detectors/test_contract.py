"""What every detector shares: thresholds at a rate, checks of what it is given, accounts that make room, its file."""

import json
import struct
import threading

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import save_file

import reprogram
from reprogram.detectors._accounts import AccountTable
from reprogram.detectors._checks import threshold_of
from reprogram.detectors.base import Detector, Query
from reprogram.registry import names

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (3, 20, 20), dtype=np.uint8)


def test_the_threshold_is_a_conformal_quantile():
    values = np.arange(1000) / 1000
    assert threshold_of(values, 0.001) == 0.999 and threshold_of(values, 0.01) == 0.990
    with pytest.raises(reprogram.DataError, match="at least 999"):
        threshold_of(values[:998], 0.001)
    # A further value of the same kind lies above it with a probability of at most the rate.
    above = [(g := np.random.default_rng(i)).normal() > threshold_of(g.normal(size=99), 0.05) for i in range(2000)]
    assert 0.03 < np.mean(above) < 0.065


@pytest.mark.parametrize(
    "image,account,answer,text",
    [
        (IMAGE.astype(float), "", None, "uint8"),
        (IMAGE[0], "", None, "C x H x W"),
        (np.zeros((2, 4, 4), np.uint8), "", None, "C 1 or 3"),
        (np.zeros((3, 0, 4), np.uint8), "", None, "sides of 1 to"),
        (IMAGE, 7, None, "account 7"),
    ],
)
def test_wrong_queries_are_refused(image, account, answer, text, one_line):
    with pytest.raises(reprogram.DataError) as error:
        reprogram.load_detector("repeated-border").observe(image, account, answer)
    one_line(error, text)


@pytest.mark.parametrize("answer", [None, "word", [], [[1.0]], [np.nan], [np.inf]])
def test_wrong_answers_are_refused(answer, one_line):
    with pytest.raises(reprogram.DataError) as error:
        reprogram.load_detector("concentration").observe(IMAGE, "a", answer)
    one_line(error)


def test_a_detector_without_a_threshold_says_so(one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        reprogram.load_detector("energy").observe(IMAGE, "a", [1.0, 2.0])
    one_line(error, "energy", "calibrate")
    queries = [Query(image=IMAGE, answer=RNG.normal(size=4)) for _ in range(50)]
    with pytest.raises(reprogram.DataError) as error:
        reprogram.load_detector("energy").calibrate(queries)
    one_line(error, "50", "0.001", "999")
    for rate in (0, 1, float("nan")):
        with pytest.raises(reprogram.ConfigError):
            reprogram.load_detector("energy").calibrate(queries, rate)
    with pytest.raises(reprogram.ConfigError, match="nothing was learned"):
        reprogram.load_detector("neighbours(threshold=1.0)").observe(IMAGE, "a", [1.0, 2.0])


@pytest.mark.parametrize("name", sorted(set(names("detectors"))))
def test_no_score_lies_above_the_highest(name):
    """Also where an account sends one image again and again, or one answer."""
    detector = reprogram.load_detector(name)
    if detector.fits:
        detector.fit(RNG.normal(size=(40, 6)))
    moving = [np.roll(IMAGE, i % 3, axis=2) for i in range(120)]
    answers = RNG.normal(size=(5, 6)).repeat(24, axis=0)
    scores = [detector._score(image, "a", answer) for image, answer in zip(moving, answers, strict=True)]
    assert max(scores) <= detector.highest


def test_a_threshold_that_nothing_exceeds_is_warned_of():
    queries = [Query(image=IMAGE)] * 20
    with pytest.warns(UserWarning, match="the alarm never rings"):
        assert reprogram.load_detector("piha").calibrate(queries, 0.1) == 1


def test_the_account_seen_least_recently_makes_room():
    table = AccountTable({"count": ((1,), np.uint32)}, 3)
    for account in "abcadb":
        table.row(account)["count"] += 1
    assert list(table.rows) == ["a", "d", "b"]
    assert table.state()["count"].ravel().tolist() == [2, 1, 1]


def test_memory_is_bounded_by_the_accounts():
    detector = reprogram.load_detector("repeated-border(capacity=4)")
    for i in range(40):
        detector.observe(RNG.integers(0, 256, (3, 20, 20), dtype=np.uint8), str(i))
    assert sum(array.nbytes for array in detector.table.arrays.values()) == 4 * detector.bytes_per_account
    assert detector.accounts() == ["36", "37", "38", "39"]


def test_pooled_detectors_see_through_many_accounts():
    images = np.repeat(IMAGE[None], 30, axis=0)
    images[:, :, 8:12, 8:12] = RNG.integers(0, 256, (30, 3, 4, 4), dtype=np.uint8)
    apart, pooled = (reprogram.load_detector(f"repeated-border(pooled={p})") for p in (False, True))
    assert not any(apart.observe(image, str(i)).alarm for i, image in enumerate(images))
    assert pooled.observe(images[0], "0").score == 0
    assert any(pooled.observe(image, str(i)).alarm for i, image in enumerate(images[1:]))


def damaged(path, change):
    """The file with another header."""
    content = path.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    own = json.loads(header["__metadata__"]["reprogram_detector"])
    change(own)
    header["__metadata__"]["reprogram_detector"] = json.dumps(own)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + size :])


@pytest.mark.parametrize(
    "change",
    [
        lambda h: h.update(version=3),
        lambda h: h.update(spec="nothing"),
        lambda h: h.update(spec="repeated-content"),
        lambda h: h.update(threshold="x"),
        lambda h: h.update(threshold=float("inf")),
        lambda h: h.update(threshold=-(10**400)),
        lambda h: h.update(threshold=10**400),
        lambda h: h.update(num_calibrated=-5),
        lambda h: h.update(num_calibrated=10**400),
        lambda h: h.update(false_positive_rate=7.0),
        lambda h: h.update(version=1, accounts=[1]),
        lambda h: h.update(version=1, accounts=["a", "a"]),
        lambda h: h.update(version=1),
        lambda h: h.update(more=1),
        lambda h: h.update(spec="repeated-border(side=" + "[" * 100_000),
    ],
)
def test_damaged_files_are_refused(tmp_path, change, one_line):
    detector = reprogram.load_detector("repeated-border")
    detector.observe(IMAGE, "a")
    detector.observe(IMAGE, "b")
    path = detector.save(tmp_path / "d.safetensors")
    assert Detector.load(path).accounts() == ["a", "b"]
    damaged(path, change)
    with pytest.raises(reprogram.DataError) as error:
        reprogram.load_detector(path)
    one_line(error, "d.safetensors")


def test_an_array_of_a_type_that_numpy_lacks_is_refused(tmp_path, one_line):
    detector = reprogram.load_detector("still-cells(side=4)")
    detector.observe(IMAGE, "a")
    path = detector.save(tmp_path / "d.safetensors")
    content = path.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    text = content[8 : 8 + size].replace(b'"U8"', b'"F8_E4M3"')
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + size :])
    with pytest.raises(reprogram.DataError) as error:
        reprogram.load_detector(path)
    one_line(error, "d.safetensors")


def test_a_file_of_the_first_version_is_read(tmp_path):
    """Its accounts' names stood in the header, and retries had digests of 32 bits without a secret."""
    images = RNG.integers(0, 256, (30, 3, 20, 20), dtype=np.uint8)
    images[:, :, :8] = images[0, :, :8]
    detector, path = reprogram.load_detector("still-cells(side=4, least=5)"), tmp_path / "old.safetensors"
    for image in images[:15]:
        detector.observe(image, "a")
    state = {name: array for name, array in detector.state_dict().items() if name != "key"}
    state["digests"] = state["digests"].astype(np.uint32)
    header = {"version": 1, "spec": "still-cells(side=4, least=5)", "threshold": -12.0, "accounts": ["a"]}
    header |= {"false_positive_rate": None, "num_calibrated": 0}
    save_file(state, path, metadata={"reprogram_detector": json.dumps(header)})
    again = Detector.load(path)
    assert [again.observe(image, "a") for image in images[15:]] == [
        detector.observe(image, "a") for image in images[15:]
    ]


KNOW_RETRIES = ("repeated-border", "repeated-content", "still-cells", "coarse-neighbours", "persistent-detail")


@pytest.mark.parametrize("name", KNOW_RETRIES)
def test_what_a_retry_is_depends_on_a_secret_of_the_account(name):
    """Without it a client could make all of its queries look like retries of each other, which aren't counted."""
    detector = reprogram.load_detector(name)
    for account in ("a", "b"):
        detector.observe(IMAGE, account)
        detector.observe(IMAGE, account)
    digests, keys = detector.state_dict()["digests"], detector.state_dict()["key"]
    assert (digests != 0).sum(axis=1).tolist() == [1, 1] and digests[0, 0] != digests[1, 0]
    assert not np.array_equal(keys[0], keys[1]) and keys.any(axis=1).all()


@pytest.mark.parametrize("name", KNOW_RETRIES)
def test_the_last_eight_different_queries_are_known_again(name):
    detector = reprogram.load_detector(name)
    images = RNG.integers(0, 256, (10, 3, 24, 24), dtype=np.uint8)
    kept = []
    for number in (8, 10):
        detector.reset()
        for image in images[:number]:
            detector.observe(image, "a")
        before = detector.state_dict()
        for image in images[:number]:
            detector.observe(image, "a")
        after = detector.state_dict()
        kept.append(all(np.array_equal(before[field], after[field]) for field in before))
    assert kept == [True, False]


def test_names_of_accounts_have_a_bound(tmp_path):
    detector = reprogram.load_detector("concentration(least=2)")
    for i in range(3):
        detector.observe(IMAGE, "x" * 1_000_000 + str(i), np.arange(5.0) == i)
    path = detector.save(tmp_path / "d.safetensors")
    assert path.stat().st_size < 10_000 and len(set(Detector.load(path).accounts())) == 3


def test_more_accounts_are_saved_than_a_header_has_room_for(tmp_path):
    detector = reprogram.load_detector("repeated-border(side=4, capacity=700000)")
    names = [f"{i:0199}" for i in range(600_000)]
    detector.accounts = lambda: names
    detector.state_dict = dict
    saved = detector.save(tmp_path / "d.safetensors")
    with safe_open(saved, framework="numpy") as file:
        assert json.loads(file.get_tensor("__accounts__").tobytes()) == names


@pytest.mark.parametrize("image", [[[1, 2], [3]], torch.zeros(3, 4, 4, requires_grad=True)])
def test_what_is_no_array_is_refused(image, one_line):
    with pytest.raises(reprogram.DataError) as error:
        reprogram.load_detector("repeated-border").observe(image)
    one_line(error, "can't be read as an array")


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_score_that_is_no_number_is_an_error_and_no_silence(one_line):
    detector = reprogram.load_detector("largest-softmax(threshold=0, temperature=1e-320)")
    with pytest.raises(reprogram.DataError) as error:
        detector.observe(IMAGE, "a", np.array([1.0, 2.0]))
    one_line(error, "largest-softmax", "isn't finite")


def test_options_that_no_machine_has_room_for_are_refused(one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        reprogram.load_detector("coarse-neighbours(history=1000000, side=64)")
    one_line(error, "coarse-neighbours", "MiB of each account")


def test_calibration_that_fails_leaves_no_account_behind():
    detector = reprogram.load_detector("repeated-border")
    with pytest.raises(reprogram.DataError):
        detector.calibrate([Query(image=IMAGE, account="a"), Query(image=IMAGE[0], account="b")], 0.5)
    assert detector.accounts() == []


def test_a_file_needs_no_particular_suffix(tmp_path):
    path = reprogram.load_detector("repeated-border(side=5)").save(tmp_path / "watch.state")
    assert reprogram.load_detector(str(path)).config.side == 5


def test_files_of_another_kind_are_refused(tmp_path, one_line):
    for name, content in (("a.safetensors", b""), ("b.safetensors", b"x" * 100), ("none.safetensors", None)):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(reprogram.DataError) as error:
            reprogram.load_detector(tmp_path / name)
        one_line(error, name)
    task = "squares(train=20, validation=20, test=20)"
    model = reprogram.Reprogrammed.build("linear:40", task, canvas="resize", program="full")
    with pytest.raises(reprogram.DataError, match="no detector's file"):
        reprogram.load_detector(model.save(tmp_path / "program.safetensors"))


def test_threads_may_observe_at_the_same_time():
    detector = reprogram.load_detector("repeated-border")
    images = RNG.integers(0, 256, (4, 10, 3, 20, 20), dtype=np.uint8)
    threads = [
        threading.Thread(target=lambda i=i: [detector.observe(image, str(i)) for image in images[i]]) for i in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(detector.accounts()) == ["0", "1", "2", "3"]


def test_detect_asks_a_host():
    host = reprogram.load_host("linear:12")
    images = RNG.integers(0, 256, (6, *host.info.shape), dtype=np.uint8)
    verdicts = reprogram.detect("largest-softmax(threshold=-0.5)", images, host=host)
    import torch

    expected = -host(torch.from_numpy(images).float() / 255).softmax(1).amax(1)
    np.testing.assert_allclose([v.score for v in verdicts], expected.detach().numpy(), rtol=1e-5)
    assert [v.alarm for v in verdicts] == (expected > -0.5).tolist()
    with pytest.raises(reprogram.ConfigError, match="give answers= or host="):
        reprogram.detect("energy(threshold=0.0)", images)
    with pytest.raises(reprogram.DataError, match="6 images, 2 accounts"):
        reprogram.detect("repeated-border", images, ["a", "b"])
    with pytest.raises(reprogram.DataError, match="resize"):
        reprogram.detect("energy(threshold=0.0)", images[:, :, 1:], host=host)


@pytest.mark.parametrize("spec", ["energy(over=8{})", "energy(low=True,over=8{})", "largest-softmax(over=8{})"])
def test_an_account_with_few_answers_is_not_above_one_with_many(spec):
    detector = reprogram.load_detector(spec.format(",threshold=1e6"))
    answers = np.random.default_rng(1).normal(3, 1, (30, 1000))
    scores = [detector.observe(IMAGE, "new", answer).score for answer in answers]
    assert max(scores[:7]) < min(scores[7:])


def test_benign_queries_of_the_highest_score_are_warned_of():
    """A host that is sure of all images: no attack can be surer."""
    answers = np.random.default_rng(0).normal(size=(400, 10)) * 400
    image = np.zeros((3, 8, 8), np.uint8)
    detector = reprogram.load_detector("largest-softmax(confident=True, temperature=0.1)")
    with pytest.warns(UserWarning, match="highest score"):
        detector.calibrate([Query(image=image, account=str(i), answer=a) for i, a in enumerate(answers)], 0.01)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2000.0])
def test_the_energy_of_new_accounts_rises_to_their_mean(temperature):
    detector = reprogram.load_detector(f"energy(temperature={temperature}, over=10, threshold=0)")
    answer, image = np.random.default_rng(0).normal(size=1000), np.zeros((3, 8, 8), np.uint8)
    found = [detector.observe(image, "a", answer).score for _ in range(12)]
    assert found == sorted(found) and found[-1] == pytest.approx(detector.value(answer)) and found[0] < found[-1]


def test_answers_that_no_host_gives_are_one_line(one_line):
    image = np.zeros((3, 8, 8), np.uint8)
    with pytest.raises(reprogram.DataError) as error:
        reprogram.load_detector("energy(threshold=0)").observe(image, answer=torch.randn(5, requires_grad=True))
    one_line(error, "without a gradient")
    sent = [Query(image=image, account=str(i), answer=np.ones(5 if i % 3 else 6)) for i in range(100)]
    with pytest.raises(reprogram.DataError) as error:
        reprogram.load_detector("mahalanobis").calibrate(sent, 0.1)
    one_line(error, "answers of 5 and 6 numbers")
