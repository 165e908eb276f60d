"""LoRAs for the time of one job: afterwards the model is what it was, to the last bit."""

import contextlib
from collections.abc import Iterator
from typing import Any

import safetensors
import safetensors.torch
import structlog
import torch

from generation.messages import Generate
from generation.models import ModelFile
from generation.runtime.faults import JobError, is_fatal, is_out_of_memory

log = structlog.get_logger(__name__)


@contextlib.contextmanager
def applied(pipe: Any, work: Generate) -> Iterator[None]:
    """Load the job's LoRAs, each at its weight.

    Raises JobError("lora_mismatch") for one that changes no layer of this model.
    """
    if not work.loras:
        yield
        return
    names: list[str] = []
    weights: list[float] = []
    try:
        for number, (file, use) in enumerate(zip(work.loras, work.request.loras, strict=True)):
            # diffusers finds adapters by substring, so no name may contain another
            name = f"lora{number}end"
            _load(pipe, file, name)
            names.append(name)
            weights.append(use.weight)
        pipe.set_adapters(names, weights)
        yield
    finally:
        pipe.unload_lora_weights()


def _load(pipe: Any, file: ModelFile, name: str) -> None:
    try:
        source: Any = str(file.path)
        with safetensors.safe_open(file.path, "pt") as tensors:
            has_alphas = any(key.endswith(".alpha") for key in tensors.keys())  # noqa: SIM118
        if has_alphas:  # else diffusers reads it: what peft notes in the metadata, no dict has
            source = _with_alphas_folded(safetensors.torch.load_file(file.path))
        pipe.load_lora_weights(
            source, adapter_name=name, local_files_only=True, use_safetensors=True
        )
    except (OSError, safetensors.SafetensorError) as error:
        raise JobError("model_broken", file=file.path.name, why=str(error)[:200]) from error
    except (ValueError, KeyError, RuntimeError, TypeError, IndexError, AttributeError) as error:
        if is_out_of_memory(error) or is_fatal(error):
            raise
        log.warning("LoRA does not fit", lora=file.name, error=str(error)[:500])
        raise JobError("lora_mismatch", name=file.name) from error
    loaded = {adapter for adapters in pipe.get_list_adapters().values() for adapter in adapters}
    if name not in loaded:
        raise JobError("lora_mismatch", name=file.name)


def _with_alphas_folded(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same LoRA with every layer's alpha / rank multiplied into its weights.

    Layers may differ in alpha, as in LoRAs that kohya's resize script made; diffusers then gives
    most of them the alpha that is the commonest.
    """
    folded = dict(weights)
    for name, alpha in weights.items():
        layer = name.removesuffix(".alpha")
        down, up = f"{layer}.lora_down.weight", f"{layer}.lora_up.weight"
        if layer != name and down in weights and up in weights:
            scale = alpha.float() / weights[down].shape[0]
            folded[up] = (weights[up].float() * scale).to(weights[up].dtype)
            del folded[name]
    return folded
