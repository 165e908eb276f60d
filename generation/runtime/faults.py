"""What can go wrong with a job, each with the code that people's sentence is found by."""

import torch


class JobError(Exception):
    """A job ends without its pictures. `code` is a sentence of `bot/locales/`."""

    def __init__(self, code: str, **params: str) -> None:
        super().__init__(code, params)
        self.code = code
        self.params = params


class CancelledError(JobError):
    """Somebody stopped the job."""

    def __init__(self) -> None:
        super().__init__("cancelled")


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
