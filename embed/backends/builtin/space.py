"""The built-in space: texts, pictures, sounds and films in 384 dimensions, offline.

The sentence space of all-MiniLM-L6-v2, with pictures and sounds bound into it (see `text`, `image`
and `audio` for the maths); a film is the mean of its frames and what moves in it (`film`). It
runs on ONNX Runtime.
Weights come from installed packages; their ONNX graphs are made once, in the cache, by a process
of its own (`export`); the network for sounds is ours, and comes as a graph. Each half loads when
it is first needed, so that a text search pays for text alone. Describing the space imports no
runtime.
"""

from __future__ import annotations

import importlib.util
import logging
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import embed
from embed.backends.tower import Once, Tower
from embed.errors import MissingDependency, MissingWeights, NotFound, StorageFull
from embed.registry import Capabilities, LoadOptions
from embed.types import Batching, Modality, Space
from embed.weights import store

if TYPE_CHECKING:
    from embed.backends.builtin.audio import BuiltinAudio
    from embed.backends.builtin.film import BuiltinFilm
    from embed.backends.builtin.image import BuiltinImage
    from embed.backends.builtin.text import BuiltinText

log = logging.getLogger(__name__)

EXPORT_VERSION = "1"  # raise it when export.py writes another graph
PREPROCESSING = (
    "wordpiece256; rgb resize256 bicubic crop224; log-mel 16 kHz 64 bands 5.12 s; "
    "conse, clothes; block motion 4/s"
)
CHUNKER = "wordpiece-200-40; clips 5.12 s; shots 10 s, 4 frames/s"
MODALITIES = frozenset({Modality.TEXT, Modality.IMAGE, Modality.AUDIO, Modality.VIDEO})
IMAGE_SIDE = 256

TOKENIZER = "minilm-l6-v2-tokenizer"
PROTOTYPES = "imagenet-prototypes"
CLOTHES = "clothes-head"
MOTIONS = "film-motions"
EAR = "builtin-ear"
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


def describe(detail: str, _: LoadOptions) -> Capabilities:
    """What the built-in space can do; reads only the manifest. Raises NotFound for a detail."""
    _refuse_detail(detail)
    return Capabilities(
        space=_space(),
        summary="Texts, pictures, sounds and films, offline, on the CPU; no download",
        modalities=MODALITIES,
        native_dims={Modality.IMAGE: 1280, Modality.AUDIO: 128, Modality.VIDEO: 1280},
        preprocessing=PREPROCESSING,
        licence=(
            "Apache-2.0; prototypes under the WordNet 3.0 licence, class names MIT; the ear learnt "
            "from CC BY 3.0 recordings, credited in embed/weights/heads/ESC10_CREDITS.txt"
        ),
        source=(
            "all-MiniLM-L6-v2; EfficientNet-Lite0; WordNet 3.0 class prototypes (ConSE); "
            "our own ear, from ESC-10 and rendered sounds"
        ),
    )


def check(detail: str, _: LoadOptions) -> None:
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


class Builtin(Tower):
    """Its vectors have a native part: `(N, 1280)` of pictures and films, `(N, 128)` of sounds."""

    def __init__(self, options: LoadOptions) -> None:
        self._options = options
        image = Once(self._open_image)
        super().__init__(
            _space(),
            {
                Modality.TEXT: self._open_text,
                Modality.IMAGE: image,
                Modality.AUDIO: self._open_audio,
                Modality.VIDEO: lambda: self._open_film(image()),
            },
            chunker=CHUNKER,
            image_side=IMAGE_SIDE,
            batching=Batching(workers=options.threads, max_batch=16),
        )

    def _open_text(self) -> BuiltinText:
        from embed.backends.builtin.text import BuiltinText  # noqa: PLC0415 (loads the runtime)

        graph = self.graph("text")
        return BuiltinText(graph, store.find(TOKENIZER), self._options.threads)

    def _open_image(self) -> BuiltinImage:
        from embed.backends.builtin.image import BuiltinImage  # noqa: PLC0415 (loads the runtime)

        graph = self.graph("image")
        return BuiltinImage(graph, store.find(PROTOTYPES), store.find(CLOTHES))

    def _open_film(self, image: BuiltinImage) -> BuiltinFilm:
        from embed.backends.builtin.film import BuiltinFilm  # noqa: PLC0415 (loads the runtime)

        return BuiltinFilm(image, store.find(MOTIONS), min_side=IMAGE_SIDE)

    def _open_audio(self) -> BuiltinAudio:
        from embed.backends.builtin.audio import BuiltinAudio  # noqa: PLC0415 (loads the runtime)

        return BuiltinAudio(self.graph("audio"))

    def graph(self, half: str) -> Path:
        """Where the ONNX file of "text", "image" or "audio" lies, made if need be."""
        if half == "audio":
            return store.find(EAR)
        key = store.fingerprint(SOURCES[half], EXPORT_VERSION)
        folder = store.derived(
            self._options.cache, f"builtin-{half}", key, lambda out: _export(half, out)
        )
        return folder / f"{half}.onnx"


def _weights() -> list[str]:
    return [*SOURCES["text"], TOKENIZER, *SOURCES["image"], PROTOTYPES, CLOTHES, MOTIONS, EAR]


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
    arguments = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "embed.backends.builtin.export",
        half,
        str(folder),
    ]
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
