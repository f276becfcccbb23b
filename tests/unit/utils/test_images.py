"""Image files: every mode's documented policy, value for value."""

import json
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import reprogram
from helpers import ROOT
from reprogram.utils import image_files, images, photographs


def saved(tmp_path, image, name="x.png", **kwargs):
    image.save(tmp_path / name, **kwargs)
    return tmp_path / name


def pixels(image):
    return np.asarray(image)


RGB = np.array(
    [[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[10, 20, 30], [200, 150, 100], [255, 255, 255]]], dtype=np.uint8
)
GREY = np.array([[0, 1, 127], [128, 200, 255]], dtype=np.uint8)


def test_rgb_and_grey_come_as_they_are(tmp_path):
    image = images.read(saved(tmp_path, Image.fromarray(RGB)))
    assert image.mode == "RGB" and np.array_equal(pixels(image), RGB)
    image = images.read(saved(tmp_path, Image.fromarray(GREY)))
    assert image.mode == "L" and np.array_equal(pixels(image), GREY)
    for name in ("x.bmp", "x.tif", "x.webp", "x.ppm"):
        kwargs = {"lossless": True} if name == "x.webp" else {}
        assert np.array_equal(pixels(images.read(saved(tmp_path, Image.fromarray(RGB), name, **kwargs))), RGB)


def test_palette(tmp_path):
    image = Image.fromarray(np.array([[0, 1], [2, 1]], dtype=np.uint8), mode=None).convert("P")
    image.putpalette([255, 0, 0, 1, 2, 3, 9, 8, 7] + [0] * 759)
    image.putdata([0, 1, 2, 1])
    got = images.read(saved(tmp_path, image))
    assert got.mode == "RGB"
    assert pixels(got).tolist() == [[[255, 0, 0], [1, 2, 3]], [[9, 8, 7], [1, 2, 3]]]


def test_one_bit(tmp_path):
    got = images.read(saved(tmp_path, Image.fromarray(GREY > 127)))
    assert got.mode == "L" and pixels(got).tolist() == [[0, 0, 0], [255, 255, 255]]


def over_white(colour, alpha):
    return colour * (alpha / 255) + 255 * (1 - alpha / 255)


def test_transparency_is_laid_over_white(tmp_path):
    alpha = np.array([[0, 128, 255], [64, 192, 1]], dtype=np.uint8)
    rgba = np.dstack([RGB, alpha])
    got = images.read(saved(tmp_path, Image.fromarray(rgba)))
    assert got.mode == "RGB"
    assert np.array_equal(pixels(got), np.rint(over_white(RGB.astype(float), alpha[..., None])))
    assert pixels(got)[0, 0].tolist() == [255, 255, 255] and pixels(got)[0, 2].tolist() == RGB[0, 2].tolist()
    got = images.read(saved(tmp_path, Image.fromarray(np.dstack([GREY, alpha]))))
    assert got.mode == "L"
    assert np.array_equal(pixels(got), np.rint(over_white(GREY.astype(float), alpha)))


def test_transparent_palette_colour_is_white(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255] + [0] * 762)
    image.putdata([0, 1])
    got = images.read(saved(tmp_path, image, transparency=0))
    assert pixels(got).tolist() == [[[255, 255, 255], [0, 0, 255]]]


def test_16_bit_grey_is_scaled_exactly(tmp_path):
    values = np.array([[0, 128, 129, 257, 32767], [32768, 65278, 65407, 65534, 65535]], dtype=np.uint16)
    for name in ("x.png", "x.tif"):
        got = images.read(saved(tmp_path, Image.fromarray(values), name))
        assert got.mode == "L"
        assert pixels(got).tolist() == np.rint(values * (255 / 65535)).astype(int).tolist()


def test_every_16_bit_value_is_scaled_exactly(tmp_path):
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    expected = np.rint(values.astype(np.float64) / 65535 * 255)
    for name in ("x.png", "x.tif", "x.pgm"):
        assert np.array_equal(pixels(images.read(saved(tmp_path, Image.fromarray(values), name))), expected), name


def test_every_transparency_of_every_grey_is_exact(tmp_path):
    grey, alpha = np.meshgrid(np.arange(256), np.arange(256))
    image = Image.fromarray(np.stack([grey, alpha], axis=-1).astype(np.uint8))
    assert image.mode == "LA"
    assert np.array_equal(pixels(images.read(saved(tmp_path, image))), np.rint(over_white(grey, alpha)))


MANY_MODES = {
    "rgb": lambda size: Image.new("RGB", size, (1, 2, 3)),
    "alpha": lambda size: Image.new("RGBA", size, (1, 2, 3, 4)),
    "grey and alpha": lambda size: Image.new("LA", size, (1, 2)),
    "palette": lambda size: Image.new("P", size),
    "16 bit": lambda size: Image.new("I;16", size, 300),
    "cmyk": lambda size: Image.new("CMYK", size, (1, 2, 3, 4)),
    "rotated": lambda size: Image.new("RGB", size, (1, 2, 3)),
}


def saved_many(folder, mode, side):
    """A square image of that mode, compressed quickly."""
    exif = Image.Exif()
    exif[0x0112] = 6 if mode == "rotated" else 1
    path = folder / f"{mode} {side}.{'tif' if mode in ('cmyk', '16 bit') else 'png'}"
    MANY_MODES[mode]((side, side)).save(path, exif=exif, compression="tiff_lzw", compress_level=1)
    return path


def test_decoding_takes_at_most_twelve_bytes_a_pixel(tmp_path, resident_memory):
    """Resident memory of a process that reads 4 million pixels, over one that has read a small image of its format."""
    root = ROOT
    tiff = [mode for mode in MANY_MODES if mode in ("cmyk", "16 bit")]
    for modes in (tiff, [mode for mode in MANY_MODES if mode not in tiff]):
        paths = [saved_many(tmp_path, modes[0], 8), *(saved_many(tmp_path, mode, 2000) for mode in modes)]
        command = [sys.executable, "-m", "attacks.measure", "image", *map(str, paths)]
        lines = subprocess.run(command, check=True, capture_output=True, text=True, cwd=root).stdout.splitlines()
        for mode, line in zip(modes, lines, strict=True):
            measured = json.loads(line)
            assert measured["error"] == "", mode
            assert 4 < measured["mb"] < 12 * 4 + 8, (mode, measured)


@pytest.mark.parametrize("kind", ["fifo", "device", "link to a device"])
def test_what_is_no_ordinary_file_is_not_opened(tmp_path, kind, one_line):
    path = tmp_path / "x.png"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path = Path("/dev/zero")
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(reprogram.DataError) as error:
        images.read(path)
    one_line(error, path.name)


def test_a_link_to_an_image_is_followed(tmp_path):
    (tmp_path / "link.png").symlink_to(saved(tmp_path, Image.fromarray(RGB)))
    assert np.array_equal(pixels(images.read(tmp_path / "link.png")), RGB)


def test_cmyk_is_pillows_rgb(tmp_path):
    image = Image.fromarray(RGB).convert("CMYK")
    got = images.read(saved(tmp_path, image, "x.tif"))
    assert got.mode == "RGB" and np.array_equal(pixels(got), pixels(image.convert("RGB")))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    got = pixels(images.read(saved(tmp_path, Image.fromarray(RGB), exif=exif)))
    expected = {
        1: RGB,
        2: RGB[:, ::-1],
        3: RGB[::-1, ::-1],
        4: RGB[::-1],
        5: RGB.transpose(1, 0, 2),
        6: np.rot90(RGB, -1),
        7: RGB[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(RGB, 1),
    }[orientation]
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("name", ["x.gif", "x.png", "x.webp", "x.tif"])
def test_first_frame_of_an_animation(tmp_path, name):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ((255, 0, 0), (0, 255, 0))]
    kwargs = {"lossless": True} if name == "x.webp" else {}
    got = images.read(saved(tmp_path, frames[0], name, save_all=True, append_images=frames[1:], **kwargs))
    assert (pixels(got) == (255, 0, 0)).all()


@pytest.mark.parametrize("mode", ["F", "I"])
def test_pixels_without_a_fixed_range_are_refused(tmp_path, mode, one_line):
    image = Image.fromarray(
        np.array([[0.5, 1e9]], dtype=np.float32) if mode == "F" else np.array([[-5, 70000]], dtype=np.int32)
    )
    with pytest.raises(reprogram.DataError) as error:
        images.read(saved(tmp_path, image, "x.tif"))
    one_line(error, "x.tif")


def test_truncated_anywhere_is_refused(tmp_path, one_line):
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    for name in ("x.png", "x.jpg", "x.gif", "x.bmp", "x.webp", "x.tif"):
        raw = saved(tmp_path, Image.fromarray(noise), name).read_bytes()
        for part in (0.0, 0.1, 0.3, 0.5, 0.7):
            (tmp_path / name).write_bytes(raw[: int(len(raw) * part)])
            with pytest.raises(reprogram.DataError) as error:
                images.read(tmp_path / name)
            one_line(error, name)


def test_altered_files_never_end_in_another_error(tmp_path):
    """Random damage: either an image or a DataError."""
    rng = np.random.default_rng(1)
    noise = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8))
    outcomes = set()
    for name in ("x.png", "x.jpg", "x.gif", "x.tif", "x.webp", "x.bmp"):
        raw = saved(tmp_path, noise, name).read_bytes()
        for _ in range(40):
            damaged = bytearray(raw)
            for position in rng.integers(0, len(raw), 3):
                damaged[position] = rng.integers(256)
            (tmp_path / name).write_bytes(damaged)
            try:
                outcomes.add(images.read(tmp_path / name).mode)
            except reprogram.DataError as error:
                outcomes.add("refused")
                assert "\n" not in str(error)
    assert "refused" in outcomes and "RGB" in outcomes


def test_missing_and_odd_paths_are_refused(tmp_path, one_line):
    (tmp_path / "text.png").write_text("hello")
    for path in (tmp_path / "missing.png", tmp_path, tmp_path / "text.png", tmp_path / "text.png" / "x"):
        with pytest.raises(reprogram.DataError) as error:
            images.read(path)
        one_line(error, path.name)


def test_a_folder_that_is_missing_is_said_to_be(tmp_path, one_line):
    (tmp_path / "file").write_text("x")
    for name in ("missing", "file"):
        with pytest.raises(reprogram.DataError) as error:
            image_files.list_images(tmp_path / name)
        one_line(error, name, "no such folder")


def test_too_many_pixels_are_refused_before_decoding(tmp_path, monkeypatch, one_line):
    monkeypatch.setattr(images, "MAX_PIXELS", 99)
    with pytest.raises(reprogram.DataError) as error:
        images.read(saved(tmp_path, Image.new("L", (10, 10))))
    one_line(error, "10x10")
    monkeypatch.undo()
    raw = saved(tmp_path, Image.new("RGB", (8, 8))).read_bytes()
    header = b"IHDR" + struct.pack(">II", 65536, 65536) + raw[24:29]
    (tmp_path / "bomb.png").write_bytes(raw[:12] + header + struct.pack(">I", zlib.crc32(header)) + raw[33:])
    with pytest.raises(reprogram.DataError) as error:
        images.read(tmp_path / "bomb.png")
    one_line(error, "pixels")


def test_tensors_and_png_round_trip(tmp_path):
    image = Image.fromarray(RGB)
    tensor = images.to_tensor(image, 3)
    assert tensor.dtype == torch.uint8 and np.array_equal(tensor.numpy(), RGB.transpose(2, 0, 1))
    luma = np.rint(RGB @ np.array([0.299, 0.587, 0.114]))
    assert np.abs(images.to_tensor(image, 1)[0].numpy() - luma).max() <= 1
    (tmp_path / "x.png").write_bytes(images.to_png(tensor / 255))
    assert np.array_equal(pixels(images.read(tmp_path / "x.png")), RGB)
    (tmp_path / "y.png").write_bytes(images.to_png(torch.from_numpy(GREY)[None] / 255))
    assert np.array_equal(pixels(images.read(tmp_path / "y.png")), GREY)


def test_fit_covers_and_cuts_the_centre():
    wide = Image.fromarray(np.repeat(np.repeat([[0, 100, 200, 255]], 4, 0), 2, 1).astype(np.uint8))
    got = images.fit(wide, 4, 4)
    assert got.size == (4, 4) and pixels(got)[0].tolist() == [100, 100, 200, 200]
    assert images.fit(wide, 4, 8) is wide


def test_photograph_is_torchvisions_eval_transform(tmp_path):
    from torchvision.transforms import v2

    rng = np.random.default_rng(0)
    for width, height in ((300, 260), (260, 401), (257, 256)):
        image = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).resize((width, height))
        path = saved(tmp_path, image)
        expected = v2.Compose([v2.Resize(256), v2.CenterCrop(224), v2.PILToTensor()])(image)
        got = photographs.photograph(path, size=(224, 224), crop=0.875, interpolation="bilinear")
        assert got.shape == (1, 3, 224, 224)
        np.testing.assert_allclose(got[0].numpy() * 255, expected.numpy(), atol=1e-3)
