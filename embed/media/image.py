"""Pictures: bytes to upright sRGB pixels, bounded in memory, the same every time.

Pillow decodes. Its plugins are called directly rather than through `Image.open`, which would try
other formats than the one sniffed, and which warns about large pictures: warnings cannot be
silenced for one thread alone, and the limits here are our own. For the same reason Exif is read
by `metadata.py` and not by Pillow, which warns about every broken tag. What it still warns of is
odd metadata of TIFF, AVIF and APNG; what warnings become is for the process to say, and one made
into an error is answered like any other broken file.

It knows nothing of networks: `min_side` is all that they have to say here.
"""

from __future__ import annotations

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

from embed.errors import (
    CorruptMedia,
    CrossbindError,
    TooLarge,
    UnsupportedMedia,
)
from embed.media.captions import caption_of
from embed.media.metadata import ORIENTATION, Blocks, blocks_of, tags_of
from embed.media.sniff import HEAD, describe, media_type
from embed.media.source import Openers, read_source, shown
from embed.types import Media, Modality, Pixels

MAX_BYTES = 128 * 2**20
MAX_PIXELS = 300_000_000
"""Width times height in the header, whatever is decoded of it: a phone's 200 megapixels pass."""
MAX_DECODED_PIXELS = 100_000_000
"""Pixels in memory at once, four bytes each: after a JPEG's draft, all of other formats."""

_IN_HEADER = frozenset({"image/avif", "image/heic"})
"""Formats whose metadata their decoder finds, without decoding anything."""
_COLOURS = {  # by the colour model that an ICC profile names: the modes that it can speak of
    b"RGB ": frozenset({"RGB", "RGBA", "RGBX", "P", "PA"}),
    b"CMYK": frozenset({"CMYK"}),
    b"GRAY": frozenset({"L", "LA", "I;16"}),
}
_WHITE = (255, 255, 255)
_THUMBNAIL_QUALITY = 82
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


def _heic(data: BytesIO) -> ImageFile:
    from pillow_heif import HeifImageFile  # noqa: PLC0415  (an optional package)

    plugin: Callable[[BytesIO], ImageFile] = HeifImageFile
    return plugin(data)


_FORMATS: dict[str, Callable[[BytesIO], ImageFile]] = {
    "image/jpeg": _Jpeg,
    "image/png": PngImageFile,
    "image/gif": GifImageFile,
    "image/webp": WebPImageFile,
    "image/bmp": BmpImageFile,
    "image/tiff": TiffImageFile,
    "image/jp2": Jpeg2KImageFile,
    "image/avif": AvifImageFile,
    "image/heic": _heic,
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


def open_image(data: bytes, called: str) -> Openers:
    """A picture, and what it says of itself where that is anything. Never fails: decoding may."""
    caption = caption_of(_blocks(data))

    def picture(image_side: int) -> Media:
        return decode_image(data, min_side=image_side, name=called)

    def words(_: int) -> Media:
        return Media(Modality.TEXT, caption, source=called)

    return {Modality.IMAGE: picture, Modality.TEXT: words} if caption else {Modality.IMAGE: picture}


def _blocks(data: bytes) -> Blocks:
    kind = media_type(data[:HEAD])
    if kind not in _IN_HEADER:
        return blocks_of(data, kind)
    try:
        info = _FORMATS[kind](BytesIO(data)).info
    except Exception:  # noqa: BLE001  the one who decodes it will say what is wrong
        return Blocks()
    return Blocks(exif=info.get("exif") or b"", xmp=info.get("xmp") or b"")


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
    turn = _UPRIGHT.get(tags_of(picture.info.get("exif") or b"").number(ORIENTATION) or 1)
    small = _small(picture, min_side)
    return small if turn is None else small.transpose(turn)


def _opened(data: bytes, called: str) -> ImageFile:
    """The picture with its header read."""
    head = data[:HEAD]
    plugin = _FORMATS.get(media_type(head))
    if plugin is None:
        raise UnsupportedMedia(
            f"{called} looks like {describe(head)}; pictures are read from JPEG, PNG, GIF, WebP, "
            "BMP, TIFF, JPEG 2000, AVIF and HEIC: save it as one of these"
        )
    try:
        return plugin(BytesIO(data))
    except ImportError as error:
        raise UnsupportedMedia(
            f"{called} is {describe(head)}, which takes another package to read: "
            "pip install 'crossbind[heic]'"
        ) from error


def _check_pixels(size: tuple[int, int], limit: int, called: str) -> None:
    width, height = size
    if width * height > limit:
        raise TooLarge(
            f"{called} is {width:,} x {height:,} pixels, {width * height:,} in all; at most "
            f"{limit:,} are decoded from a file of its kind: make it smaller"
        )


def _small(picture: ImageFile, min_side: int) -> Image.Image:
    """RGB in sRGB's colours, averaged down."""
    profile = picture.info.get("icc_profile") or b""
    model = profile[16:20]  # ICC.1:2010, 7.2
    if picture.mode not in _COLOURS.get(model, ()):
        return _reduced(_flattened(picture), min_side)
    if model == b"CMYK":
        return _in_srgb(_reduced(picture, min_side), profile)
    small = _reduced(_flattened(picture), min_side)
    return _in_srgb(small.getchannel(0) if model == b"GRAY" else small, profile)


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
    """RGB, converted by an embedded ICC profile; a broken one is ignored."""
    try:
        given = ImageCms.ImageCmsProfile(BytesIO(profile))
        if "sRGB" not in ImageCms.getProfileDescription(given):
            srgb = ImageCms.createProfile("sRGB")
            picture = ImageCms.profileToProfile(picture, given, srgb, outputMode="RGB") or picture
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        pass
    return picture.convert("RGB")
