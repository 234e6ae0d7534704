"""The built-in space: texts, pictures and films in 384 dimensions, offline, on ONNX Runtime.

The sentence space of all-MiniLM-L6-v2, with pictures bound into it (see `text` and
`image` for the maths); a film is the mean of its frames. It has no ear yet.
Weights come from installed packages; their ONNX graphs are made once, in the cache, by a process
of its own (`export`). Each half loads when it is first needed, so that a text search pays for text
alone. Describing the space imports no runtime.
"""

from __future__ import annotations

import importlib.util
import logging
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import embed
from embed.backends.tower import FramesEncoder, Once, Tower
from embed.errors import MissingDependency, MissingWeights, NotFound, StorageFull
from embed.registry import Capabilities, LoadOptions
from embed.types import Batching, Modality, Space
from embed.weights import store

if TYPE_CHECKING:
    from embed.backends.builtin.image import BuiltinImage
    from embed.backends.builtin.text import BuiltinText

log = logging.getLogger(__name__)

EXPORT_VERSION = "1"  # raise it when export.py writes another graph
PREPROCESSING = "wordpiece256; rgb resize256 bicubic crop224; conse"
CHUNKER = "wordpiece-200-40; shots 10 s, 1 frame/s"
MODALITIES = frozenset({Modality.TEXT, Modality.IMAGE, Modality.VIDEO})
IMAGE_SIDE = 256

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


def describe(detail: str, _: LoadOptions) -> Capabilities:
    """What the built-in space can do; reads only the manifest. Raises NotFound for a detail."""
    _refuse_detail(detail)
    return Capabilities(
        space=_space(),
        summary="Texts, pictures and films, offline, on the CPU; no download",
        modalities=MODALITIES,
        native_dims={Modality.IMAGE: 1280, Modality.VIDEO: 1280},
        preprocessing=PREPROCESSING,
        licence="Apache-2.0; prototypes under the WordNet 3.0 licence, class names MIT",
        source="all-MiniLM-L6-v2; EfficientNet-Lite0; WordNet 3.0 class prototypes (ConSE)",
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
    """Its vectors have a native part, `(N, 1280)`, for pictures and films."""

    def __init__(self, options: LoadOptions) -> None:
        self._options = options
        image = Once(self._open_image)
        super().__init__(
            _space(),
            {
                Modality.TEXT: self._open_text,
                Modality.IMAGE: image,
                Modality.VIDEO: lambda: FramesEncoder(image(), min_side=IMAGE_SIDE),
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
        return BuiltinImage(graph, store.find(PROTOTYPES))

    def graph(self, half: str) -> Path:
        """Where the ONNX file of "text" or "image" lies, made if need be."""
        key = store.fingerprint(SOURCES[half], EXPORT_VERSION)
        folder = store.derived(
            self._options.cache, f"builtin-{half}", key, lambda out: _export(half, out)
        )
        return folder / f"{half}.onnx"


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
