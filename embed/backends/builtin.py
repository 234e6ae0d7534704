"""The built-in space: texts and pictures in 384 dimensions, offline, on ONNX Runtime.

The sentence space of all-MiniLM-L6-v2, with pictures bound into it (see `builtin_text` and
`builtin_image` for the maths). Weights come from installed packages; their ONNX graphs are made
once, in the cache, by a process of its own (`export`). Each half loads when it is first needed, so
that a text search pays for text alone. Describing the space imports no runtime.
"""

from __future__ import annotations

import importlib.util
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

import embed
from embed.errors import (
    BadInput,
    MissingDependency,
    MissingWeights,
    NotFound,
    StorageFull,
    UnsupportedModality,
)
from embed.registry import Capabilities, LoadOptions
from embed.types import Media, Modality, Pixels, Space, Span, Vectors
from embed.weights import store

if TYPE_CHECKING:
    from embed.backends.builtin_image import ImageTower
    from embed.backends.builtin_text import TextTower

log = logging.getLogger(__name__)

EXPORT_VERSION = "1"  # raise it when export.py writes another graph
PREPROCESSING = "wordpiece256; rgb resize256 bicubic crop224; conse"
CHUNKER = "wordpiece-200-40"
MODALITIES = frozenset({Modality.TEXT, Modality.IMAGE})

TOKENIZER = "minilm-l6-v2-tokenizer"
PROTOTYPES = "imagenet-prototypes"
SOURCES = {
    "text": ["minilm-l6-v2-config", "minilm-l6-v2"],
    "image": ["efficientnet-lite0"],
}
EXPORT_NEEDS = {
    "torch": "torch",
    "transformers": "transformers",
    "onnx": "onnx",
    "onnxscript": "onnxscript",
    "safetensors": "safetensors",
    "efficientnet_lite_pytorch": "efficientnet-lite-pytorch",
}

T = TypeVar("T")


def describe(detail: str) -> Capabilities:
    """What the built-in space can do; reads only the manifest. Raises NotFound for a detail."""
    _refuse_detail(detail)
    return Capabilities(
        space=_space(),
        summary="Texts and pictures, offline, on the CPU; no download",
        modalities=MODALITIES,
        native_dims={Modality.IMAGE: 1280},
        preprocessing=PREPROCESSING,
        licence="Apache-2.0; prototypes under the WordNet 3.0 licence, class names MIT",
        source="all-MiniLM-L6-v2; EfficientNet-Lite0; WordNet 3.0 class prototypes (ConSE)",
    )


def check(detail: str) -> None:
    """Raises MissingWeights or MissingDependency when the space cannot work here."""
    _refuse_detail(detail)
    for name in _weights():
        store.locate(name)
    if importlib.util.find_spec("onnxruntime") is None:
        raise MissingDependency("ONNX Runtime is not installed: pip install 'crossbind[cpu]'")


def load(detail: str, options: LoadOptions) -> Builtin:
    """The built-in embedder. Raises NotFound for a detail; weights load on first use."""
    _refuse_detail(detail)
    return Builtin(options)


class Builtin:
    """Implements `embed.types.Embedder`; its vectors have a native part for pictures."""

    def __init__(self, options: LoadOptions) -> None:
        self._options = options
        self._space = _space()
        self._text = _Once(self._open_text)
        self._image = _Once(self._open_image)

    @property
    def space(self) -> Space:
        return self._space

    @property
    def modalities(self) -> frozenset[Modality]:
        return MODALITIES

    @property
    def chunker(self) -> str:
        return CHUNKER

    @property
    def image_side(self) -> int:
        return 256

    def fragment(self, media: Media) -> Iterator[tuple[Span | None, Media]]:
        """A picture, or a text of at most 256 tokens, is one piece; longer texts overlap."""
        if media.modality is not Modality.TEXT:
            yield None, media
            return
        text = _text_of(media)
        for span in self._text().spans(text):
            piece = media if span is None else replace(media, data=text[span.start : span.end])
            yield span, piece

    def embed(self, batch: Sequence[Media]) -> Vectors:
        """N texts or N pictures to unit vectors; pictures have native ones, `(N, 1280)`, too.

        Raises BadInput for an empty or mixed batch, a text without words or pixels of another
        shape; TooLarge for a text over 256 tokens (`fragment` cuts it); UnsupportedModality;
        MissingWeights or MissingDependency when a half cannot be loaded.
        """
        modality = _modality_of(batch)
        if modality is Modality.TEXT:
            return Vectors(self._space, self._text().embed([_text_of(media) for media in batch]))
        joint, native = self._image().embed([_pixels_of(media) for media in batch])
        return Vectors(self._space, joint, native)

    def count_tokens(self, text: str) -> int:
        """Tokens of `text` as the model reads it, its two special ones included."""
        return self._text().count_tokens(text)

    def warm(self) -> None:
        """Loads both halves, making their graphs when the cache has none."""
        self._text()
        self._image()

    def _open_text(self) -> TextTower:
        from embed.backends.builtin_text import TextTower  # noqa: PLC0415 (loads the runtime)

        graph = self._graph("text")
        return TextTower(graph, store.find(TOKENIZER), self._options.threads)

    def _open_image(self) -> ImageTower:
        from embed.backends.builtin_image import ImageTower  # noqa: PLC0415 (loads the runtime)

        graph = self._graph("image")
        return ImageTower(graph, store.find(PROTOTYPES))

    def _graph(self, half: str) -> Path:
        key = store.fingerprint(SOURCES[half], EXPORT_VERSION)
        folder = store.derived(
            self._options.cache, f"builtin-{half}", key, lambda out: _export(half, out)
        )
        return folder / f"{half}.onnx"


class _Once(Generic[T]):
    """Calls `make` on first use, once even among threads; a failure is tried again next time."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._value: T | None = None

    def __call__(self) -> T:
        if self._value is None:
            with self._lock:
                if self._value is None:
                    self._value = self._make()
        return self._value


def _weights() -> list[str]:
    return [*SOURCES["text"], TOKENIZER, *SOURCES["image"], PROTOTYPES]


def _space() -> Space:
    return Space(
        name="builtin",
        revision=store.fingerprint(_weights())[:12],
        preprocessing=PREPROCESSING,
        precision="fp32",
        dim=384,
    )


def _refuse_detail(detail: str) -> None:
    if detail:
        raise NotFound(
            f"the built-in space has no variant {detail!r}; the only choice is: builtin",
            param="space",
        )


def _modality_of(batch: Sequence[Media]) -> Modality:
    found = sorted({media.modality for media in batch})
    for modality in found:
        if modality not in MODALITIES:
            raise UnsupportedModality(
                f"the built-in space embeds {' and '.join(sorted(MODALITIES))}, not {modality}"
            )
    if len(found) != 1:
        raise BadInput(f"a batch holds media of one modality, not {', '.join(found) or 'none'}")
    return found[0]


def _text_of(media: Media) -> str:
    if not isinstance(media.data, str):
        raise BadInput(f"a text medium holds a str, not {type(media.data).__name__}")
    return media.data


def _pixels_of(media: Media) -> Pixels:
    if isinstance(media.data, str):
        raise BadInput("a picture is (H, W, 3) uint8 pixels, not a str: decode the file first")
    return media.data


def _export(half: str, folder: Path) -> None:
    """Fills `folder` with the graph of one half, made by a process of its own."""
    sources = [store.find(name) for name in SOURCES[half]]
    missing = [
        name for module, name in EXPORT_NEEDS.items() if not importlib.util.find_spec(module)
    ]
    if missing:
        raise MissingDependency(
            f"preparing the built-in space needs: pip install {' '.join(missing)}"
        )
    log.info("preparing the %s half of the built-in space (once, about 10 s)", half)
    arguments = [sys.executable, "-W", "ignore", "-m", "embed.backends.export", half, str(folder)]
    home = Path(embed.__file__).parents[1]  # where the child finds this very package
    done = subprocess.run(  # noqa: S603 (our own program, our own paths)
        [*arguments, *map(str, sources)],
        cwd=home,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode == 0:
        return
    if "No space left on device" in done.stderr:
        raise StorageFull(f"no space left in {folder.parent} to prepare the built-in space")
    raise MissingWeights(
        f"preparing the {half} half of the built-in space failed with status {done.returncode}: "
        f"{done.stderr.strip()[-2000:]}"
    )
