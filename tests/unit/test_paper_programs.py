"""Size, amplitude, contrast and concealment against NumPy, pixel for pixel, also after rounding to 8 bits."""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

import reprogram
from helpers import random_task, tiny_model
from reprogram.levels import reach, whole_levels
from reprogram.programfile import read
from reprogram.registry import configure

SIZE, BOX = 16, slice(4, 12)  # The canvas and the window of `tiny_model` with images of 8 x 8.
WHERE = ["outermost", "innermost", "random"]


def images(seed=0):
    return random_task(separable=False, seed=seed).test.images


def drawn(model, seed=0):
    with torch.no_grad():
        return model.program(model.canvas(images(seed))).dense().double().numpy()


def scale(model, std, seed=5):
    with torch.no_grad():
        model.program.weight.normal_(0, std, generator=torch.Generator().manual_seed(seed))
    return model


def as_png(pixels):
    """What a PNG of it holds: a round trip through a file."""
    stored = []
    for image in pixels:
        buffer = io.BytesIO()
        Image.fromarray(np.rint(image * 255).astype(np.uint8).transpose(1, 2, 0)).save(buffer, format="PNG")
        stored.append(np.asarray(Image.open(buffer)).transpose(2, 0, 1))
    return np.stack(stored).astype(int)


def changed(pixels):
    """Pixels of the frame that differ from the background in any channel."""
    different = (pixels[0] != 0.5).any(axis=0)
    different[BOX, BOX] = False
    return different


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("pixels", [1, 20, 100, 192])
def test_sized_changes_exactly_so_many_pixels_and_no_task_pixel(pixels, where):
    model = tiny_model(program=f"sized(pixels={pixels}, where={where!r}, init=1.0)")
    got = drawn(model)
    assert changed(got).sum() == pixels
    np.testing.assert_allclose(got[:, :, BOX, BOX], images().numpy() / 255.0, atol=1e-7)
    values = np.sort(got[0][:, changed(got)].ravel())
    expected = np.sort(0.5 + np.tanh(model.program.weight.detach().double().numpy().ravel()) / 2)
    np.testing.assert_allclose(values, expected, atol=1e-6)


def test_outermost_and_innermost_are_sorted_by_their_distance():
    """Every pixel that is taken is at least as far out, or in, as every pixel that isn't."""
    for where in WHERE[:2]:
        taken = changed(drawn(tiny_model(program=f"sized(pixels=70, where={where!r}, init=1.0)")))
        frame = np.ones((SIZE, SIZE), bool)
        frame[BOX, BOX] = False
        y, x = np.mgrid[:SIZE, :SIZE]
        edge = np.min([y, x, SIZE - 1 - y, SIZE - 1 - x], axis=0)
        near = np.max([4 - y, y - 11, 4 - x, x - 11], axis=0)
        distance = edge if where == "outermost" else near
        assert distance[taken].max() <= distance[frame & ~taken].min()


def test_sized_is_a_function_of_its_seed():
    for where in WHERE:
        a, b, c = (
            changed(drawn(tiny_model(program=f"sized(pixels=50, where={where!r}, seed={s}, init=1.0)")))
            for s in (1, 1, 2)
        )
        assert (a == b).all() and (a != c).any()


@pytest.mark.parametrize("program", ["sized", "sparse"])
@pytest.mark.parametrize("pixels", [0, -3, 193, 10**15])
def test_pixels_that_the_frame_has_not_are_refused(program, pixels, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        tiny_model(program=f"{program}(pixels={pixels})")
    one_line(error, str(pixels))
    with pytest.raises(reprogram.ConfigError, match="covers the whole canvas"):
        tiny_model(program=f"{program}(pixels=3)", canvas="resize")


def test_sparse_draws_the_pixels_that_score_highest_and_moves_them():
    task = random_task()
    model = tiny_model(task, program="sparse(pixels=30)")
    start = model.program.choice().detach()[0, 0].numpy()
    reprogram.fit(model, task, epochs=6, batch_size=8, validations=6, learner="gradient(learning_rate=0.1)")
    scores = model.program.scores.detach()[0, 0].numpy().copy()
    scores[BOX, BOX] = -np.inf
    expected = np.zeros(SIZE * SIZE)
    expected[np.argsort(-scores.ravel())[:30]] = 1
    choice = model.program.choice().detach()[0, 0].numpy()
    np.testing.assert_array_equal(choice.ravel(), expected)
    assert changed(drawn(model)).sum() == start.sum() == 30
    assert (choice != start).any(), "the choice was learned"


def test_sparse_passes_the_gradient_straight_through_the_choice():
    """d loss / d score = sum over channels of d loss / d P times tanh(W) / 2, drawn or not; nothing in the window."""
    model = scale(tiny_model(program="sparse(pixels=30)"), 1.0)
    upstream = torch.randn(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    frame = model.program.run(model.canvas(images())).frame
    score_gradient, weight_gradient = torch.autograd.grad(
        (frame * upstream).sum(), [model.program.scores, model.program.weight]
    )
    expected = (upstream.double() * torch.tanh(model.program.weight.double()) / 2).sum(1, keepdim=True)
    expected[..., BOX, BOX] = 0
    torch.testing.assert_close(score_gradient.double(), expected, atol=1e-5, rtol=1e-4)
    assert ((weight_gradient != 0).any(dim=1)[0].numpy() == (model.program.choice()[0, 0].detach().numpy() == 1)).all()


@pytest.mark.parametrize("std", [0.0, 0.3, 3.0, 1e30])
@pytest.mark.parametrize("window", [False, True])
@pytest.mark.parametrize("eps", [0.01, 8 / 255, 0.0314, 0.1, 0.5, 1.0])
def test_bounded_is_eps_tanh_and_stays_within(eps, window, std):
    model = scale(tiny_model(program=f"bounded(eps={eps!r}, window={window})"), std)
    canvas = np.full((16, 3, SIZE, SIZE), 0.5)
    canvas[:, :, BOX, BOX] = images().double().numpy() / 255
    change = eps * np.tanh(model.program.weight.detach().double().numpy())
    if not window:
        change[..., BOX, BOX] = 0
    got = drawn(model)
    np.testing.assert_allclose(got, np.clip(canvas + change, 0, 1), atol=1e-6)
    assert np.abs(got - canvas).max() <= eps + 1e-6
    assert model.program.confined == (not window)


@pytest.mark.parametrize("std", [0.0, 0.5, 5.0, 1e30])
@pytest.mark.parametrize("eps", [1 / 255, 0.004, 8 / 255, 0.0314, 0.03, 0.1, 0.5])
def test_bounded_holds_in_the_8bit_picture(eps, std):
    """In whole levels, without tolerance: the grey background is 127.5 of them, task pixels are whole."""
    model = scale(tiny_model(program=f"bounded(eps={eps!r}, window=True, round_8bit=True)"), std)
    got = drawn(model)
    stored = as_png(got)
    np.testing.assert_allclose(got * 255, stored, atol=1e-4)
    levels = round(eps * 255) if abs(eps * 255 - round(eps * 255)) < 1e-4 else eps * 255
    inside = np.abs(stored[:, :, BOX, BOX] - images().numpy().astype(int))
    frame = np.abs(2 * stored - 255)  # Half levels.
    frame[:, :, BOX, BOX] = 0
    assert inside.max() <= levels and frame.max() <= 2 * levels
    if std > 1:  # The bound is used: no level is given away.
        assert inside.max() == int(levels) and frame.max() >= 2 * int(levels + 0.5) - 1


def test_bounds_of_nothing_are_refused(one_line):
    for spec in (
        "bounded(eps=0)", "bounded(eps=-0.1)", "bounded(eps=1.1)", "bounded(eps=0.0039, round_8bit=True)",
        "concealed(eps=0.0)", "concealed(eps=0.003)", "concealed(contrast=0)", "concealed(contrast=1.5)",
    ):  # fmt: skip
        with pytest.raises(reprogram.ConfigError) as error:
            configure("programs", spec)
        one_line(error, spec.partition("(")[0])
    with pytest.raises(reprogram.ConfigError, match="covers the whole canvas"):
        tiny_model(program="bounded", canvas="resize")


def test_levels_against_whole_numbers():
    """For every pixel of 256 and every bound of k levels: exactly k levels up and down."""
    base = torch.arange(256) / 255
    for k in range(1, 256):
        low, high = reach(base, k / 255, whole=True)
        assert torch.equal((low * 255).round().long(), torch.arange(256) - k)
        assert torch.equal((high * 255).round().long(), torch.arange(256) + k)
        assert round(255 * whole_levels(k / 255)) == k
        assert round(255 * whole_levels((k + 0.99) / 255)) == k


@pytest.mark.parametrize("contrast", [1.0, 0.5, 0.1, 0.013])
@pytest.mark.parametrize("canvas", ["centre", "shuffled", "resize"])
def test_contrast_is_the_distance_from_the_background(canvas, contrast):
    full = tiny_model(program="full", canvas=canvas).canvas(images()).window.double().numpy()
    model = tiny_model(program="full", canvas=f"{canvas}(contrast={contrast})")
    got = model.canvas(images()).window.double().numpy()
    np.testing.assert_allclose(got, 0.5 + contrast * (full - 0.5), atol=1e-6)
    rounded = tiny_model(program="full", canvas=f"{canvas}(contrast={contrast}, round_8bit=True)")
    framed = rounded.canvas(images())
    stored = as_png(framed.window.numpy())
    np.testing.assert_allclose(framed.window.double().numpy() * 255, stored, atol=1e-4)
    assert np.abs(stored - 127.5).max() <= 127.5 * contrast + 1e-9
    assert np.abs(stored / 255 - got).max() <= 1 / 255


@pytest.mark.parametrize("options", ["contrast=0", "contrast=-0.5", "contrast=1.01", "contrast=0.007, round_8bit=True"])
def test_contrast_out_of_range_is_refused(options, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        configure("canvases", f"centre({options})")
    one_line(error, "contrast")


@pytest.fixture
def photo(tmp_path):
    """A photograph of 60 x 40 pixels in a folder with a name that is nobody's business."""
    folder = tmp_path / "secret place"
    folder.mkdir()
    array = np.random.default_rng(3).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(array).save(folder / "cat.png")
    return folder / "cat.png"


def fitted_photo(path):
    """Pillow's own: resized to cover 16 x 16, the centre cut out."""
    from PIL import ImageOps

    image = Image.open(path).convert("RGB")
    return np.asarray(ImageOps.fit(image, (SIZE, SIZE), method=Image.Resampling.BILINEAR)).transpose(2, 0, 1)


@pytest.mark.parametrize("std", [0.0, 0.5, 5.0, 1e30])
@pytest.mark.parametrize("contrast", [0.01, 0.1, 1.0])
@pytest.mark.parametrize("eps", [0.004, 0.0314, 0.2])
def test_concealed_is_photo_program_and_faint_task_image(photo, eps, contrast, std):
    model = scale(tiny_model(program=f"concealed(photo={str(photo)!r}, eps={eps}, contrast={contrast})"), std)
    levels = int(255 * eps + 1e-4)
    under = fitted_photo(photo) / 255
    change = np.zeros((16, 3, SIZE, SIZE)) + levels / 255 * np.tanh(model.program.weight.detach().double().numpy())
    change[:, :, BOX, BOX] += contrast * (images().double().numpy() / 255 - 0.5)
    both = int(255 * (eps + contrast / 2) + 1e-4)
    np.testing.assert_allclose(drawn(model), np.clip(under + np.clip(change, -both / 255, both / 255), 0, 1), atol=1e-6)


@pytest.mark.parametrize("std", [0.5, 1e30])
def test_concealed_bound_holds_in_the_8bit_picture(photo, std):
    eps, contrast = 0.0314, 0.1
    spec = f"concealed(photo={str(photo)!r}, eps={eps}, contrast={contrast}, round_8bit=True)"
    model = scale(tiny_model(program=spec, canvas="shuffled"), std)
    got = drawn(model)
    stored = as_png(got)
    np.testing.assert_allclose(got * 255, stored, atol=1e-4)
    change = np.abs(stored - fitted_photo(photo).astype(int))
    assert change[:, :, BOX, BOX].max() <= int(255 * (eps + contrast / 2))
    change[:, :, BOX, BOX] = 0
    assert change.max() <= 8 and (std < 1 or change.max() == 8)


def test_concealed_carries_the_photograph_and_not_its_place(photo, tmp_path):
    model = tiny_model(program=f"concealed(photo={str(photo)!r}, round_8bit=True)", canvas="shuffled")
    path = model.save(tmp_path / "program.safetensors")
    assert b"secret place" not in path.read_bytes() and b"cat.png" in path.read_bytes()
    want = drawn(model)
    photo.unlink()  # Reading a program opens no other file.
    again = reprogram.load(path, host=model.host)
    np.testing.assert_array_equal(drawn(again), want)
    assert again.save(tmp_path / "again.safetensors").read_bytes() == path.read_bytes()
    config = json.loads(read(path).header.model_dump_json())["components"]["program"]["config"]
    assert config["photo"].startswith("cat.png#") and "/" not in config["photo"]


def test_concealed_default_is_a_photograph():
    model = tiny_model(program="concealed")
    assert model.program.photo.float().std() > 20 and model.program.config.photo == ""
    other = tiny_model(program="concealed", seed=1)
    assert torch.equal(model.program.photo, other.program.photo)


def test_concealed_run_goes_on_with_its_photograph_only(photo, tmp_path, one_line):
    """Interrupted and gone on is never interrupted; another photograph of the same name is another run."""
    task = random_task()
    spec = f"concealed(photo={str(photo)!r}, eps=0.2)"

    def run(checkpoint, observe=None):
        model = tiny_model(task, program=spec)
        reprogram.fit(
            model, task, epochs=4, batch_size=8, validations=2, checkpoint=checkpoint, checkpoint_every=1,
            observe=observe,
        )  # fmt: skip
        return model

    def stop(report):
        if report.images >= 80:
            raise RuntimeError("pulled the plug")

    with pytest.raises(RuntimeError):
        run(tmp_path / "c.safetensors", stop)
    resumed, whole = run(tmp_path / "c.safetensors"), run(None)
    assert torch.equal(resumed.program.weight, whole.program.weight)
    assert torch.equal(resumed.program.photo, whole.program.photo)
    Image.fromarray(255 - np.asarray(Image.open(photo))).save(photo)
    with pytest.raises(reprogram.ConfigError) as error:
        run(tmp_path / "c.safetensors")
    one_line(error, "another program")


@pytest.mark.parametrize("content", [None, b"", b"no picture", b"\x89PNG\r\n\x1a\n"])
def test_a_bad_photograph_is_one_line(content, tmp_path, one_line):
    path = tmp_path / "bad.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(reprogram.DataError) as error:
        tiny_model(program=f"concealed(photo={str(path)!r})")
    one_line(error, "bad.png")


def test_files_from_before_the_new_options_read_and_write_as_they_did(tmp_path):
    """Options that came later are written only where they aren't their default."""
    plain, faint = tiny_model(), tiny_model(canvas="centre(contrast=0.5)")
    header = read(plain.save(tmp_path / "plain")).header.components["canvas"]
    assert "contrast" not in header.config
    path = faint.save(tmp_path / "faint")
    assert read(path).header.components["canvas"].config["contrast"] == 0.5
    again = reprogram.load(path, host=faint.host)
    assert torch.equal(again.canvas(images()).window, faint.canvas(images()).window)
