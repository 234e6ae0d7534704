from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from embed.errors import BadInput, NotFound
from embed.training.config import config_of, read

WHOLE = """
[run]
out = "runs/one"
steps = 100
precision = "bf16"

[data]
kind = "scenes"
modalities = ["image", "text"]

[model.image]
network = "convnet"

[optimiser]
lr = 1
rates = { "limbs.image" = 0.1 }
"""


def test_a_config_is_read_and_spelt_out(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(WHOLE)
    config = read(path)
    assert config.run.out == Path("runs/one")
    assert config.run.batch == 256
    assert config.optimiser.lr == 1.0
    assert config.model == {"image": {"network": "convnet"}}
    plain = config.plain()
    assert json.loads(json.dumps(plain)) == plain
    assert plain["run"]["keep"] == 3
    assert plain["data"]["modalities"] == ["image", "text"]


@pytest.mark.parametrize(
    ("run", "said"),
    [
        ({"stepz": 3}, r"no key 'stepz'; the keys are: out, seed, steps.*Did you mean 'steps'"),
        ({"steps": 1.5}, "steps is 1.5; a whole number is wanted"),
        ({"steps": True}, "steps is True; a whole number is wanted"),
        ({"precision": "fp8"}, "precision is 'fp8'; the choices are: fp32, bf16"),
        ({"batch": 1}, "batch is 1; at least 2 is wanted"),
        ({"augment": "yes"}, "augment is 'yes'; true or false is wanted"),
        ({"epochs": 2}, "steps = 1000 or epochs = 10, one of the two"),
        ({"cache": 100}, "cache keeps media as they were first prepared: it goes with augment = f"),
        ({"out": 3}, "out is 3; a path is wanted"),
        ({"seed": 2**80}, r"less than 2\^63 is wanted"),
    ],
)
def test_a_mistake_is_named_with_the_choices(run: dict[str, object], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        config_of({"run": {"out": "x", "steps": 1} | run})


def test_what_is_missing_or_strange_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"\[run\] lacks out"):
        config_of({"run": {"steps": 1}})
    with pytest.raises(BadInput, match=r"no table \[modle\]; the tables are: run, data, model"):
        config_of({"modle": {}})
    with pytest.raises(BadInput, match=r"betas is \[0.9\]; 2 values are wanted"):
        config_of({"run": {"out": "x", "steps": 1}, "optimiser": {"betas": [0.9]}})
    with pytest.raises(BadInput, match="lr is nan"):
        config_of({"run": {"out": "x", "steps": 1}, "optimiser": {"lr": float("nan")}})
    for bad in ({"betas": [0.9, 2.0]}, {"betas": [math.nan, 0.9]}, {"rates": {"limbs": -1.0}}):
        with pytest.raises(BadInput, match=r"betas are|rates.limbs is -1.0; at least 0"):
            config_of({"run": {"out": "x", "steps": 1}, "optimiser": bad})
    with pytest.raises(NotFound, match=r"missing.toml cannot be read"):
        read(tmp_path / "missing.toml")
    (tmp_path / "bad.toml").write_text("[run\n")
    with pytest.raises(BadInput, match="is no TOML"):
        read(tmp_path / "bad.toml")
