"""Writes what each encoder of a tower needs into a folder: graphs, tokenizers, recipes.

Its `encoders` are the entries of `crossbind.json` that `encoders` reads. The built-in space
runs on ONNX already: its graphs are copied, or brought to another precision.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from embed.backends import recipes
from embed.backends.builtin import space as builtin
from embed.backends.joint import JointEncoder, JointTower
from embed.backends.onnx_runtime.graph import convert, write_graph
from embed.backends.recipe_encoders import WordsEncoder
from embed.backends.recipes import Network, TextRecipe
from embed.backends.tower import Encoder, FramesEncoder, Tower
from embed.backends.trained.encoders import Headed
from embed.errors import NotAvailable, StorageFull
from embed.types import Modality
from embed.weights import store

log = logging.getLogger(__name__)

COPIES = 3  # of the weights that lie on the disk at once: traced, simplified, converted
SPARE = 64 << 20


_BESIDE = {  # what a half of the built-in space needs beside its graph
    Modality.TEXT: [("tokenizer", "tokenizer.json", builtin.TOKENIZER)],
    Modality.IMAGE: [
        ("prototypes", "prototypes.npy", builtin.PROTOTYPES),
        ("clothes", "clothes.npz", builtin.CLOTHES),
    ],
    Modality.VIDEO: [("motions", "motions.npz", builtin.MOTIONS)],
}


class Writer:
    """Fills `folder`, one modality at a time; films after pictures, pairs of media last."""

    def __init__(self, tower: Tower, folder: Path, precision: str) -> None:
        self.folder = folder
        self.encoders: dict[Modality, dict[str, Any]] = {}
        self.pairs: list[dict[str, Any]] = []
        self.gaps: dict[str, float] = {}
        self.left_out: list[str] = []
        self._tower = tower
        self._precision = precision

    def add(self, modality: Modality) -> None:
        """Raises BackendFailed, StorageFull, and what the encoder raises when it is loaded."""
        entry = self._entry(self._tower, modality)
        if entry is None:
            self.left_out.append(modality)
        else:
            self.encoders[modality] = entry

    def add_pairs(self) -> None:
        """What the tower reads together; not in int8, whose loss nothing measures for them.

        Raises what `add` raises.
        """
        tower = self._tower
        if not isinstance(tower, JointTower):
            return
        for together in tower.joint:
            encoder = tower.joint_encoder(together)
            name = "+".join(modality for modality in Modality if modality in together)
            network = _network_of(encoder) if together <= self.encoders.keys() else None
            if network is None or self._precision == "int8":
                self.left_out.append(name)
                continue
            entry = self._network(name, network)
            if encoder.space.id != tower.space.id:  # vectors of a space of their own
                entry |= {"apart": name, "dim": encoder.space.dim}
            self.pairs.append(entry)

    def _entry(self, tower: Tower, modality: Modality) -> dict[str, Any] | None:
        encoder = tower.encoder(modality)
        if isinstance(encoder, FramesEncoder):
            return self._frames(encoder)
        if isinstance(encoder, Headed):
            return self._headed(modality, encoder)
        if isinstance(tower, builtin.Builtin):
            return self._builtin(modality, tower)
        network = _network_of(encoder)
        return self._graph_of(modality, encoder, network) if network else None

    def _headed(self, modality: Modality, encoder: Headed) -> dict[str, Any] | None:
        """The tower under the head, and the head beside it."""
        tower = encoder.tower
        # Films of a locked tower would want its pictures too, and those may have another head here.
        if not isinstance(tower, Tower) or modality is Modality.VIDEO:
            return None
        entry = self._entry(tower, modality)
        if entry is None:
            return None
        headed = {
            "kind": "headed",
            "modality": modality.value,
            "like": entry,
            "reads": encoder.reads,
            "dim": tower.space.dim,
        }
        if encoder.head is None:
            return headed
        name = f"{modality}-head.safetensors"
        shutil.copyfile(encoder.head.file.path, self.folder / name)
        file = {"head": name, "sha256": encoder.head.file.sha256, "dims": list(encoder.head.dims)}
        return {**headed, **file, "residual": encoder.residual}

    def _frames(self, films: FramesEncoder[Any]) -> dict[str, Any] | None:
        if Modality.IMAGE not in self.encoders:
            return None
        numbers = {"seconds": films.seconds, "per_second": films.per_second}
        return {"kind": "frames", "min_side": films.min_side, **numbers}

    def _graph_of(
        self, modality: Modality, encoder: Encoder[Any], network: Network
    ) -> dict[str, Any]:
        entry, recipe = self._network(modality, network), network.recipe
        if isinstance(recipe, TextRecipe):
            assert isinstance(encoder, WordsEncoder)
            recipe = replace(recipe, tokenizer="tokenizer.json")
            encoder.words.save(self.folder / recipe.tokenizer)
        return {**entry, "recipe": recipes.to_json(recipe)} if recipe else entry

    def _network(self, name: str, network: Network) -> dict[str, Any]:
        log.info("exporting %s in %s", name, self._precision)
        weights = sum(value.nbytes for value in network.module.state_dict().values())
        self._make_sure_of(COPIES * weights)
        graph = self.folder / f"{name}.onnx"
        with tempfile.TemporaryDirectory(dir=self.folder.parent) as work:
            self.gaps[name] = write_graph(network, graph, Path(work), precision=self._precision)
        return {
            "kind": network.kind,
            "graph": graph.name,
            "inputs": list(network.inputs),
            "outputs": list(network.outputs),
            **network.numbers,
        }

    def _builtin(self, modality: Modality, tower: builtin.Builtin) -> dict[str, Any] | None:
        entry: dict[str, Any] = {"kind": f"builtin-{modality}"}
        if modality is Modality.VIDEO:  # the network of the pictures reads its frames
            if Modality.IMAGE not in self.encoders:
                return None
            entry["min_side"] = builtin.IMAGE_SIDE
        else:
            graph = tower.graph(modality)
            self._make_sure_of(COPIES * graph.stat().st_size)
            convert(graph, self.folder / graph.name, precision=self._precision)
            entry["graph"] = graph.name
        for beside, name, weights in _BESIDE.get(modality, ()):
            shutil.copyfile(store.find(weights), self.folder / name)
            entry[beside] = name
        return entry

    def _make_sure_of(self, wanted: int) -> None:
        free, needed = shutil.disk_usage(self.folder).free, wanted + SPARE
        if free < needed:
            raise StorageFull(
                f"exporting needs some {needed >> 20} MiB for a while and {free >> 20} are free: "
                "free some, or name a folder on another disk"
            )


def _network_of(encoder: Encoder[Any] | JointEncoder) -> Network | None:
    """None for an encoder that has no network to give, or more around it than a recipe."""
    offer: Callable[[], Network] | None = getattr(encoder, "network", None)
    try:
        return offer() if offer else None
    except NotAvailable:
        return None
