from __future__ import annotations

import io
import struct
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from embed.errors import CorruptMedia, TooLarge, UnsupportedMedia
from embed.media import image as module
from embed.media.image import decode_image, thumbnail

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def encoded(picture: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def pixels(data: bytes, min_side: int = 256) -> NDArray[np.uint8]:
    array = decode_image(data, min_side=min_side).data
    assert isinstance(array, np.ndarray)
    assert array.dtype == np.uint8
    assert array.ndim == 3
    assert array.shape[2] == 3
    assert array.flags.c_contiguous
    return array


def corners() -> Image.Image:
    """Wider than high, its corners all different: red, green / blue, white."""
    picture = Image.new("RGB", (48, 32))
    for colour, at in zip(
        (RED, GREEN, BLUE, WHITE), ((0, 0), (24, 0), (0, 16), (24, 16)), strict=True
    ):
        picture.paste(colour, (*at, at[0] + 24, at[1] + 16))
    return picture


def noise(width: int, height: int) -> Image.Image:
    rng = np.random.default_rng(7)
    small = rng.integers(0, 256, (height // 16 + 1, width // 16 + 1, 3), np.uint8)
    return Image.fromarray(small).resize((width, height))


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_header(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99)))


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


UPRIGHT = {  # where the stored corners (red, green / blue, white) must end up
    1: (RED, GREEN, BLUE, WHITE),
    2: (GREEN, RED, WHITE, BLUE),
    3: (WHITE, BLUE, GREEN, RED),
    4: (BLUE, WHITE, RED, GREEN),
    5: (RED, BLUE, GREEN, WHITE),
    6: (BLUE, RED, WHITE, GREEN),
    7: (WHITE, GREEN, BLUE, RED),
    8: (GREEN, WHITE, RED, BLUE),
}


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation(form: str, orientation: int) -> None:
    array = pixels(encoded(corners(), form, quality=95, exif=exif(orientation)))
    assert array.shape == ((32, 48, 3) if orientation < 5 else (48, 32, 3))
    found = [array[y, x].astype(int) for y in (4, -5) for x in (4, -5)]
    for got, wanted in zip(found, UPRIGHT[orientation], strict=True):
        assert np.abs(got - wanted).max() < 24


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_of_both_byte_orders(order: str) -> None:
    mark = {"<": b"II*\0", ">": b"MM\0*"}[order]
    entries = struct.pack(f"{order}HHIHH", 0x0100, 3, 1, 9, 0)
    entries += struct.pack(f"{order}HHIHH", 0x0112, 3, 1, 6, 0)
    block = b"Exif\0\0" + mark + struct.pack(f"{order}IH", 8, 2) + entries
    assert pixels(encoded(corners(), "JPEG", exif=block)).shape == (48, 32, 3)


@pytest.mark.parametrize(
    "block",
    [
        b"Exif\0\0MM\0*",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff\0\1",
        b"Exif\0\0nonsense",
        exif(6)[:-9],
        exif(77),
    ],
)
def test_broken_exif_is_no_reason_to_refuse_a_picture(block: bytes) -> None:
    assert pixels(encoded(corners(), "JPEG", exif=block)).shape == (32, 48, 3)


def test_alpha_is_laid_on_white() -> None:
    picture = Image.new("RGBA", (3, 1))
    for x, alpha in enumerate((0, 128, 255)):
        picture.putpixel((x, 0), (200, 0, 0, alpha))
    for form in ("PNG", "TIFF"):
        row = pixels(encoded(picture, form))[0].tolist()
        assert row[0] == [255, 255, 255]
        assert row[1] == pytest.approx([227, 127, 127], abs=1)
        assert row[2] == [200, 0, 0]


def test_grey_with_alpha() -> None:
    picture = Image.new("LA", (2, 1))
    picture.putpixel((0, 0), (50, 255))
    assert pixels(encoded(picture))[0].tolist() == [[50, 50, 50], [255, 255, 255]]


@pytest.mark.parametrize("form", ["PNG", "GIF"])
def test_palette_with_a_transparent_entry(form: str) -> None:
    picture = Image.new("P", (3, 1))
    picture.putpalette([10, 20, 30, 200, 100, 50, 0, 0, 255])
    picture.putdata([0, 1, 2])
    data = encoded(picture, form, transparency=1)
    assert pixels(data)[0].tolist() == [[10, 20, 30], [255, 255, 255], [0, 0, 255]]


def test_palette_with_alpha_per_entry() -> None:
    picture = Image.new("P", (2, 1))
    picture.putpalette([255, 0, 0, 0, 0, 0])
    picture.putdata([0, 1])
    assert pixels(encoded(picture, transparency=b"\xff\x00"))[0].tolist() == [
        [255, 0, 0],
        [255, 255, 255],
    ]


def test_transparent_colour_of_an_opaque_mode() -> None:
    picture = Image.new("RGB", (2, 1), (1, 2, 3))
    picture.putpixel((1, 0), (9, 9, 9))
    data = encoded(picture, transparency=(9, 9, 9))
    assert pixels(data)[0].tolist() == [[1, 2, 3], [255, 255, 255]]


@pytest.mark.parametrize(("mode", "value", "grey"), [("1", 1, 255), ("1", 0, 0), ("L", 77, 77)])
def test_one_channel(mode: str, value: int, grey: int) -> None:
    assert (pixels(encoded(Image.new(mode, (5, 4), value))) == grey).all()


@pytest.mark.parametrize(
    ("form", "dtype"), [("PNG", "<u2"), ("TIFF", "<u2"), ("TIFF", ">u2"), ("JPEG2000", "<u2")]
)
def test_sixteen_bits_become_eight(form: str, dtype: str) -> None:
    samples = np.array([[0, 255, 256, 32768, 65535]], dtype)
    row = pixels(encoded(Image.fromarray(samples), form))[0, :, 0].tolist()
    assert row == [0, 0, 1, 128, 255]


def test_wider_samples_are_stretched() -> None:
    floats = np.array([[-1.0, 0.0, 1.0, np.nan]], np.float32)
    assert pixels(encoded(Image.fromarray(floats), "TIFF"))[0, :, 0].tolist() == [0, 128, 255, 128]
    whole = np.array([[0, 500_000, 1_000_000]], np.int32)
    assert pixels(encoded(Image.fromarray(whole), "TIFF"))[0, :, 0].tolist() == [0, 128, 255]
    assert (pixels(encoded(Image.fromarray(np.full((2, 2), 7, np.int32)), "TIFF")) == 0).all()


def test_cmyk() -> None:
    picture = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    assert pixels(encoded(picture, "JPEG", quality=95))[8, 8] == pytest.approx(RED, abs=4)


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_of_several_frames_the_first(form: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in (BLUE, RED, GREEN)]
    data = encoded(frames[0], form, save_all=True, append_images=frames[1:])
    assert pixels(data)[8, 8] == pytest.approx(BLUE, abs=6)


def ycck(colour: tuple[int, int, int, int]) -> bytes:
    """A JPEG of one CMYK colour as Adobe writes it: Y, Cb and Cr of the inks, K inverted.

    libjpeg calls the three 255 - C, …, and Adobe stores inks inverted, which cancels out.
    """
    y_cb_cr = Image.new("RGB", (1, 1), colour[:3]).convert("YCbCr").getpixel((0, 0))
    # Pillow inverts all four as it writes them.
    stored = Image.new("CMYK", (16, 16), (*(255 - sample for sample in y_cb_cr), colour[3]))
    data = bytearray(encoded(stored, "JPEG", quality=100, subsampling=0))
    data[data.index(b"Adobe") + 11] = 2  # the transform: YCCK
    return bytes(data)


@pytest.mark.parametrize(
    "inks", [(0, 255, 255, 0), (255, 0, 0, 0), (0, 0, 0, 255), (0, 0, 0, 0), (90, 30, 60, 40)]
)
def test_inks_as_adobe_writes_them(inks: tuple[int, int, int, int]) -> None:
    black = 255 - inks[3]
    expected = [(255 - ink) * black / 255 for ink in inks[:3]]
    assert pixels(ycck(inks))[8, 8] == pytest.approx(expected, abs=5)
    plain = encoded(Image.new("CMYK", (16, 16), inks), "JPEG", quality=100)
    assert pixels(plain)[8, 8] == pytest.approx(expected, abs=5)


def ink_profile() -> bytes:
    """An ICC profile under which cyan ink is red, L*a*b* (53, 80, 67), and black ink is black.

    One `A2B0` table of type `mft1` (ICC.1:2010, 10.9): straight curves, two points a side.
    """
    curve = bytes(range(256))
    red, black, white = bytes([136, 208, 195]), bytes([0, 128, 128]), bytes([255, 128, 128])
    corners = b"".join(black if n & 1 else red if n & 8 else white for n in range(16))
    one = struct.pack(">9i", *(65536 * (n % 4 == 0) for n in range(9)))
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + one + curve * 4 + corners + curve * 3
    point = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    name = b"desc\0\0\0\0" + struct.pack(">I", 4) + b"ink\0" + bytes(78)
    tags, body = b"", b""
    for kind, data in ((b"A2B0", table), (b"wtpt", point), (b"desc", name)):
        tags += kind + struct.pack(">II", 128 + 4 + 36 + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    content = struct.pack(">I", 3) + tags + body
    head = struct.pack(
        ">I4sI4s4s4s", 128 + len(content), b"lcms", 0x02400000, b"prtr", b"CMYK", b"Lab "
    )
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + content


@pytest.mark.parametrize(
    ("inks", "colour"),
    [((255, 0, 0, 0), RED), ((0, 0, 0, 0), WHITE), ((0, 0, 0, 255), (0, 0, 0))],
)
@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_inks_with_a_profile_of_their_own(
    form: str, inks: tuple[int, ...], colour: tuple[int, ...]
) -> None:
    data = encoded(Image.new("CMYK", (16, 16), inks), form, icc_profile=ink_profile())
    assert pixels(data)[8, 8].astype(int) == pytest.approx(colour, abs=9)


def test_a_profile_for_greys() -> None:
    """Gamma 1: a linear half is sRGB 188."""
    name = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"line\0" + bytes(77)
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    straight = b"curv\0\0\0\0" + bytes(4)
    tags, body = b"", b""
    for kind, data in ((b"kTRC", straight), (b"wtpt", white), (b"desc", name)):
        tags += kind + struct.pack(">II", 128 + 4 + 36 + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    content = struct.pack(">I", 3) + tags + body
    head = struct.pack(
        ">I4sI4s4s4s", 128 + len(content), b"lcms", 0x02400000, b"mntr", b"GRAY", b"XYZ "
    )
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    profile = head.ljust(128, b"\0") + content
    for mode, colour in (("L", 128), ("LA", (128, 255))):
        data = encoded(Image.new(mode, (4, 4), colour), icc_profile=profile)
        assert pixels(data)[1, 1] == pytest.approx((188,) * 3, abs=2)
    rgb = encoded(Image.new("RGB", (4, 4), (128,) * 3), icc_profile=profile)
    assert (pixels(rgb) == 128).all(), "it does not speak of this picture"


def test_sixteen_bits_of_colour() -> None:
    samples = np.zeros((1, 3, 3), ">u2")
    samples[0] = [[65535, 0, 32768], [255, 256, 0], [0, 65280, 65535]]
    header = struct.pack(">IIBBBBB", 3, 1, 16, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" + samples.tobytes()))
    png = b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")
    assert pixels(png)[0].tolist() == [[255, 0, 128], [0, 1, 0], [0, 255, 255]]


def test_a_palette_with_alpha_in_a_tiff() -> None:
    picture = Image.new("PA", (2, 1))
    picture.putpalette([200, 100, 50, 0, 0, 255])
    picture.putpixel((0, 0), (0, 255))
    picture.putpixel((1, 0), (1, 0))
    assert module._flattened(picture).getpixel((0, 0)) == (200, 100, 50)
    assert module._flattened(picture).getpixel((1, 0)) == (255, 255, 255)


def heic(picture: Image.Image, **options: Any) -> bytes:
    heif = pytest.importorskip("pillow_heif")
    buffer = io.BytesIO()
    heif.from_pillow(picture).save(buffer, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_heic(orientation: int) -> None:
    data = heic(corners().resize((192, 128)), quality=95, exif=exif(orientation))
    array = pixels(data)
    assert array.shape == ((128, 192, 3) if orientation < 5 else (192, 128, 3))
    found = [array[y, x].astype(int) for y in (16, -20) for x in (16, -20)]
    for got, wanted in zip(found, UPRIGHT[orientation], strict=True):
        assert np.abs(got - wanted).max() < 24
    small = Image.open(io.BytesIO(thumbnail(data, side=50)))
    assert max(small.size) == 50


def test_damaged_heic() -> None:
    data = heic(noise(300, 200))
    with pytest.raises(CorruptMedia, match="no picture that can be decoded"):
        decode_image(data[: len(data) // 2], min_side=64)


def test_heic_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    data = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
    with pytest.raises(
        UnsupportedMedia, match=r"^a\.heic is a HEIC picture.*pip install 'crossbind\[heic\]'$"
    ):
        decode_image(data, min_side=64, name="a.heic")


def test_a_wide_colour_profile_is_converted() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    plain = pixels(encoded(Image.new("RGB", (8, 8), (200, 80, 40))))
    other = pixels(encoded(Image.new("RGB", (8, 8), (200, 80, 40)), icc_profile=profile))
    assert (plain == other).all(), "a profile of another colour model is ignored"
    swapped = pixels(encoded(Image.new("RGB", (8, 8), (200, 80, 40)), icc_profile=swapped_srgb()))
    assert swapped[0, 0] == pytest.approx((80, 200, 40), abs=4)
    broken = pixels(encoded(Image.new("RGB", (8, 8), (200, 80, 40)), icc_profile=b"no profile"))
    assert (plain == broken).all()


def swapped_srgb() -> bytes:
    """sRGB with red and green exchanged and another name, so that a conversion is plain to see."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile.replace(b"rXYZ", b"????", 1).replace(b"gXYZ", b"rXYZ", 1)
    profile = profile.replace(b"????", b"gXYZ", 1)
    return profile.replace("sRGB".encode("utf-16-be"), "test".encode("utf-16-be"))


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (3, 70000 // 3)])
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_thin_pictures_keep_their_shape(size: tuple[int, int], form: str) -> None:
    data = encoded(Image.new("RGB", size, BLUE), form)
    assert pixels(data).shape == (size[1], size[0], 3)
    assert Image.open(io.BytesIO(thumbnail(data, side=64))).size[0] >= 1


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize(
    ("size", "min_side", "shorter"),
    [
        ((1600, 1200), 256, 300),
        ((1600, 1200), 150, 150),
        ((1600, 1200), 151, 300),
        ((1599, 1201), 1201, 1201),
        ((700, 255), 256, 255),
        ((2000, 1030), 64, 129),
    ],
)
def test_jpegs_never_shrink_below_the_floor(
    size: tuple[int, int], min_side: int, shorter: int, orientation: int
) -> None:
    array = pixels(encoded(noise(*size), "JPEG", exif=exif(orientation)), min_side)
    assert min(array.shape[:2]) == shorter
    upright = size if orientation == 1 else size[::-1]
    assert array.shape[1] / array.shape[0] == pytest.approx(upright[0] / upright[1], rel=0.02)


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_other_formats_are_averaged_down(form: str) -> None:
    picture = noise(1000, 640)
    data = encoded(picture, form, lossless=True)
    array = pixels(data, min_side=100)
    assert array.shape == (214, 334, 3)
    block = np.asarray(picture)[:3, :3].reshape(-1, 3).mean(0)
    assert array[0, 0] == pytest.approx(block, abs=1)
    assert pixels(data, min_side=200).shape == (640, 1000, 3)


def test_a_draft_looks_like_the_picture() -> None:
    picture = noise(1600, 1200)
    draft = pixels(encoded(picture, "JPEG", quality=95), 300).astype(float)
    exact = np.asarray(picture.reduce(4)).astype(float)
    assert np.abs(draft - exact).mean() < 4


def test_many_threads_get_the_same_pixels() -> None:
    data = [encoded(noise(900, 700), form) for form in ("JPEG", "PNG", "WEBP", "GIF")] * 6
    alone = [pixels(one, 100) for one in data]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda one: pixels(one, 100), data))
    assert all((a == b).all() for a, b in zip(alone, together, strict=True))


def test_a_png_bomb_is_refused_by_its_header() -> None:
    with pytest.raises(TooLarge, match=r"b\.png is 30,000 x 30,000 pixels.* at most 300,000,000"):
        decode_image(png_header(30_000, 30_000), min_side=256, name="b.png")
    with pytest.raises(TooLarge, match="at most 100,000,000"):
        decode_image(png_header(10_001, 10_000), min_side=256)


def test_large_pictures_do_not_warn(recwarn: pytest.WarningsRecorder) -> None:
    """Pillow's own limit, over which it warns, is 89 megapixels."""
    warnings.simplefilter("always")
    wide = Image.new("L", (12_000, 8_000), 90)
    assert pixels(encoded(wide, "JPEG", quality=20)).shape == (1000, 1500, 3)
    assert not recwarn.list


def test_what_must_be_held_is_bounded_for_jpegs_too(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = noise(800, 600)
    baseline, progressive = (encoded(picture, "JPEG", progressive=p) for p in (False, True))
    monkeypatch.setattr(module, "MAX_DECODED_PIXELS", 100_000)
    assert pixels(baseline, 100).shape == (150, 200, 3)
    with pytest.raises(TooLarge, match="800 x 600"):
        decode_image(progressive, min_side=100)
    monkeypatch.setattr(module, "MAX_PIXELS", 400_000)
    with pytest.raises(TooLarge, match="at most 400,000"):
        decode_image(baseline, min_side=100)


def test_too_many_bytes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    data = encoded(noise(64, 64))
    (tmp_path / "a.png").write_bytes(data)
    monkeypatch.setattr(module, "MAX_BYTES", len(data) - 1)
    for source in (data, tmp_path / "a.png"):
        with pytest.raises(TooLarge, match=f"at most {len(data) - 1:,} are read"):
            decode_image(source, min_side=64)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF", "JPEG2000"])
def test_a_truncated_picture_is_corrupt(form: str) -> None:
    data = encoded(noise(300, 200), form)
    with pytest.raises(
        CorruptMedia, match=r"cut\.x is no picture that can be decoded: \S.*; it is"
    ):
        decode_image(data[: len(data) // 2], min_side=64, name="cut.x")


@pytest.mark.parametrize(
    ("data", "label"),
    [
        (b"PK\3\4" + bytes(60), "a ZIP archive"),
        (b"just words", "text"),
    ],
)
def test_what_is_not_decoded_is_named_with_the_choices(data: bytes, label: str) -> None:
    with pytest.raises(UnsupportedMedia, match=f"{label}.*JPEG, PNG.*save it as"):
        decode_image(data, min_side=64)


def test_running_out_of_memory_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    def starve(*_: object) -> Image.Image:
        raise MemoryError

    monkeypatch.setattr(module, "_flattened", starve)
    with pytest.raises(TooLarge, match="more memory"):
        decode_image(encoded(corners()), min_side=64)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "WEBP"])
def test_thumbnails(form: str) -> None:
    data = encoded(noise(640, 300), form, comment=b"secret", exif=exif(1))
    small = Image.open(io.BytesIO(thumbnail(data, side=100)))
    assert (small.format, small.mode, small.size) == ("JPEG", "RGB", (100, 47))
    assert not {"exif", "comment", "progressive"} & small.info.keys()
    assert thumbnail(data, side=100) == thumbnail(data, side=100)


def test_thumbnails_are_upright_and_never_enlarged() -> None:
    data = encoded(corners(), "JPEG", quality=95, exif=exif(6))
    small = Image.open(io.BytesIO(thumbnail(data, side=500)))
    assert small.size == (32, 48)
    assert small.getpixel((4, 4)) == pytest.approx(BLUE, abs=24)


def test_transparent_thumbnails_are_white() -> None:
    small = Image.open(io.BytesIO(thumbnail(encoded(Image.new("RGBA", (20, 20))), side=10)))
    assert small.getpixel((5, 5)) == (255, 255, 255)
