"""What makes networks faster and moves the last bits of a picture: in which order the weights of
their convolutions lie (channels-last), and that torch.compile made blocks of the denoiser.

Only the blocks that a denoiser repeats are compiled, for sizes of all kinds at once: that takes a
fraction of the time that the whole takes, and between them a long step still shows life.
"""

import contextlib
import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch

from generation.messages import RuntimeSettings
from generation.numerics import Numerics
from generation.runtime.faults import (
    JobError,
    NotCompiledError,
    NotFiniteError,
    is_fatal,
    is_out_of_memory,
)

BACKEND: Final = "inductor"
STREAMED: Final = ("blocks", "leaves")
"""Places of parts whose weights are on the device for moments."""
KINDS_MAX: Final = 64
"""Of blocks, by width, precision and number of pictures, after which torch compiles no more."""
REASON_MAX: Final = 200
VIDEO: Final = 5
"""Sides of the weights of a convolution over pictures in a row."""
COMPILERS: Final = {"win32": "cl", "darwin": "clang++"}
"""What torch calls on a system for its own processor, unless CXX names another."""


class Tuned(NamedTuple):
    """How denoisers and what works with them compute now."""

    channels_last: bool
    blocks: tuple[torch.nn.Module, ...] = ()
    """Those that are compiled. A hook on one, or in it, would be compiled along."""


class Tuning:
    """Tunes networks as the settings say, or as they were when a picture was first drawn."""

    def __init__(self, settings: RuntimeSettings, device: torch.device) -> None:
        self._compile = settings.compile
        self.channels_last = settings.channels_last
        self.trouble = _why_not(device)
        """Why nothing can be compiled here; empty where that isn't known."""

    @property
    def compiled(self) -> bool:
        """Whether denoisers are compiled."""
        return self._compile and not self.trouble

    @property
    def remark(self) -> str:
        """What the settings ask for in vain, a sentence for the owner; empty where nothing."""
        if not self._compile or not self.trouble:
            return ""
        return (
            f"compile = true in [worker] does nothing: {self.trouble}; pictures are drawn without"
        )

    @contextlib.contextmanager
    def tuned(
        self, denoisers: Sequence[Any], others: Sequence[Any], first: Numerics | None
    ) -> Iterator[Tuned]:
        """Have these networks compute so while it lasts; `others` are never compiled.

        With `first` as they did then, as far as this machine can. Weights that stream through the
        device stay as they lie, and no block is compiled whose weights move. Raises
        NotCompiledError where compiling is at fault for what went wrong meanwhile: nothing is
        compiled from then on.
        """
        last = self.channels_last if first is None else first.channels_last
        last = last and all(network.residency not in STREAMED for network in (*denoisers, *others))
        for network in (*denoisers, *others):
            _arrange(network, last=last)
        wanted = self._compile if first is None else first.compiled
        blocks: tuple[torch.nn.Module, ...] = ()
        if wanted and not self.trouble and all(each.residency == "device" for each in denoisers):
            blocks = tuple(block for each in denoisers for block in _compiled(each))
        try:
            with _eagerly(denoisers) if not blocks else contextlib.nullcontext():
                yield Tuned(last, blocks)
        except (JobError, NotFiniteError):
            raise
        except Exception as error:
            if not blocks or is_out_of_memory(error) or is_fatal(error):
                raise
            self.trouble = _in_a_line(error)
            raise NotCompiledError from error


def keep_compiled_in(folder: Path) -> None:
    """Have torch keep what it compiles over restarts, unless the environment says where."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder))
    # it compiles in this process: others would outlive it
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")


def _why_not(device: torch.device) -> str:
    """Why torch can't compile here, as far as a look tells."""
    if device.type == "cpu":
        compiler = os.environ.get("CXX") or COMPILERS.get(sys.platform, "g++")
        return (
            ""
            if shutil.which(compiler)
            else f"it needs a C++ compiler, and {compiler} is not found"
        )
    if device.type != "cuda":
        return f"it is not for {device.type}"
    return "" if importlib.util.find_spec("triton") else "it needs triton, which is not installed"


def _arrange(network: Any, *, last: bool) -> None:
    """Lay the weights of its convolutions out so, or as usual; those of three dimensions stay."""
    last = last and all(weights.ndim < VIDEO for weights in network.parameters())
    if getattr(network, "channels_last", False) != last:
        network.to(memory_format=torch.channels_last if last else torch.contiguous_format)
    network.channels_last = last


def _compiled(denoiser: Any) -> tuple[torch.nn.Module, ...]:
    """The blocks that it repeats, which are compiled when they are called next."""
    if not hasattr(denoiser, "compiled_blocks"):
        import torch._dynamo

        torch._dynamo.config.recompile_limit = KINDS_MAX
        named = denoiser._repeated_blocks or ()
        blocks = tuple(each for each in denoiser.modules() if type(each).__name__ in named)
        for block in blocks:
            block.compile(fullgraph=True, dynamic=True, backend=BACKEND)
        denoiser.compiled_blocks = blocks
    found: tuple[torch.nn.Module, ...] = denoiser.compiled_blocks
    return found


def _eagerly(denoisers: Sequence[Any]) -> contextlib.AbstractContextManager[Any]:
    """Call what was compiled as it was before."""
    if not any(hasattr(denoiser, "compiled_blocks") for denoiser in denoisers):
        return contextlib.nullcontext()
    stance: contextlib.AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
    return stance


def _in_a_line(error: BaseException) -> str:
    # torch wraps what a backend raised
    while isinstance(inner := getattr(error, "inner_exception", None), BaseException):
        error = inner
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else '?'}"[:REASON_MAX]
