"""From a config to a space that finds: trained from nothing, opened by name, and measured.

Texts are the anchor: pictures and sounds only ever met texts, and must find each other. All four
modalities, and higher bars, are the business of benchmarks/scenes.py.
"""

from __future__ import annotations

import tomllib
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from embed import registry
from embed.errors import NotFound
from embed.registry import LoadOptions
from embed.training.config import config_of, read
from embed.training.data.source import open_source
from embed.training.objective import ObjectiveConfig
from embed.training.parts import part_specs
from embed.training.run import train
from embed.training.scenes.world import Scenes
from embed.types import Embedder, Floats, Modality

LEARNT = (Modality.TEXT, Modality.IMAGE, Modality.AUDIO)
CONFIGS = Path(__file__).parents[3] / "docs" / "training"
GALLERY = 200


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_example_configs_say_what_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = read(path)
    specs = part_specs(config.model)
    assert ObjectiveConfig.of(config.objective).objective(specs).pairs
    assert path.read_text().startswith(f"# crossbind train docs/training/{path.name}\n")
    monkeypatch.chdir(path.parent)  # where none of the data is
    if config.data["kind"] == "scenes":
        assert len(open_source(config.data)) == config.data["count"]
    else:
        with pytest.raises(NotFound):  # every key is known
            open_source(config.data)


def _vectors(space: Embedder, scenes: Scenes) -> dict[Modality, Floats]:
    records = [scenes[i] for i in range(len(scenes))]
    return {
        modality: np.concatenate(
            [
                space.embed(
                    [record.media[modality][0] for record in records[first : first + 50]]
                ).joint
                for first in range(0, len(records), 50)
            ]
        )
        for modality in LEARNT
    }


def test_what_never_met_finds_each_other(tmp_path: Path) -> None:
    document = tomllib.loads((CONFIGS / "scenes.toml").read_text())
    document["run"] |= {"out": str(tmp_path / "run"), "steps": 120, "held_out": 100}
    document["data"] |= {"count": 2_400, "views": 1, "modalities": list(LEARNT)}
    del document["model"]["video"]
    document["objective"] = {"pairs": "star:text"}
    options = LoadOptions(cache=tmp_path / "cache", threads=1, offline=True)
    summary = train(config_of(document), lambda _: None, options=options)
    space = registry.load(summary.space, options)
    assert space.modalities >= frozenset(LEARNT)
    vectors = _vectors(space, Scenes(GALLERY, seed=100, modalities=LEARNT))
    rows = np.arange(GALLERY)
    found = {
        (asked, wanted): float(((vectors[asked] @ vectors[wanted].T).argmax(axis=1) == rows).mean())
        for asked, wanted in permutations(LEARNT, 2)
    }
    trained = [r1 for pair, r1 in found.items() if Modality.TEXT in pair]
    emergent = [r1 for pair, r1 in found.items() if Modality.TEXT not in pair]
    assert min(trained) > 0.5, found
    assert min(emergent) > 0.3, found
    assert min(summary.recall.values()) > 0.3
