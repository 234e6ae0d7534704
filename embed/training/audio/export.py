"""Writes the audio tower as one ONNX file.

The graph takes decibels and holds the prototypes too, so that what serves needs no torch and no
second file. It knows no data.
"""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch

from embed.backends.builtin.audio import RECIPE
from embed.errors import BackendFailed
from embed.training.audio.memory import Tower

TOLERANCE = 5e-3  # of any output against the network in torch: what half precision costs
SMALL = 256  # numbers that stay in single precision: norms, biases


def write(tower: Tower, path: Path) -> None:
    """Exports and compares. Raises BackendFailed when the graph differs from the tower."""
    tower = copy.deepcopy(tower).to(memory_format=torch.contiguous_format)
    noise = np.random.default_rng(0).normal(0.0, 0.1, RECIPE.samples).astype(np.float32)
    decibels = torch.from_numpy(RECIPE.prepare(noise)[np.newaxis])
    program = torch.onnx.export(
        tower, (decibels,), dynamo=True, input_names=["decibels"], output_names=["joint", "native"]
    )
    assert program is not None
    onnx.save(_stored_in_half(program.model_proto), path)
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = session.run(["joint", "native"], {"decibels": decibels.numpy()})
    with torch.no_grad():
        wanted = tower(decibels)
    gap = max(float(np.abs(w.numpy() - f).max()) for w, f in zip(wanted, found, strict=True))
    if not gap <= TOLERANCE:
        raise BackendFailed(f"the exported {path.name} is off by {gap:.3g} from its network")


def _stored_in_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """Half the size: weights are kept in half precision, and computed with in single."""
    casts = []
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size <= SMALL:
            continue
        name = tensor.name
        half = onnx.numpy_helper.from_array(values.astype(np.float16), f"{name}.half")
        tensor.CopyFrom(half)
        casts.append(onnx.helper.make_node("Cast", [half.name], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    for node in nodes:
        del node.metadata_props[:]  # where in the source it comes from
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model
