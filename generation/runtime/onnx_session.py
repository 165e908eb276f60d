"""Small networks in ONNX files, run by onnxruntime."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import structlog
import torch

from generation.memory_plan import PartPlace
from generation.models import ModelFile
from generation.onnx_header import read_onnx
from generation.regular_files import NotRegularError
from generation.runtime.faults import broken

log = structlog.get_logger(__name__)

CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"
QUIET = 3
"""onnxruntime's level of errors: it warns of each layer that it places."""


def onnx_on(device: torch.device) -> bool:
    """Whether networks in ONNX files work on that device, and not on the processor."""
    return device.type == "cuda" and CUDA in onnxruntime.get_available_providers()


class OnnxNetwork:
    """One network, loaded. On the graphics card where onnxruntime is built for it."""

    def __init__(self, file: ModelFile, device: torch.device, threads: int = 0) -> None:
        """`threads` of 0 leave it to onnxruntime. Raises JobError("model_broken")."""
        self.file = file
        self.bytes_held = file.size
        """Of its weights, as the file has them."""
        self.residency: PartPlace = "device" if onnx_on(device) else "aside"
        """Where they lie until it is unloaded."""
        try:
            # what was changed since the catalogue looked is looked at again: where weights lie
            read_onnx(file.path)
            self._session = _session(file.path, device, threads)
        except Exception as error:
            # onnxruntime raises its own, and what it is built on raises others
            log.error("an ONNX file can't be loaded", file=file.shown, error=repr(error)[:500])
            raise broken(file.shown, error, "onnxruntime can't load its network") from error

    @property
    def input(self) -> tuple[str, tuple[int, ...]]:
        """Name and shape of its first input; 0 where a side may be any."""
        first = self._session.get_inputs()[0]
        return first.name, tuple(side if isinstance(side, int) else 0 for side in first.shape)

    @property
    def outputs(self) -> Sequence[str]:
        """The names of its outputs."""
        return [output.name for output in self._session.get_outputs()]

    def run(self, inputs: Mapping[str, np.ndarray], outputs: Sequence[str]) -> list[np.ndarray]:
        """What comes out under these names. Raises JobError("model_broken")."""
        try:
            found: list[np.ndarray] = self._session.run(list(outputs), dict(inputs))
        except Exception as error:
            log.error("an ONNX network can't be run", file=self.file.shown, error=repr(error)[:500])
            raise broken(self.file.shown, error, "onnxruntime can't run its network") from error
        return found


def _session(path: Path, device: torch.device, threads: int) -> Any:
    if not path.is_file():
        raise NotRegularError(path)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = QUIET
    options.intra_op_num_threads = threads
    # threads that spin take the processor from whoever draws
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers: list[Any] = [CPU]
    if onnx_on(device):
        providers.insert(0, (CUDA, {"device_id": device.index or 0}))
    return onnxruntime.InferenceSession(path, options, providers=providers)
