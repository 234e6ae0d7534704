"""Pictures: bytes to upright sRGB pixels, bounded in memory, the same every time.

Pillow decodes. Its plugins are called directly rather than through `Image.open`, which would try
other formats than the one sniffed, and which warns about large pictures: warnings cannot be
silenced for one thread alone, and the limits here are our own. For the same reason Exif is read
by a few lines of ours (orientation is all that matters) and not by Pillow, which warns about every
broken tag. What it still warns of is odd metadata of TIFF, AVIF and APNG; what warnings become is
for the process to say, and one made into an error is answered like any other broken file.

It knows nothing of networks: `min_side` is all that they have to say here.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from embed.errors import CorruptMedia, CrossbindError, TooLarge, UnsupportedMedia
from embed.media.sniff import HEAD, describe, media_type
from embed.media.source import read_source, shown
from embed.types import Media, Modality, Pixels

MAX_BYTES = 128 * 2**20
MAX_PIXELS = 300_000_000
"""Width times height in the header, whatever is decoded of it: a phone's 200 megapixels pass."""
MAX_DECODED_PIXELS = 100_000_000
"""Pixels in memory at once, four bytes each: after a JPEG's draft, all of other formats."""

_RGB_MODES = frozenset({"RGB", "RGBA", "RGBX", "P", "PA"})
_WHITE = (255, 255, 255)
_THUMBNAIL_QUALITY = 82
_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class _Jpeg(JpegImageFile):
    """A JPEG whose Exif Pillow does not parse: it would only look for a resolution there."""

    def getexif(self) -> Image.Exif:
        return Image.Exif()


_FORMATS: dict[str, Callable[[BytesIO], ImageFile]] = {
    "image/jpeg": _Jpeg,
    "image/png": PngImageFile,
    "image/gif": GifImageFile,
    "image/webp": WebPImageFile,
    "image/bmp": BmpImageFile,
    "image/tiff": TiffImageFile,
    "image/jp2": Jpeg2KImageFile,
    "image/avif": AvifImageFile,
}


def decode_image(source: Path | bytes, *, min_side: int, name: str | None = None) -> Media:
    """A picture as `(H, W, 3)` uint8, C-contiguous, upright, sRGB, transparency on white.

    Of an animation or a stack of pages the first one. 16-bit samples keep their high byte; wider
    ones, which have no white of their own, are stretched from their darkest to their brightest.

    min_side: a floor in pixels. A picture whose shorter side is over twice that comes back
        smaller, its shorter side never below `min_side`, so that queues hold little: JPEGs by a
        power of two while decoding (which is what makes it fast), then all by averaging whole
        blocks while the shorter side stays at least `2 * min_side`. Smaller pictures keep their
        pixels.
    name: what messages call it, by default its path.
    Raises CorruptMedia, UnsupportedMedia, TooLarge, and what `read_source` raises.
    """
    called = shown(source, name)
    data = read_source(source, called, lambda _: MAX_BYTES)
    with _refusing(called):
        pixels: Pixels = np.array(_decoded(data, min_side, called))
    return Media(Modality.IMAGE, pixels, source=called)


def thumbnail(source: Path | bytes, *, side: int) -> bytes:
    """A small JPEG of a picture, upright, on white, its longer side at most `side` pixels.

    Smaller pictures are not enlarged. Carries no metadata. Raises what `decode_image` raises.
    """
    called = shown(source)
    data = read_source(source, called, lambda _: MAX_BYTES)
    with _refusing(called):
        picture = _decoded(data, side, called)
        picture.info.clear()
        picture.thumbnail((side, side))
        encoded = BytesIO()
        picture.save(encoded, "JPEG", quality=_THUMBNAIL_QUALITY)
    return encoded.getvalue()


@contextmanager
def _refusing(called: str) -> Iterator[None]:
    """The one place where what Pillow raises becomes ours."""
    try:
        yield
    except CrossbindError:
        raise
    except (MemoryError, Image.DecompressionBombError) as error:
        raise TooLarge(f"{called} needs more memory than is allowed: {error}") from error
    except Exception as error:
        # Broken files take decoders to every kind of exception, documented or not.
        reason = str(error) or type(error).__name__
        raise CorruptMedia(
            f"{called} is no picture that can be decoded: {reason}; it is damaged, incomplete or "
            "of a rare kind: save it anew as JPEG or PNG"
        ) from error


def _decoded(data: bytes, min_side: int, called: str) -> Image.Image:
    picture = _opened(data, called)
    whole = picture.size
    _check_pixels(whole, MAX_PIXELS, called)
    picture.draft(None, (min_side, min_side))  # a square, so that orientation does not matter
    # A progressive JPEG's coefficients are held whole, however small it is drawn.
    held = whole if "progressive" in picture.info else picture.size
    _check_pixels(held, MAX_DECODED_PIXELS, called)
    picture.load()
    exif, profile = picture.info.get("exif", b""), picture.info.get("icc_profile", b"")
    in_rgb = picture.mode in _RGB_MODES
    small = _reduced(_flattened(picture), min_side)
    if profile and in_rgb:
        small = _in_srgb(small, profile)
    turn = _UPRIGHT.get(_orientation(exif))
    return small if turn is None else small.transpose(turn)


def _opened(data: bytes, called: str) -> ImageFile:
    """The picture with its header read."""
    head = data[:HEAD]
    plugin = _FORMATS.get(media_type(head))
    if plugin is None:
        raise UnsupportedMedia(
            f"{called} looks like {describe(head)}; pictures are read from JPEG, PNG, GIF, WebP, "
            "BMP, TIFF, JPEG 2000 and AVIF: save it as one of these"
        )
    return plugin(BytesIO(data))


def _check_pixels(size: tuple[int, int], limit: int, called: str) -> None:
    width, height = size
    if width * height > limit:
        raise TooLarge(
            f"{called} is {width:,} x {height:,} pixels, {width * height:,} in all; at most "
            f"{limit:,} are decoded from a file of its kind: make it smaller"
        )


def _flattened(picture: Image.Image) -> Image.Image:
    """Any mode to RGB without transparency."""
    if picture.mode.startswith(("I", "F")):
        return Image.fromarray(_eight_bit(np.asarray(picture))).convert("RGB")
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    layer = picture.convert("RGBA")
    canvas = Image.new("RGB", layer.size, _WHITE)
    canvas.paste(layer, mask=layer)
    return canvas


def _eight_bit(samples: NDArray[Any]) -> Pixels:
    """Grey samples wider than a byte: 16-bit ones by their high byte, wider ones stretched."""
    if samples.dtype.itemsize == 2:
        high: Pixels = (samples >> 8).astype(np.uint8)
        return high
    finite = np.nan_to_num(samples.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    low, peak = float(finite.min()), float(finite.max())
    scaled: Pixels = np.rint((finite - low) / ((peak - low) or 1.0) * 255.0).astype(np.uint8)
    return scaled


def _reduced(picture: Image.Image, min_side: int) -> Image.Image:
    factor = min(picture.size) // (2 * min_side)
    return picture.reduce(factor) if factor > 1 else picture


def _in_srgb(picture: Image.Image, profile: bytes) -> Image.Image:
    """Colours converted from an embedded ICC profile; a broken one is ignored."""
    try:
        given = ImageCms.ImageCmsProfile(BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(given):
            return picture
        srgb = ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(picture, given, srgb, outputMode="RGB") or picture
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return picture


def _orientation(exif: bytes) -> int:
    """The Exif orientation, 1 to 8; 1 where none can be read (Exif 2.32, 4.6.2 and 4.6.4)."""
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, start)
        for entry in range(count):
            tag, value = struct.unpack_from(f"{order}H6xH", tiff, start + 2 + 12 * entry)
            if tag == _ORIENTATION_TAG:
                return int(value)
    except struct.error:  # cut short: what it says of orientation is lost
        pass
    return 1
