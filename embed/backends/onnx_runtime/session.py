"""Opens ONNX files for inference, quietly and with owned threads.

It knows nothing of what a graph computes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embed.errors import BackendFailed, MissingDependency

try:
    import onnxruntime as ort
except ImportError as error:
    raise MissingDependency(
        "ONNX Runtime is not installed: pip install 'crossbind[cpu]' (or 'crossbind[gpu]')"
    ) from error

log = logging.getLogger(__name__)

CPU = "CPUExecutionProvider"
ORDER = ("TensorrtExecutionProvider", "CUDAExecutionProvider", CPU)
"""What a graph runs on, the first that is there; those after it take what it cannot do."""


def open_session(
    path: Path, *, threads: int, optimise: bool, providers: Sequence[str] = (CPU,)
) -> ort.InferenceSession:
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
        # Without the runtime's own fallback, which prints to stdout: ours is `open_anywhere`.
        return ort.InferenceSession(path, options, providers=list(providers), enable_fallback=0)
    except Exception as error:  # the runtime has many of its own
        raise BackendFailed(
            f"ONNX Runtime {ort.__version__} cannot load {path}: {error}; delete its folder to "
            "have it made again"
        ) from error


def open_anywhere(path: Path, *, threads: int) -> ort.InferenceSession:
    """A session on TensorRT, CUDA or the CPU: the first that is here and works.

    Raises BackendFailed when not even the CPU takes the file.
    """
    here = [name for name in ORDER if name in ort.get_available_providers()]
    while len(here) > 1:
        try:
            return open_session(path, threads=threads, optimise=True, providers=here)
        except BackendFailed as error:  # its package is here, its libraries or its device are not
            log.info("%s does not work here: %s", here.pop(0), error.message)
    return open_session(path, threads=threads, optimise=True, providers=here)


class SessionCore:
    """A graph as a function of arrays. Safe to call from several threads."""

    def __init__(
        self, session: ort.InferenceSession, inputs: Sequence[str], outputs: Sequence[str]
    ) -> None:
        """inputs: names of the arguments, in order. outputs: of what is returned."""
        self.on_cpu = session.get_providers()[0] == CPU
        self._session = session
        self._inputs = tuple(inputs)
        self._outputs = list(outputs)

    def __call__(self, *arrays: NDArray[Any]) -> tuple[NDArray[np.float32], ...]:
        """Arrays in, float32 arrays out. Raises BackendFailed."""
        try:
            feeds = dict(zip(self._inputs, arrays, strict=True))
            return tuple(self._session.run(self._outputs, feeds))
        except Exception as error:  # the runtime has many of its own
            raise BackendFailed(f"ONNX Runtime could not run {self._inputs}: {error}") from error
