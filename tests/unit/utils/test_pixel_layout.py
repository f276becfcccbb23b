"""What a file's samples are: files written by struct and zlib here, whose right pixels follow from NumPy alone."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

import reprogram
from reprogram.utils import images
from reprogram.utils.deep_pixels import levels_of

RNG = np.random.default_rng(0)
HEIGHT, WIDTH = 5, 8
REVERSED = np.array([int(f"{value:08b}"[::-1], 2) for value in range(256)], dtype=np.uint8)


def tiff(path, planes, *, order="<", compressed=False, **tags):
    """Write a TIFF file of one strip for each plane, given as bytes; `tags` are t and a number: t262=1."""
    planes = [zlib.compress(plane) if compressed else plane for plane in planes]
    defaults = {"t256": WIDTH, "t257": HEIGHT, "t258": 8, "t259": 8 if compressed else 1, "t262": 1, "t278": HEIGHT}
    starts = np.cumsum([8, *map(len, planes)])
    values = {**defaults, **tags, "t273": tuple(map(int, starts[:-1])), "t279": tuple(map(len, planes))}
    entries, after, start = b"", b"", int(starts[-1])
    values = {int(name[1:]): value for name, value in values.items() if value is not None}
    for tag in sorted(values):
        value = values[tag] if isinstance(values[tag], tuple) else (values[tag],)
        kind, letter = (4, "L") if tag in (273, 279) else (3, "H")
        packed = struct.pack(f"{order}{len(value)}{letter}", *value)
        if len(packed) > 4:
            where = start + 2 + 12 * len(values) + 4 + len(after)
            after, packed = after + packed, struct.pack(f"{order}L", where)
        entries += struct.pack(f"{order}HHL", tag, kind, len(value)) + packed.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}L", start)
    directory = struct.pack(f"{order}H", len(values)) + entries + bytes(4)
    path.write_bytes(head + b"".join(planes) + directory + after)
    return path


def png(path, samples, depth, colour_type, *, transparent=None, palette=None):
    """Write a PNG file from h × w × c samples, unfiltered."""
    height, width = samples.shape[:2]
    if depth == 16:
        rows = samples.astype(">u2").reshape(height, -1).view(np.uint8)
    else:
        bits = (samples.reshape(height, -1)[..., None] >> np.arange(depth)[::-1]) & 1
        rows = np.packbits(bits.reshape(height, -1).astype(np.uint8), axis=1)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0))]
    if palette is not None:
        chunks += [(b"PLTE", palette.astype(np.uint8).tobytes())]
    if transparent is not None:
        chunks += [(b"tRNS", struct.pack(f">{len(transparent)}H", *transparent))]
    chunks += [(b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))), (b"IEND", b"")]
    raw = b"\x89PNG\r\n\x1a\n"
    for name, data in chunks:
        raw += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    path.write_bytes(raw)
    return path


def scaled(values, largest):
    return np.rint(values.astype(np.float64) * 255 / largest)


def over_white(colour, alpha, largest):
    part = alpha.astype(np.float64) / largest
    return np.rint((colour * part + largest * (1 - part)) * 255 / largest)


def read(path):
    return np.asarray(images.read(path))


def refusal(path, one_line, *words):
    with pytest.raises(reprogram.DataError) as error:
        images.read(path)
    one_line(error, path.name, *words)
    assert "damaged (" not in str(error.value)


@pytest.mark.parametrize("largest", [255, 1023, 4095, 65535])
def test_levels_are_the_nearest(largest):
    values = np.arange(largest + 1)
    np.testing.assert_array_equal(levels_of(values, largest), scaled(values, largest))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("planar", [1, 2])
@pytest.mark.parametrize("depth", [8, 16])
def test_colour_of_a_tiff_in_one_plane_or_three(tmp_path, order, compressed, planar, depth):
    largest = 2**depth - 1
    samples = RNG.integers(0, largest + 1, (HEIGHT, WIDTH, 3))
    stored = samples.astype(f"{order}u{depth // 8}")
    planes = [stored] if planar == 1 else [stored[..., i] for i in range(3)]
    path = tiff(
        tmp_path / "x.tif", [plane.tobytes() for plane in planes], order=order, compressed=compressed,
        t258=(depth,) * 3, t262=2, t277=3, t284=planar,
    )  # fmt: skip
    np.testing.assert_array_equal(read(path), scaled(samples, largest))


@pytest.mark.parametrize("order,compressed", [("<", False), (">", True)])
@pytest.mark.parametrize("planar", [1, 2])
@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("multiplied", [False, True])
def test_alpha_of_a_tiff(tmp_path, order, compressed, planar, depth, colours, multiplied, one_line):
    """Alpha may be a plane of its own, and the colours multiplied by it."""
    largest, count = 2**depth - 1, colours + 1
    samples = RNG.integers(0, largest + 1, (HEIGHT, WIDTH, count))
    colour, alpha = samples[..., :-1], samples[..., -1:]
    if multiplied:
        colour[:] = colour * alpha // largest
    stored = samples.astype(f"{order}u{depth // 8}")
    planes = [stored] if planar == 1 else [stored[..., i] for i in range(count)]
    path = tiff(
        tmp_path / "x.tif", [plane.tobytes() for plane in planes], order=order, compressed=compressed,
        t258=(depth,) * count, t262=2 if colours == 3 else 1, t277=count, t284=planar, t338=2 - multiplied,
    )  # fmt: skip
    if (colours, depth) == (1, 16):  # Pillow knows no such file.
        refusal(path, one_line, "2 sample(s) of 16 bits")
        return
    expected = np.rint((colour + (largest - alpha)) * 255 / largest) if multiplied else None
    expected = over_white(colour, alpha, largest) if expected is None else expected
    np.testing.assert_array_equal(read(path).reshape(expected.shape), expected)


def test_16_bit_cmyk_is_rounded(tmp_path):
    samples = RNG.integers(0, 65536, (HEIGHT, WIDTH, 4))
    expected = np.asarray(Image.fromarray(scaled(samples, 65535).astype(np.uint8), "CMYK").convert("RGB"))
    for planar in (1, 2):
        stored = samples.astype("<u2")
        planes = [stored] if planar == 1 else [stored[..., i] for i in range(4)]
        raw = [plane.tobytes() for plane in planes]
        path = tiff(tmp_path / "x.tif", raw, t258=(16,) * 4, t262=5, t277=4, t284=planar)
        np.testing.assert_array_equal(read(path), expected)


def test_planes_of_several_strips_and_a_plane_that_is_missing(tmp_path, one_line):
    samples = RNG.integers(0, 65536, (HEIGHT, WIDTH, 3))
    rows = [samples[i, :, k].astype("<u2").tobytes() for k in range(3) for i in range(HEIGHT)]
    tags = {"t258": (16,) * 3, "t262": 2, "t277": 3, "t278": 1, "t284": 2}
    np.testing.assert_array_equal(read(tiff(tmp_path / "x.tif", rows, **tags)), scaled(samples, 65535))
    tiff(tmp_path / "y.tif", rows[:-1], **tags)
    with pytest.raises(reprogram.DataError) as error:
        images.read(tmp_path / "y.tif")
    one_line(error, "damaged")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_16_bit_colour_of_a_tiff_with_alpha(tmp_path, order, compressed, orientation):
    samples = RNG.integers(0, 65536, (HEIGHT, WIDTH, 4))
    path = tiff(
        tmp_path / "x.tif", [samples.astype(f"{order}u2").tobytes()], order=order, compressed=compressed,
        t258=(16,) * 4, t262=2, t274=orientation, t277=4, t338=2,
    )  # fmt: skip
    expected = over_white(samples[..., :3], samples[..., 3:], 65535)
    np.testing.assert_array_equal(read(path), np.rot90(expected, {1: 0, 3: 2, 6: -1}[orientation]))


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("depth,white_is_zero", [(d, w) for d in (1, 2, 4, 8, 16) for w in (0, 1)] + [(12, 0)])
def test_grey_tiffs_of_every_depth(tmp_path, compressed, depth, white_is_zero):
    values = RNG.integers(0, 2**depth, (HEIGHT, WIDTH))
    if depth == 16:
        raw = values.astype("<u2").tobytes()
    else:
        bits = (values[..., None] >> np.arange(depth)[::-1]) & 1
        raw = np.packbits(bits.reshape(HEIGHT, -1).astype(np.uint8), axis=1).tobytes()
    for extra in ({}, {"t284": 2}):
        path = tiff(tmp_path / "x.tif", [raw], compressed=compressed, t258=depth, t262=int(not white_is_zero), **extra)
        grey = scaled(values, 2**depth - 1)
        np.testing.assert_array_equal(read(path), 255 - grey if white_is_zero else grey)


@pytest.mark.parametrize("depth,photometric", [(8, 1), (16, 1), (8, 0)])
def test_bits_in_reverse_order(tmp_path, depth, photometric):
    values = RNG.integers(0, 2**depth, (HEIGHT, WIDTH)).astype(f"<u{depth // 8}")
    raw = REVERSED[values.view(np.uint8)].tobytes()
    path = tiff(tmp_path / "x.tif", [raw], t258=depth, t262=photometric, t266=2)
    grey = scaled(values, 2**depth - 1)
    np.testing.assert_array_equal(read(path), grey if photometric else 255 - grey)


@pytest.mark.parametrize("factor", [1, 257])
def test_colour_maps_of_8_and_of_16_bits(tmp_path, factor):
    colours, indices = RNG.integers(0, 256, (256, 3)), RNG.integers(0, 256, (HEIGHT, WIDTH))
    colours[0] = 255
    colour_map = tuple(int(value) * factor for value in colours.T.ravel())
    path = tiff(tmp_path / "x.tif", [indices.astype(np.uint8).tobytes()], t262=3, t320=colour_map)
    np.testing.assert_array_equal(read(path), colours[indices])


def test_grey_multiplied_by_alpha(tmp_path):
    alpha = RNG.integers(0, 256, (HEIGHT, WIDTH))
    grey = (alpha * RNG.random((HEIGHT, WIDTH))).astype(np.int64)
    raw = np.stack([grey, alpha], axis=-1).astype(np.uint8).tobytes()
    path = tiff(tmp_path / "x.tif", [raw], t258=(8, 8), t277=2, t338=1)
    np.testing.assert_array_equal(read(path), grey + 255 - alpha)


GREY = RNG.integers(0, 100, (HEIGHT, WIDTH))
REFUSED = {
    "signed 8 bits": ({"t339": 2}, "u1", "signed"),
    "signed 16 bits": ({"t258": 16, "t339": 2}, "i2", "signed"),
    "signed 32 bits": ({"t258": 32, "t339": 2}, "i4", "signed"),
    "unsigned 32 bits": ({"t258": 32}, "u4", "32 bits"),
    "floating point": ({"t258": 32, "t339": 3}, "f4", "floating point"),
    "without a meaning": ({"t262": None}, "u1", "PhotometricInterpretation"),
    "a short colour map": ({"t262": 3, "t320": (1, 2, 3)}, "u1", "colour map"),
    "a thumbnail": ({"t254": 1}, "u1", "thumbnail"),
    "64 bits": ({"t258": 64}, "u8", "TIFF"),
    "12 bits, white is zero": ({"t258": 12, "t262": 0}, "u2", "TIFF"),
}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("kind", REFUSED)
def test_tiffs_that_have_no_8_bit_meaning_are_refused(tmp_path, order, compressed, kind, one_line):
    tags, dtype, word = REFUSED[kind]
    raw = GREY.astype(order + dtype).tobytes()
    path = tiff(tmp_path / "x.tif", [raw], order=order, compressed=compressed, **tags)
    with pytest.raises(reprogram.DataError) as error:
        images.read(path)
    one_line(error, path.name)
    assert word in str(error.value) or "TIFF" in str(error.value)  # Pillow itself knows some of them by one order only.


@pytest.mark.parametrize("depth,channels", [(1, 1), (2, 1), (4, 1), (8, 1), (16, 1), (8, 3), (16, 3)])
@pytest.mark.parametrize("of_file", [True, False])
def test_the_transparent_colour_of_a_png(tmp_path, depth, channels, of_file):
    largest = 2**depth - 1
    samples = RNG.integers(0, largest + 1, (HEIGHT, WIDTH, channels))
    samples[0, 0], samples[0, 1] = largest // 3, max(0, largest // 3 - 1)  # the transparent colour, and its neighbour
    path = png(tmp_path / "x.png", samples, depth, 2 if channels == 3 else 0, transparent=(largest // 3,) * channels)
    expected = scaled(samples, largest)
    expected[(samples == largest // 3).all(axis=2)] = 255
    got = read(path) if of_file else np.asarray(images.to_8bit(Image.open(path)))
    np.testing.assert_array_equal(got, expected if channels == 3 else expected[..., 0])


@pytest.mark.parametrize("colour_type", [2, 4, 6])
def test_16_bit_pngs_are_rounded_and_keep_their_kind(tmp_path, colour_type):
    samples = RNG.integers(0, 65536, (HEIGHT, WIDTH, {2: 3, 4: 2, 6: 4}[colour_type]))
    samples[0, 0], samples[0, 1] = 65535, 0
    got = read(png(tmp_path / "x.png", samples, 16, colour_type))
    expected = scaled(samples, 65535)
    if colour_type > 2:
        expected = over_white(samples[..., :-1], samples[..., -1:], 65535)
    np.testing.assert_array_equal(got, expected[..., 0] if colour_type == 4 else expected)


def test_many_strips_of_16_bits_are_one_image(tmp_path, monkeypatch):
    monkeypatch.setattr("reprogram.utils.deep_pixels.CHUNK", 2 * WIDTH)
    samples = RNG.integers(0, 65536, (HEIGHT, WIDTH, 3))
    np.testing.assert_array_equal(read(png(tmp_path / "x.png", samples, 16, 2)), scaled(samples, 65535))


def test_a_palette_with_alpha_is_laid_over_white():
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 0, 40, 50, 60, 255], "RGBA")
    image.putdata([0, 1])
    assert np.asarray(images.to_8bit(image)).tolist() == [[[255, 255, 255], [40, 50, 60]]]


def bitmap(path, content, bits, *, header=40, compression=0, between=b"", height=HEIGHT, num_colours=0):
    """Write a bitmap from the bytes of its rows; `between` are masks and palette."""
    start = 14 + header + len(between) - (min(len(between), header - 40) if compression else 0)
    fields = (header, WIDTH, height, 1, bits, compression, len(content), 0, 0, num_colours, 0)
    head = struct.pack("<IiiHHIIiiII", *fields) + (between + bytes(header))[: header - 40 if compression else 0]
    head += bytes(header - len(head)) if not compression else between[header - 40 :]
    head += between if not compression else b""
    path.write_bytes(b"BM" + struct.pack("<IHHI", start + len(content), 0, 0, start) + head + content)
    return path


FIELDS = {
    "555": (16, 40, (0x7C00, 0x3E0, 0x1F)),
    "565": (16, 40, (0xF800, 0x7E0, 0x1F)),
    "444": (16, 40, (0xF00, 0xF0, 0xF)),
    "blue first": (16, 40, (0x1F, 0x7E0, 0xF800)),
    "1555": (16, 56, (0x7C00, 0x3E0, 0x1F, 0x8000)),
    "4444": (16, 124, (0xF00, 0xF0, 0xF, 0xF000)),
    "888": (32, 40, (0xFF, 0xFF00, 0xFF0000)),
    "8888": (32, 108, (0xFF0000, 0xFF00, 0xFF, 0xFF000000)),
    "10 bits": (32, 40, (0x3FF00000, 0xFFC00, 0x3FF)),
}


@pytest.mark.parametrize("upside_down", [False, True])
@pytest.mark.parametrize("kind", FIELDS)
def test_bit_fields_of_bitmaps(tmp_path, kind, upside_down):
    bits, header, masks = FIELDS[kind]
    pixels, samples = np.zeros((HEIGHT, WIDTH), dtype=np.int64), []
    for mask in masks:
        lowest = mask & -mask
        values = RNG.integers(0, mask // lowest + 1, (HEIGHT, WIDTH))
        pixels |= values * lowest
        samples.append(values * lowest / mask)
    colour = np.stack(samples[:3], axis=2)
    expected = over_white(colour, samples[3][..., None], 1) if len(masks) == 4 else np.rint(colour * 255)
    rows = pixels if upside_down else pixels[::-1]
    path = bitmap(
        tmp_path / "x.bmp", rows.astype(f"<u{bits // 8}").tobytes(), bits, header=header, compression=3,
        between=struct.pack(f"<{len(masks)}I", *masks), height=-HEIGHT if upside_down else HEIGHT,
    )  # fmt: skip
    np.testing.assert_array_equal(read(path), expected)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("grey", [False, True])
def test_bitmaps_with_fewer_or_more_colours_than_their_bits(tmp_path, bits, grey):
    """Pillow knows no 2 bits, takes few greys for single bits, and refuses too many colours."""
    for count in {2**bits, max(2, 2**bits - 3), 2**bits + 5}:
        palette = RNG.integers(0, 256, (count, 3)) if not grey else np.linspace(0, 255, count).astype(int)[:, None]
        palette = np.broadcast_to(palette, (count, 3)).astype(np.uint8)
        indices = RNG.integers(0, min(count, 2**bits), (HEIGHT, WIDTH))
        digits = (indices[..., None] >> np.arange(bits)[::-1]) & 1
        rows = np.packbits(digits.reshape(HEIGHT, -1).astype(np.uint8), axis=1)
        rows = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4)))[::-1]
        colours = np.pad(palette[:, ::-1], ((0, 0), (0, 1))).tobytes()
        got = read(bitmap(tmp_path / "x.bmp", rows.tobytes(), bits, between=colours, num_colours=count))
        got = np.repeat(got[..., None], 3, axis=2) if got.ndim == 2 else got
        np.testing.assert_array_equal(got, palette[indices])


def test_bitmaps_that_are_cut_off_or_of_other_kinds(tmp_path, one_line):
    masks = struct.pack("<3I", 0xF00, 0xF0, 0xF)
    bitmap(tmp_path / "x.bmp", bytes(HEIGHT * WIDTH * 2 - 1), 16, compression=3, between=masks)
    with pytest.raises(reprogram.DataError) as error:
        images.read(tmp_path / "x.bmp")
    one_line(error, "damaged", "truncated")
    gap = struct.pack("<3I", 0xF0F, 0xF0, 0xF000)
    refusal(bitmap(tmp_path / "y.bmp", bytes(80), 16, compression=3, between=gap), one_line, "bitfields")
    refusal(bitmap(tmp_path / "z.bmp", bytes(80), 0, compression=5), one_line, "BMP")


@pytest.mark.parametrize(
    "content,word",
    [
        (b"", "empty"),
        (b"<!doctype html><title>404</title>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS"),
        (b"8BPS" + bytes(30), "PSD"),
        (b"\xff\xd8\xff\xe1\0\4ab\xff\xc1\0\x0b\x0c\0\1\0\1\1\1\x11\0" + bytes(30), "JPEG file of 12 bits"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    ],
)
def test_what_else_lies_under_an_images_name_is_named(tmp_path, content, word, one_line):
    (tmp_path / "x.png").write_bytes(content)
    refusal(tmp_path / "x.png", one_line, word)


def test_formats_that_nobody_standardised_are_refused(tmp_path, one_line):
    (tmp_path / "x.ppm").write_bytes(b"PyP\n2 1\n255\n\x01\x02")
    refusal(tmp_path / "x.ppm", one_line, "PPM")
    (tmp_path / "y.pgm").write_bytes(b"Pf\n2 1\n-1.0\n" + struct.pack("<2f", 0.5, 0.25))
    refusal(tmp_path / "y.pgm", one_line, "floating point")
    (tmp_path / "z.png").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    refusal(tmp_path / "z.png", one_line, "HEIC")


def test_planes_that_claim_more_than_the_file_are_refused(tmp_path, one_line):
    """Strips that lie on each other would multiply the file in memory."""
    rows = [bytes(WIDTH)] * HEIGHT * 3
    path = tiff(tmp_path / "x.tif", rows, t258=(8,) * 3, t262=2, t277=3, t278=1, t284=2)
    raw = bytearray(path.read_bytes())
    counts = raw.rindex(struct.pack("<L", WIDTH) * len(rows))
    raw[counts : counts + 4 * len(rows)] = struct.pack("<L", len(raw) // 2) * len(rows)
    path.write_bytes(raw)
    with pytest.raises(reprogram.DataError) as error:
        images.read(path)
    one_line(error, "longer than the file")
