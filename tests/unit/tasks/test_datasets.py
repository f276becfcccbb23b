"""Datasets of torchvision and Hugging Face: exact pixels and class names, and what is refused."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

import reprogram


class Pairs(torch.utils.data.Dataset):
    def __init__(self, items, classes=None):
        self.items = items
        if classes:
            self.classes = classes

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


RAMP = np.arange(96, dtype=np.uint8).reshape(4, 8, 3)


KINDS = {
    "pil": lambda: Image.fromarray(RAMP),
    "array": lambda: RAMP.copy(),
    "uint8 tensor": lambda: torch.from_numpy(RAMP.copy()).permute(2, 0, 1),
    "float tensor": lambda: torch.from_numpy(RAMP.copy()).permute(2, 0, 1) / 255,
    "float64 array": lambda: RAMP / 255,
    "half": lambda: (torch.from_numpy(RAMP.copy()).permute(2, 0, 1) / 255).half(),
}


def of(image, n=20, **kwargs):
    return reprogram.Task.from_datasets(
        "own", train=Pairs([(image, i % 2) for i in range(n)]), test=Pairs([(image, i % 2) for i in range(4)]), **kwargs
    )


@pytest.mark.parametrize("kind", KINDS)
def test_datasets_of_every_kind_give_exact_pixels(kind):
    task = of(KINDS[kind]())
    assert task.image_shape == (3, 4, 8)
    np.testing.assert_array_equal(task.train.images[0].numpy(), RAMP.transpose(2, 0, 1))
    assert (len(task.train), len(task.validation), len(task.test)) == (18, 2, 4)
    assert task.class_names == ("0", "1")


def test_grey_and_binary_images_of_datasets():
    for image in (RAMP[..., 0], torch.from_numpy(RAMP[..., 0].copy()), Image.fromarray(RAMP[..., 0])):
        task = of(image)
        assert task.image_shape == (1, 4, 8) and np.array_equal(task.train.images[0, 0].numpy(), RAMP[..., 0])
    task = of(Image.fromarray(RAMP[..., 0] > 40))
    assert np.array_equal(task.train.images[0, 0].numpy(), (RAMP[..., 0] > 40) * 255)


def test_class_names_of_datasets():
    items = [(RAMP, i % 2) for i in range(20)]
    named = reprogram.Task.from_datasets("own", train=Pairs(items, ["no", "yes"]), test=Pairs(items))
    assert named.class_names == ("no", "yes")
    task = reprogram.Task.from_datasets("own", train=Pairs(items), test=Pairs(items), class_names=["x", "y", "z"])
    assert task.class_names == ("x", "y", "z")
    given = reprogram.Task.from_datasets("own", train=Pairs(items), test=Pairs(items), validation=Pairs(items[:6]))
    assert (len(given.train), len(given.validation)) == (20, 6)


BAD = {
    "nan": (np.full((4, 8, 3), np.nan), "finite"),
    "inf": (torch.full((3, 4, 8), float("inf")), "finite"),
    "0 to 255 floats": (RAMP.astype(np.float32), "[0, 1]"),
    "minus one to one": (torch.linspace(-1, 1, 96).view(3, 4, 8), "[0, 1]"),
    "integers": (RAMP.astype(np.int64), "uint8"),
    "too many dimensions": (np.zeros((2, 4, 8, 3), dtype=np.uint8), ""),
    "one dimension": (np.zeros(9, dtype=np.uint8), ""),
    "text": ("image.png", ""),
    "none": (None, ""),
    "channels of an array first": (RAMP.transpose(2, 0, 1), "h x w x c"),
    "channels of a tensor last": (torch.from_numpy(np.tile(RAMP, (2, 1, 1))), "c x h x w"),
    "a batch": (torch.zeros(1, 3, 4, 8), "(1, 3, 4, 8)"),
    "no storage": (torch.zeros(3, 4, 8, device="meta"), "dense"),
    "32 bits": (Image.fromarray(np.arange(32, dtype=np.int32).reshape(4, 8)), "32 bits"),
    "L*a*b*": (Image.new("LAB", (8, 4)), "L*a*b*"),
    "just above white": (np.full((4, 8, 3), 1.00002), "1.00002"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_images_of_datasets_are_named(name, one_line):
    image, text = BAD[name]
    items = [(RAMP, 0), (RAMP, 1), (image, 0)]
    with pytest.raises(reprogram.DataError) as error:
        reprogram.Task.from_datasets("own", train=Pairs(items), test=Pairs(items[:2]))
    one_line(error, "train item 2", text)


def test_bad_datasets_are_refused(one_line):
    good = Pairs([(RAMP, i % 2) for i in range(20)])

    class Endless(torch.utils.data.IterableDataset):
        def __iter__(self):
            yield RAMP, 0

    class Counted(Endless):
        def __len__(self):
            return 20

    class Odd(Pairs):
        def __len__(self):
            return -1

    class Unending(Pairs):
        def __len__(self):
            raise TypeError("no length")

    cases = {
        "empty": Pairs([]),
        "length": Endless(),
        "one class": Pairs([(RAMP, 0)] * 20),
        "channels": Pairs([(RAMP, 0), (np.zeros((4, 8, 2), dtype=np.uint8), 1)]),
        "endless": Unending([(RAMP, 0)] * 20),
        "endless with a length": Counted(),
        "odd length": Odd([(RAMP, 0)] * 20),
        "label": Pairs([(RAMP, -1), (RAMP, 1)] * 9),
    }
    for dataset in cases.values():
        with pytest.raises(reprogram.DataError) as error:
            reprogram.Task.from_datasets("own", train=dataset, test=good)
        one_line(error)
    with pytest.raises(reprogram.DataError) as error:
        reprogram.Task.from_datasets("own", train=good, test=Pairs([(RAMP, 5)]), class_names=["a", "b"])
    one_line(error, "5")


def rows(n=20, image="image", label="label"):
    return Pairs([{image: Image.fromarray(RAMP), label: i % 2, "id": i} for i in range(n)])


@pytest.mark.parametrize("image,label", [("image", "label"), ("img", "fine_label"), ("image", "labels")])
def test_rows_with_names_as_hugging_face_gives_them(image, label):
    class ClassLabel:
        names = ("no", "yes")

    train = rows(image=image, label=label)
    train.features = {image: object(), label: ClassLabel()}
    task = reprogram.Task.from_datasets("own", train=train, test=rows(4, image, label))
    assert task.class_names == ("no", "yes") and np.bincount(task.train.labels).tolist() == [9, 9]
    np.testing.assert_array_equal(task.train.images[0].numpy(), RAMP.transpose(2, 0, 1))


def test_rows_without_image_or_label_are_named(one_line):
    with pytest.raises(reprogram.DataError) as error:
        reprogram.Task.from_datasets("own", train=rows(image="picture"), test=rows())
    one_line(error, "train item 0", "picture", "image")


@pytest.mark.parametrize("label", [2**62, 2**70, -(2**70), 5_000_000, 2**15, -1])
def test_labels_that_are_no_indices_take_no_memory(label, one_line):
    with pytest.raises(reprogram.DataError) as error:
        reprogram.Task.from_datasets(
            "own", train=Pairs([(RAMP, i % 2) for i in range(20)] + [(RAMP, label)]), test=Pairs([(RAMP, 0)])
        )
    one_line(error, "train item 20", str(label))


def test_labels_with_large_gaps_need_names(one_line):
    train = Pairs([(RAMP, 900 * (i % 2)) for i in range(20)])
    with pytest.raises(reprogram.DataError) as error:
        reprogram.Task.from_datasets("own", train=train, test=train)
    one_line(error, "900", "class_names")
    names = [f"c{i}" for i in range(901)]
    assert reprogram.Task.from_datasets("own", train=train, test=train, class_names=names).num_classes == 901


@pytest.mark.parametrize(
    "kind", [int, np.int64, np.uint8, torch.tensor, lambda i: np.array([i]), lambda i: torch.tensor([i])]
)
def test_labels_of_every_whole_kind(kind):
    items = Pairs([(RAMP, kind(i % 3)) for i in range(30)])
    assert np.bincount(reprogram.Task.from_datasets("own", train=items, test=items).test.labels).tolist() == [10] * 3


@pytest.mark.parametrize("kind", [bool, np.bool_, torch.tensor])
def test_labels_that_are_true_or_false(kind):
    items = Pairs([(RAMP, kind(i % 2 == 1)) for i in range(20)])
    assert reprogram.Task.from_datasets("own", train=items, test=items).test.labels.tolist() == [0, 1] * 10


@pytest.mark.parametrize("known", [None, "given", "own"])
def test_labels_that_are_names(known):
    items = Pairs([(RAMP, np.str_("dog") if i % 2 else "cat") for i in range(20)])
    order = ["dog", "cat", "bird"]
    items.classes = order if known == "own" else None
    task = reprogram.Task.from_datasets("own", train=items, test=items, class_names=order if known == "given" else None)
    assert task.class_names == (tuple(order) if known else ("cat", "dog"))
    assert [task.class_names[label] for label in task.test.labels] == ["cat", "dog"] * 10


@pytest.mark.parametrize("label,words", [(1, "a number"), ("mouse", "no name of a class")])
def test_labels_that_are_names_and_something_else(label, words, one_line):
    items = [(RAMP, "cat"), (RAMP, "dog")]
    with pytest.raises(reprogram.DataError) as error:
        reprogram.Task.from_datasets("own", train=Pairs(items * 5, ["cat", "dog"]), test=Pairs([*items, (RAMP, label)]))
    one_line(error, "test item 2", str(label), words)


@pytest.mark.parametrize("order", [["yes", "no"], ["yes"]])
def test_datasets_that_number_their_classes_differently(order, one_line):
    items = [(RAMP, i % 2) for i in range(20)]
    whole, other = Pairs(items, ["no", "yes"]), Pairs([(RAMP, 0)] * 4, order)
    for train, test in ((whole, other), (torch.utils.data.ConcatDataset([whole, other]), Pairs(items))):
        with pytest.raises(reprogram.DataError) as error:
            reprogram.Task.from_datasets("own", train=train, test=test)
        one_line(error, "no, yes", "class_names")
    given = reprogram.Task.from_datasets("own", train=whole, test=other, class_names=["a", "b"])
    assert given.class_names == ("a", "b")
    assert reprogram.Task.from_datasets("own", train=whole, test=Pairs([(RAMP, 0)], ["no"])).num_classes == 2


@pytest.mark.parametrize("classes", [{"b": 1, "a": 0}, {1: "b", 0: "a"}, ["a", "b"], np.array(["a", "b"])])
@pytest.mark.parametrize("given", [True, False])
def test_classes_of_every_form_are_in_the_order_of_their_indices(classes, given):
    train = Pairs([(RAMP, i % 2) for i in range(20)])
    if not given:
        train.classes = classes
    task = reprogram.Task.from_datasets("own", train=train, test=train, class_names=classes if given else None)
    assert task.class_names == ("a", "b")


@pytest.mark.parametrize("classes", [10, "ab", {"a", "b"}, {"a": 0, "b": 2}, {"a": 0, "b": 0}, {"a": "x", "b": "y"}])
def test_classes_that_have_no_order_are_refused(classes, one_line):
    train = Pairs([(RAMP, i % 2) for i in range(20)])
    with pytest.raises(reprogram.DataError) as error:
        reprogram.Task.from_datasets("own", train=train, test=train, class_names=classes)
    one_line(error)


def test_a_number_of_classes_is_no_list_of_names():
    train = Pairs([(RAMP, i % 2) for i in range(20)])
    train.classes = 10
    assert reprogram.Task.from_datasets("own", train=train, test=train).class_names == ("0", "1")


def test_a_subset_has_the_classes_of_its_whole():
    whole = Pairs([(RAMP, i % 2) for i in range(20)], ["no", "yes"])
    task = reprogram.Task.from_datasets("own", train=torch.utils.data.Subset(whole, range(20)), test=whole)
    assert task.class_names == ("no", "yes")


def test_images_of_several_sizes_and_grey_among_colour():
    colour, grey = Image.new("RGB", (30, 20), (9, 8, 7)), Image.new("L", (64, 80), 5)
    items = Pairs([(colour if i % 2 else grey, i % 2) for i in range(20)])
    task = reprogram.Task.from_datasets("own", train=items, test=items)
    assert task.image_shape == (3, 112, 112) and "112x112" in task.notes[0]
    for label, expected in ((0, (5, 5, 5)), (1, (9, 8, 7))):
        pixels = task.test.images[task.test.labels == label]
        assert (pixels == torch.tensor(expected, dtype=torch.uint8).view(1, 3, 1, 1)).all()
    sized = reprogram.Task.from_datasets("own", train=items, test=items, size=8)
    assert sized.image_shape == (3, 8, 8) and sized.notes == ()


def test_odd_numbers_of_pixels_are_read():
    expected = RAMP.transpose(2, 0, 1)
    for image in (RAMP[:, ::-1][:, ::-1] / 255 + 1e-7, (RAMP / 255).astype(">f4"), (RAMP / 255).astype(np.longdouble)):
        np.testing.assert_array_equal(of(image).train.images[0].numpy(), expected)
    sparse = torch.from_numpy(expected.copy()).to_sparse()
    np.testing.assert_array_equal(of(sparse).train.images[0].numpy(), expected)
    needs_grad = (torch.from_numpy(RAMP.copy()).permute(2, 0, 1) / 255).requires_grad_()
    np.testing.assert_array_equal(of(needs_grad).train.images[0].numpy(), expected)
    assert (of(np.full((4, 8), 1 + 1e-6)).train.images == 255).all()


def test_items_that_cant_be_had_are_named(one_line):
    class Failing(Pairs):
        def __getitem__(self, index):
            raise OSError("broken\nfile")

    with pytest.raises(reprogram.DataError) as error:
        reprogram.Task.from_datasets("own", train=Failing([0] * 5), test=Pairs([(RAMP, 0)]))
    one_line(error, "train item 0", "broken�file")
    with pytest.raises(reprogram.DataError) as error:
        of(Image.new("L", (0, 0)))
    one_line(error, "train item 0")


@pytest.mark.parametrize(
    "options", [{"validation_fraction": 0}, {"validation_fraction": 1.5}, {"seed": -1}, {"size": 0}, {"size": True}]
)
def test_arguments_out_of_range_are_refused(options, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        of(RAMP, **options)
    one_line(error, next(iter(options)))


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "png", "tif"])
def test_an_opened_file_is_turned_as_its_camera_was_held(turn, ending, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = turn
    path = tmp_path / f"x.{ending}"
    Image.fromarray(RAMP).save(path, exif=exif)
    with Image.open(path) as opened:
        upright = np.asarray(ImageOps.exif_transpose(opened)).transpose(2, 0, 1)
    with Image.open(path) as opened:  # One image for all items: each is turned once.
        task = of(opened)
        assert all(np.array_equal(image.numpy(), upright) for image in task.test.images)
    with Image.open(path) as opened:
        done = ImageOps.exif_transpose(opened)
    assert np.array_equal(of(done).test.images[0].numpy(), upright)
