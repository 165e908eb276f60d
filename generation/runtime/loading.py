"""Model files become pipelines, kept while there is room for them."""

import contextlib
import gc
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import diffusers
import structlog
import torch

from generation.families import FAMILIES
from generation.messages import Generate, Memory, RuntimeSettings
from generation.models import ModelFile
from generation.runtime.checkpoints import load_checkpoint, load_part, look_what_it_predicts
from generation.runtime.device import choose_dtype
from generation.runtime.faults import JobError, is_fatal, is_out_of_memory
from generation.safetensors_header import HeaderError, read_header

log = structlog.get_logger(__name__)

ROOM_FOR_WORK = 1.4
"""Weights times this is what a model needs to run entirely on the device."""
MEDIUM_BYTES = 3 * 2**30
"""Below this the largest part of a model does not fit beside its work."""
CONTROLNETS_KEPT = 3
"""As many as one request can have."""
VAES_KEPT = 2
LEAF_BY_LEAF: dict[str, Any] = {"offload_type": "leaf_level", "use_stream": True}


PIPELINES = {
    "image_to_image": "StableDiffusionImg2ImgPipeline",
    "controlnet": "StableDiffusionControlNetPipeline",
    "controlnet_image_to_image": "StableDiffusionControlNetImg2ImgPipeline",
}


Stamp = tuple[Path, int, int, torch.dtype]
"""Path, bytes, time of change, precision: a file that was replaced is another model."""
Kept = OrderedDict[Stamp, Any]


class LoadedModels:
    """The loaded checkpoints, VAEs and ControlNets; what was used longest ago makes room."""

    def __init__(self, settings: RuntimeSettings, device: torch.device) -> None:
        self.device = device
        self.dtype = choose_dtype(settings.precision, device)
        self._settings = settings
        self._checkpoints: Kept = OrderedDict()
        self._controlnets: Kept = OrderedDict()
        self._vaes: Kept = OrderedDict()

    def checkpoint(self, model: ModelFile) -> Any:
        """The family's text-to-image pipeline, in place. Raises JobError for a broken file."""
        kept, stamp = self._checkpoints, (*_stamp(model), self.dtype)
        if stamp not in kept:
            while kept and not self._has_room(model):
                _unload_oldest(kept)
            with _naming_broken_files(model):
                pipe = load_checkpoint(model, self.dtype)
                pipe.set_progress_bar_config(disable=True)
                self._place(pipe, model)
                if model.v_prediction is None and not model.is_folder:
                    look_what_it_predicts(pipe)
                pipe.own_scheduler = pipe.scheduler
            kept[stamp] = pipe
        kept.move_to_end(stamp)
        return kept[stamp]

    def controlnet(self, model: ModelFile) -> Any:
        """A ControlNet on the device. Raises JobError for a broken file."""
        class_ = diffusers.ControlNetModel
        return self._part(model, class_, "controlnet", self._controlnets, CONTROLNETS_KEPT)

    def vae(self, model: ModelFile) -> Any:
        """A VAE on the device. Raises JobError for a broken file."""
        return self._part(model, diffusers.AutoencoderKL, "vae", self._vaes, VAES_KEPT)

    def with_vae(self, base: Any, model: ModelFile, vae: ModelFile) -> Any:
        """A text-to-image pipeline on the modules of `base`, but with another VAE.

        Raises JobError for a broken file, or "vae_mismatch" for one that has other latents.
        """
        other = self.vae(vae)
        if _latents(other) != _latents(base.vae):
            raise JobError("vae_mismatch", name=vae.name, model=model.name)
        pipe = type(base)(**base.components | {"vae": other}, requires_safety_checker=False)
        pipe.set_progress_bar_config(disable=True)
        pipe.own_scheduler = base.own_scheduler
        if self._memory_mode(model) == "medium":
            pipe.enable_model_cpu_offload(device=self.device)
        return pipe

    @contextlib.contextmanager
    def in_precision(self, dtype: torch.dtype) -> Iterator[None]:
        """Load and find models in that precision; those of another are kept beside them."""
        usual, self.dtype = self.dtype, dtype
        try:
            yield
        finally:
            self.dtype = usual

    def _part(self, model: ModelFile, class_: Any, config: str, kept: Kept, room: int) -> Any:
        stamp = (*_stamp(model), self.dtype)
        if stamp not in kept:
            while len(kept) >= room:
                _unload_oldest(kept)
            with _naming_broken_files(model):
                part = load_part(model, class_, config, self.dtype)
                if self._memory_mode(model) == "low":
                    part.enable_group_offload(self.device, **LEAF_BY_LEAF)
                else:
                    part.to(self.device)
            kept[stamp] = part
        kept.move_to_end(stamp)
        return kept[stamp]

    def pipeline(self, base: Any, model: ModelFile, ability: str, **parts: Any) -> Any:
        """A pipeline of another class on the modules of `base`."""
        if ability == "text_to_image":
            return base
        class_ = getattr(diffusers, PIPELINES[ability])
        other = class_(**base.components, **parts, requires_safety_checker=False)
        other.set_progress_bar_config(disable=True)
        if self._memory_mode(model) == "medium":
            other.enable_model_cpu_offload(device=self.device)
        return other

    def keeps_more_than(self, work: Generate) -> bool:
        """Whether anything is loaded that this job does not use."""
        used = 1 + len(set(work.controlnets)) + (work.vae is not None)
        return len(self._checkpoints) + len(self._controlnets) + len(self._vaes) > used

    def free(self) -> None:
        """Unload everything."""
        self._checkpoints.clear()
        self._controlnets.clear()
        self._vaes.clear()
        _collect()

    def _has_room(self, model: ModelFile) -> bool:
        """Whether one more may be kept beside the present ones."""
        if len(self._checkpoints) >= self._settings.models_kept:
            return False
        if self.device.type != "cuda" or self._memory_mode(model) != "high":
            return True
        free, _ = torch.cuda.mem_get_info(self.device)
        return free >= self._bytes_needed(model)

    def _place(self, pipe: Any, model: ModelFile) -> None:
        """Where the weights lie while they are not used; A1111's --medvram and --lowvram."""
        match self._memory_mode(model):
            case "medium":
                pipe.enable_model_cpu_offload(device=self.device)
            case "low":
                pipe.enable_group_offload(self.device, **LEAF_BY_LEAF)
            case _:
                pipe.to(self.device)

    def _memory_mode(self, model: ModelFile) -> Memory:
        if self.device.type != "cuda":
            return "high"
        if self._settings.memory != "auto":
            return self._settings.memory
        total = torch.cuda.get_device_properties(self.device).total_memory
        if total >= self._bytes_needed(model):
            return "high"
        return "medium" if total >= MEDIUM_BYTES else "low"

    def _bytes_needed(self, model: ModelFile) -> float:
        weights = FAMILIES[model.family].bytes_of_all * (2 if self.dtype == torch.float32 else 1)
        return weights * ROOM_FOR_WORK


def _latents(vae: Any) -> tuple[int, int]:
    """Channels of a latent, and how often it was halved from the picture's size."""
    return vae.config.latent_channels, len(vae.config.block_out_channels)


@contextlib.contextmanager
def _naming_broken_files(model: ModelFile) -> Iterator[None]:
    """Whatever a library says of a file that can't be loaded, people are told which one it is."""
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error) or is_fatal(error):
            raise
        log.warning("model can't be loaded", path=str(model.path), error=repr(error)[:500])
        raise JobError("model_broken", **_broken_file(model.path, error)) from error


def _broken_file(path: Path, error: Exception) -> dict[str, str]:
    for file in sorted(path.rglob("*.safetensors")) if path.is_dir() else [path]:
        name = file.relative_to(path.parent).as_posix()
        try:
            read_header(file)
        except (HeaderError, OSError) as found:
            return {"file": name, "why": str(found)}
    why = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return {"file": path.name, "why": why[:200]}


def _stamp(model: ModelFile) -> tuple[Path, int, int]:
    files = [model.path]
    if model.path.is_dir():
        files = [file for file in model.path.rglob("*") if file.is_file()]
    try:
        stats = [file.stat() for file in files]
    except OSError as error:
        raise JobError("model_broken", file=model.path.name, why=str(error)) from error
    newest = max((stat.st_mtime_ns for stat in stats), default=0)
    return model.path, sum(stat.st_size for stat in stats), newest


def _unload_oldest(kept: Kept) -> None:
    """Forget a model; nothing else refers to it between jobs, so its memory is free then."""
    stamp = next(iter(kept))
    del kept[stamp]
    _collect()
    log.info("model unloaded", path=str(stamp[0]))


def _collect() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
