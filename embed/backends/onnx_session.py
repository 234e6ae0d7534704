"""Opens ONNX files for inference on the CPU, quietly and with owned threads.

It knows nothing of what a graph computes.
"""

from __future__ import annotations

from pathlib import Path

from embed.errors import BackendFailed, MissingDependency

try:
    import onnxruntime as ort
except ImportError as error:
    raise MissingDependency(
        "ONNX Runtime is not installed: pip install 'crossbind[cpu]' (or 'crossbind[gpu]')"
    ) from error


def open_session(path: Path, *, threads: int, optimise: bool) -> ort.InferenceSession:
    """A session of `threads` threads that sleep between runs; it may be called concurrently.

    Raises BackendFailed when the runtime refuses the file.
    optimise: fit the graph to this processor (worth it for convolutions), or run it as it is.
    """
    levels = ort.GraphOptimizationLevel
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimise else levels.ORT_DISABLE_ALL
    # Spinning threads would take the cores that decoding and searching need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime has many of its own
        raise BackendFailed(
            f"ONNX Runtime {ort.__version__} cannot load {path}: {error}; delete the folder to "
            "have it made again"
        ) from error
