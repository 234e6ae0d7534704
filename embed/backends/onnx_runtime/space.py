"""Exported towers, `onnx:FOLDER`: what `crossbind export` made, on ONNX Runtime, without torch.

A folder is a space of its own, named by its path. In fp32 its vectors are those of the space it
came from to 1e-4, which is near enough to rank alike and not near enough to be called the same.
Graphs run on TensorRT, CUDA or the CPU, the first that works here.

Describing one reads `crossbind.json` alone. It knows no model: graphs and recipes say all.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from embed.backends.joint import JointEncoder, JointTower
from embed.backends.onnx_runtime import folder as onnx_folder
from embed.backends.onnx_runtime.folder import Manifest
from embed.backends.tower import Encoder, FramesEncoder, ImageEncoder, Once
from embed.errors import BadInput, MissingDependency
from embed.registry import Capabilities, LoadOptions
from embed.types import Batching, Modality, Vectors
from embed.weights.folder import absolute

BATCHING = Batching(workers=1, max_batch=32)


def describe(detail: str, _: LoadOptions) -> Capabilities:
    """What the folder says of itself. Raises MissingWeights, BadInput."""
    manifest = _read(detail)
    return Capabilities(
        space=manifest.space,
        summary=f"Exported from {manifest.origin} in {manifest.precision}",
        modalities=frozenset(manifest.encoders),
        native_dims=dict(manifest.native_dims),
        preprocessing=manifest.preprocessing,
        licence=manifest.licence,
        source=manifest.source,
    )


def check(detail: str, _: LoadOptions) -> None:
    """Raises MissingWeights for a file that is gone or cut short, MissingDependency."""
    _read(detail).check_sizes()
    if importlib.util.find_spec("onnxruntime") is None:
        raise MissingDependency("ONNX Runtime is not installed: pip install 'crossbind[cpu]'")


def load(detail: str, options: LoadOptions) -> OnnxTower:
    """The tower, every file of it verified; graphs are opened on first use.

    Raises MissingWeights for a folder that is not whole, BadInput.
    """
    manifest = _read(detail)
    manifest.check_digests(options.cache)
    return OnnxTower(manifest, threads=options.threads)


class OnnxTower(JointTower):
    """Implements `embed.types.Embedder` over the graphs of a folder."""

    def __init__(self, manifest: Manifest, *, threads: int) -> None:
        self._alone = manifest.precision == "int8"
        makers = _encoders(manifest, threads)
        super().__init__(
            manifest.space,
            makers,
            joints=_joints(manifest, makers, threads),
            chunker=manifest.chunker,
            image_side=manifest.image_side,
            batching=BATCHING,
        )

    def run(self, modality: Modality, batch: Sequence[Any]) -> Vectors:
        """As any tower's; in int8 one by one, as its scales are taken over all that runs at once.

        So a vector does not depend on its neighbours there either.
        """
        if not self._alone or len(batch) < 2:
            return super().run(modality, batch)
        parts = [super(OnnxTower, self).run(modality, [one]) for one in batch]
        natives = [part.native for part in parts if part.native is not None]
        joint = np.concatenate([part.joint for part in parts])
        return Vectors(self.space, joint, np.concatenate(natives) if natives else None)


def _read(detail: str) -> Manifest:
    if not detail:
        raise BadInput("onnx: wants a folder, as in onnx:towers/clip", param="space")
    return onnx_folder.read(absolute(detail))


def _encoders(manifest: Manifest, threads: int) -> dict[Modality, Callable[[], Encoder[Any]]]:
    makers: dict[Modality, Once[Encoder[Any]]] = {}
    for modality, entry in manifest.encoders.items():
        makers[modality] = Once(_maker(entry, manifest.folder, makers, threads))
    return dict(makers)


def _joints(
    manifest: Manifest, makers: Mapping[Modality, Callable[[], Encoder[Any]]], threads: int
) -> dict[frozenset[Modality], Callable[[], JointEncoder]]:
    def maker(entry: Mapping[str, Any]) -> Callable[[], JointEncoder]:
        return lambda: _pair_encoder(entry, manifest, makers, threads)

    return {frozenset(map(Modality, entry["parts"])): maker(entry) for entry in manifest.pairs}


def _maker(
    entry: Mapping[str, Any],
    folder: Path,
    others: Mapping[Modality, Callable[[], Encoder[Any]]],
    threads: int,
) -> Callable[[], Encoder[Any]]:
    """What makes the encoder that `entry` describes. others: those of the same folder."""
    if entry["kind"] == "frames":
        return lambda: _frames(entry, others[Modality.IMAGE]())
    if entry["kind"] == "builtin-video":
        return lambda: _builtin_film(entry, folder, others[Modality.IMAGE]())
    return lambda: _graph_encoder(entry, folder, threads)


def _frames(entry: Mapping[str, Any], pictures: Encoder[Any]) -> Encoder[Any]:
    # A head on pictures takes them as an encoder of pictures does, whatever class it is.
    like = cast("ImageEncoder[Any]", pictures)
    films: FramesEncoder[Any] = FramesEncoder(like, min_side=int(entry["min_side"]))
    films.seconds, films.per_second = float(entry["seconds"]), float(entry["per_second"])
    return films


def _builtin_film(entry: Mapping[str, Any], folder: Path, pictures: Encoder[Any]) -> Encoder[Any]:
    from embed.backends.builtin import film, image  # noqa: PLC0415 (loads the runtime)

    assert isinstance(pictures, image.BuiltinImage)
    return film.BuiltinFilm(pictures, folder / entry["motions"], min_side=int(entry["min_side"]))


def _graph_encoder(entry: Mapping[str, Any], folder: Path, threads: int) -> Encoder[Any]:
    from embed.backends.onnx_runtime import encoders as onnx_encoders  # noqa: PLC0415 (loads the runtime)

    return onnx_encoders.make(entry, folder, threads)


def _pair_encoder(
    entry: Mapping[str, Any],
    manifest: Manifest,
    makers: Mapping[Modality, Callable[[], Encoder[Any]]],
    threads: int,
) -> JointEncoder:
    from embed.backends.onnx_runtime import encoders as onnx_encoders  # noqa: PLC0415 (loads the runtime)

    return onnx_encoders.make_pair(entry, manifest.folder, threads, manifest.space, makers)
