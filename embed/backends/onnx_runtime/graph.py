"""Torch modules to ONNX graphs: traced once, simplified once, compared with the module.

Graphs keep a dynamic batch, float32 outputs, and inputs as the encoder feeds them (uint8 pixels,
int64 tokens), whatever their precision inside. Only what holds on every machine is simplified
here; the rest is fitted to the processor when the graph is loaded. Weights beyond 2 GB, which one
protobuf cannot hold, lie beside the graph. It knows nothing of spaces.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers.float16 import convert_float_to_float16

from embed.backends.onnx_runtime.session import CPU, SessionCore, open_session
from embed.backends.recipes import Network
from embed.errors import BackendFailed
from embed.types import normalise

TOLERANCES = {"fp32": 1e-4, "fp16": 1e-2}
"""Of any number of a unit vector, against the module in torch; int8 is judged by recall instead."""

ONE_FILE = 1_800_000_000  # bytes of weights that a graph file holds itself
Arrays = dict[str, NDArray[Any]]


def write_graph(network: Network, path: Path, work: Path, *, precision: str) -> float:
    """Writes `path`; returns how far any number of a unit vector is from the module's.

    work: an empty folder for what is made on the way.
    Raises BackendFailed when the module cannot be exported, or the graph computes something else.
    """
    traced, plain = work / "traced", work / "plain"
    traced.mkdir()
    plain.mkdir()
    try:
        _trace(network, traced / path.name)
        _simplify(traced / path.name, plain / path.name)
        convert(plain / path.name, path, precision=precision)
    except OSError:
        raise
    except Exception as error:  # torch, onnx and the runtime have many of their own
        reason = str(error.__cause__ or error).strip().partition("\n")[0][:300]
        raise BackendFailed(f"{path.stem} cannot be exported to ONNX: {reason}") from error
    gap = _gap(network, path)
    if not gap <= TOLERANCES.get(precision, np.inf):
        raise BackendFailed(
            f"the exported {path.name} is off by {gap:.3g} from its network; "
            f"{TOLERANCES[precision]:g} is allowed in {precision}"
        )
    return gap


def convert(source: Path, target: Path, *, precision: str) -> None:
    """Writes the fp32 graph `source` in `precision` to `target`."""
    model = onnx.load(source)
    large = model.ByteSize() > ONE_FILE
    if precision == "fp16":
        model = convert_float_to_float16(model, keep_io_types=True, disable_shape_infer=large)
    if precision == "int8":
        del model.graph.value_info[:]  # shapes that the rewriting of Gemm makes untrue
        quantize_dynamic(
            model,
            target,
            op_types_to_quantize=["MatMul", "Gemm"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            use_external_data_format=large,
            extra_options={"MatMulConstBOnly": True, "DefaultTensorType": onnx.TensorProto.FLOAT},
        )
        return
    onnx.save(model, target, save_as_external_data=large, location=f"{target.name}.data")


def _trace(network: Network, path: Path) -> None:
    device = next(network.module.parameters()).device
    tensors = tuple(torch.from_numpy(array).to(device) for array in network.inputs.values())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's own exporter, about its own code
        program = torch.onnx.export(
            network.module,
            tensors,
            dynamo=True,
            verbose=False,
            dynamic_shapes=tuple(dict(network.dynamic[name]) for name in network.inputs),
            input_names=list(network.inputs),
            output_names=list(network.outputs),
        )
    assert program is not None
    weights = sum(value.nbytes for value in network.module.state_dict().values())
    program.save(path, external_data=weights > ONE_FILE)


def _simplify(source: Path, target: Path) -> None:
    """Folds what never changes, once; no layouts or fusions that belong to one processor."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(target)
    if Path(f"{source}.data").exists():
        prefix = "session.optimized_model_external_initializers"
        options.add_session_config_entry(f"{prefix}_file_name", f"{target.name}.data")
        options.add_session_config_entry(f"{prefix}_min_size_in_bytes", "1024")
    ort.InferenceSession(source, options, providers=[CPU])


def _gap(network: Network, path: Path) -> float:
    """The largest difference of unit vectors, on other shapes than those it was traced with."""
    arrays = _reshaped(network)
    device = next(network.module.parameters()).device
    with torch.no_grad():
        found = network.module(*(torch.from_numpy(a).to(device) for a in arrays.values()))
    wanted = found if isinstance(found, tuple) else (found,)
    session = open_session(path, threads=1, optimise=True)
    got = SessionCore(session, list(arrays), network.outputs)(*arrays.values())
    pairs = zip(wanted, got, strict=True)
    return max(
        float(np.abs(normalise(want.float().cpu().numpy()) - normalise(ours)).max())
        for want, ours in pairs
    )


def _reshaped(network: Network) -> Arrays:
    """The examples as a batch of three, every other dynamic axis one shorter."""
    arrays = {}
    for name, example in network.inputs.items():
        array = np.concatenate([example, example])[:3]
        for axis in network.dynamic[name]:
            if axis and array.shape[axis] > 2:
                array = np.delete(array, -1, axis)
        arrays[name] = np.ascontiguousarray(array)
    return arrays
