"""What can go wrong with a job, each with the code that people's sentence is found by."""

import os

import torch

from generation.regular_files import NotRegularError, TooLargeError
from generation.safetensors_header import HeaderError


class JobError(Exception):
    """A job ends without its pictures. `code` is a sentence of `bot/locales/`."""

    def __init__(self, code: str, **params: str) -> None:
        super().__init__(code, params)
        self.code = code
        self.params = params


def broken(file: str, error: Exception, otherwise: str = "its tensors can't be read") -> JobError:
    """What people are told of a file that can't be loaded; `file` is its name as they know it.

    Neither a path nor a library's text is in it: those are for the log.
    """
    if isinstance(error, HeaderError):
        return JobError(error.code, file=file, why=str(error))
    if isinstance(error, OSError) and isinstance(error.errno, int):
        return JobError("model_broken", file=file, why=os.strerror(error.errno))
    if isinstance(error, NotRegularError | TooLargeError):
        return JobError("model_broken", file=file, why=str(error.strerror))
    return JobError("model_broken", file=file, why=otherwise)


class CancelledError(JobError):
    """Somebody stopped the job."""

    def __init__(self) -> None:
        super().__init__("cancelled")


class NotCompiledError(Exception):
    """The denoiser could not be compiled, or what came of that does not run."""


class NotFiniteError(Exception):
    """Latents or pixels are NaN or infinite, which would give a black picture."""


OUT_OF_MEMORY_TEXTS = (
    "can't allocate memory",  # torch on the CPU
    "not enough memory: you tried to allocate",  # the same on Windows
    "MPS backend out of memory",
    "ALLOC_FAILED",  # cuBLAS and cuDNN
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out; only CUDA's allocator has an exception of its own for that."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(
        text in str(error) for text in OUT_OF_MEMORY_TEXTS
    )


def is_fatal(error: BaseException) -> bool:
    """Whether the device is lost to this process: after a CUDA fault every further call fails."""
    return isinstance(error, torch.AcceleratorError) and not is_out_of_memory(error)
