"""Where a run can go on from: weights, moments and the step, on disk whole or not at all.

    OUT/checkpoints/step-00001000/  student.safetensors  optimiser.safetensors
                                    average.safetensors  manifest.json

A folder is written aside, flushed, its manifest of digests last, and renamed into place, so that a
kill at any moment leaves the checkpoint before it. One that was damaged later is passed over.
Random numbers need no place here: the loop seeds them anew at each step (`loop.seed`), and data
come by number. What is frozen is not written either: it is read again from where it came.

It knows no network, no data, and executes nothing that it reads.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from embed.errors import Conflict
from embed.training import sharding
from embed.training.files import writing
from embed.training.optimiser import Average, Optimiser
from embed.weights.store import sha256_of, sync

log = logging.getLogger(__name__)

FORMAT = 1
MANIFEST = "manifest.json"
Tensors = Mapping[str, Tensor]

# What may differ between a run and its continuation: it changes no batch. Another number of steps
# moves the end that a schedule falls towards.
FREE = frozenset(
    f"run.{name}"
    for name in (
        "out",
        "steps",
        "epochs",
        "workers",
        "cache",
        "shard",
        "log_every",
        "eval_every",
        "save_every",
        "keep",
        "tensorboard",
    )
)


@dataclass(frozen=True, slots=True)
class Learner:
    """All that changes while a run goes on."""

    student: nn.Module
    objective: nn.Module
    optimiser: Optimiser
    average: Average

    def state(self) -> dict[str, dict[str, Tensor]]:
        """By file, by name, whole: where a student is shared out, all processes must ask."""
        average = self.average.weights.items()
        return {
            "student": {name: sharding.whole(value.detach()) for name, value in self._weights()},
            "optimiser": self.optimiser.state(),
            "average": {name: sharding.whole(value) for name, value in average},
        }

    @torch.no_grad()
    def restore(self, state: Mapping[str, Tensors]) -> None:
        """The inverse of `state`. Raises KeyError, RuntimeError for another network's."""
        for name, value in self._weights():
            sharding.put(value, state["student"][name])
        for name, value in self.average.weights.items():
            sharding.put(value, state["average"][name])
        self.optimiser.restore(state["optimiser"])

    def _weights(self) -> Iterator[tuple[str, Tensor]]:
        yield from self.optimiser.named.items()
        for prefix, module in (("student", self.student), ("objective", self.objective)):
            kept = module.state_dict(keep_vars=True).keys()
            for name, buffer in module.named_buffers(prefix=prefix):
                if name.partition(".")[2] in kept:
                    yield name, buffer


def found(folder: Path) -> list[Path]:
    """The checkpoints in `folder`, whole or not, newest first."""
    return sorted(folder.glob("step-*"), reverse=True)


class Checkpoints:
    """The last `keep` checkpoints of a run, in `folder`."""

    def __init__(self, folder: Path, config: Mapping[str, Any], *, keep: int) -> None:
        """config: what the run was asked for, as JSON has it."""
        self.folder = folder
        self._config = config
        self._keep = keep

    def save(self, learner: Learner, step: int) -> Path:
        """Writes what was reached after `step`. Raises StorageFull, and BadInput for a folder that
        cannot be written."""
        final = self.folder / f"step-{step:08d}"
        work = self.folder / f"tmp-{final.name}"
        with writing(self.folder):
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir(parents=True)
            for name, tensors in learner.state().items():
                save_file(
                    {k: v.contiguous() for k, v in tensors.items()}, work / f"{name}.safetensors"
                )
            self._seal(work, step)
            shutil.rmtree(final, ignore_errors=True)
            work.rename(final)
            sync(self.folder)
        for old in found(self.folder)[self._keep :]:
            shutil.rmtree(old, ignore_errors=True)
        return final

    def last(self) -> tuple[int, dict[str, dict[str, Tensor]]] | None:
        """The newest whole checkpoint: its step, and its tensors for `Learner.restore`.

        A damaged one is passed over with a note. None when there is none. Raises Conflict, naming
        the differences, when it is of a run that was asked for something else.
        """
        for folder in found(self.folder):
            try:
                manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
                _check(folder, manifest)
                state = {Path(name).stem: load_file(folder / name) for name in manifest["files"]}
                step, config = int(manifest["step"]), dict(manifest["config"])
            except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
                log.warning("%s is damaged and passed over: %s", folder, error)
                continue
            self._refuse_other(config)
            return step, state
        return None

    def _seal(self, work: Path, step: int) -> None:
        files = {path.name: sha256_of(path) for path in sorted(work.iterdir())}
        for name in files:
            sync(work / name)
        manifest = {"format": FORMAT, "step": step, "files": files, "config": self._config}
        path = work / MANIFEST
        path.write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        sync(path)
        sync(work)

    def _refuse_other(self, config: Mapping[str, Any]) -> None:
        before, now = dict(_flat(config)), dict(_flat(self._config))
        differing = [
            f"{key} was {before.get(key)!r} and is {now.get(key)!r}"
            for key in sorted(before.keys() | now.keys())
            if before.get(key) != now.get(key) and key not in FREE
        ]
        if differing:
            raise Conflict(
                f"the run in {self.folder.parent} was another: {'; '.join(differing)}. Set that "
                "back to resume it, or choose another [run] out"
            )


def _check(folder: Path, manifest: Mapping[str, Any]) -> None:
    if manifest["format"] != FORMAT:
        raise ValueError(f"its format is {manifest['format']!r}; this version reads {FORMAT}")
    for name, digest in manifest["files"].items():
        if sha256_of(folder / name) != digest:
            raise ValueError(f"{name} is not as it was written")


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
