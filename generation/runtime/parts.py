"""Model files become parts in place, kept while there is room for them."""

import contextlib
import gc
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog
import torch

from generation.families import FAMILIES, Family
from generation.messages import Generate, Memory, RuntimeSettings
from generation.models import ModelFile, ModelKind
from generation.regular_files import printable
from generation.runtime.checkpoints import (
    Checkpoint,
    load_checkpoint,
    load_controlnet,
    load_vae,
    look_what_it_predicts,
)
from generation.runtime.device import choose_dtype
from generation.runtime.embeddings import Embeddings
from generation.runtime.faults import JobError, broken, is_fatal, is_out_of_memory
from generation.runtime.merging import Merger
from generation.runtime.residency import Residency
from generation.runtime.tuning import Tuning
from generation.runtime.unpacking import Unpacking
from generation.runtime.upscaling import load_upscaler
from generation.runtime.weights import check_header
from generation.safetensors_header import HeaderError

log = structlog.get_logger(__name__)

CONTROLNETS_KEPT = 3
"""As many as one request can have."""
VAES_KEPT = 2
UPSCALERS_KEPT = 2

Stamp = tuple[Any, ...]
"""Path, bytes, time of change, precision: a file that was replaced is another model."""
LoadedParts = OrderedDict[Stamp, Any]


class Parts:
    """The loaded checkpoints, VAEs and ControlNets; what was used longest ago makes room."""

    def __init__(self, settings: RuntimeSettings, device: torch.device) -> None:
        self.device = device
        self.dtype = choose_dtype(settings.precision, device)
        self.residency = Residency(settings, device)
        self.tuning = Tuning(settings, device)
        self._unpacking = Unpacking(settings, device)
        self.merger = Merger()
        self.embeddings = Embeddings()
        self._models_kept = settings.models_kept
        self._checkpoints: LoadedParts = OrderedDict()
        self._controlnets: LoadedParts = OrderedDict()
        self._vaes: LoadedParts = OrderedDict()
        self._upscalers: LoadedParts = OrderedDict()

    def checkpoint(self, model: ModelFile, beside: ModelFile | None = None) -> Checkpoint:
        """All its parts, in place. One that draws `beside` a model does not push it out: where
        there is no room for both, its parts are on the device only while they work.

        Raises JobError for a broken file.
        """
        kept, stamp, family = self._checkpoints, self.stamp(model), FAMILIES[model.family]
        held = None if beside is None else self.stamp(beside)
        if stamp not in kept:
            while any(other != held for other in kept) and not (
                len(kept) < self._models_kept and self.residency.has_room(family, self.dtype)
            ):
                _unload(kept, next(other for other in kept if other != held))
            with _naming_broken_files(model):
                found = load_checkpoint(model, self.dtype)
                crowded = held is not None and not self.residency.has_room(family, self.dtype)
                self._place(found.parts, model, "medium" if crowded else None)
                untold = model.v_prediction is None and not model.is_folder
                if untold and family.prediction != "flow":
                    with self.residency.at_work(found.denoiser, *found.text_encoders):
                        look_what_it_predicts(found)
            kept[stamp] = found
        kept.move_to_end(stamp)
        model_there: Checkpoint = kept[stamp]
        if held is None and model_there.denoiser.residency == "medium":
            self._settle(model_there, family)
        return model_there

    def _settle(self, model: Checkpoint, family: Family) -> None:
        """One that was loaded where another had the room has the device for itself by now."""
        residency = self.residency
        if residency.mode(family, self.dtype) == "high" and residency.has_room(family, self.dtype):
            for part in model.parts:
                residency.place(part, "high")

    def controlnet(self, model: ModelFile) -> Any:
        """A ControlNet, in place. Raises JobError for a broken file."""
        return self._part(model, load_controlnet, self._controlnets, CONTROLNETS_KEPT)

    def with_vae(self, base: Checkpoint, vae: ModelFile) -> Checkpoint:
        """The same checkpoint, but with another VAE.

        Raises JobError for a broken file, or "vae_mismatch" for one that has other latents.
        """
        other = self.vae(vae)
        if latents_of(other) != latents_of(base.vae):
            raise JobError("vae_mismatch", name=vae.name, model=base.file.name)
        return replace(base, vae=other)

    def vae(self, model: ModelFile) -> Any:
        """A VAE of its own, in place. Raises JobError for a broken file."""
        return self._part(model, load_vae, self._vaes, VAES_KEPT)

    def upscaler(self, model: ModelFile) -> Any:
        """The network of an upscaler, in place. Raises JobError for a broken file."""
        return self._part(model, load_upscaler, self._upscalers, UPSCALERS_KEPT)

    @contextlib.contextmanager
    def in_precision(self, dtype: torch.dtype) -> Iterator[None]:
        """Load and find models in that precision; those of another are kept beside them."""
        usual, self.dtype = self.dtype, dtype
        try:
            yield
        finally:
            self.dtype = usual

    def keeps_more_than(self, work: Generate) -> bool:
        """Whether anything is loaded that this job does not use."""
        used = 1 + len(set(work.controlnets)) + (work.vae is not None)
        used += (work.refiner is not None) + (work.upscaler is not None)
        return sum(map(len, self._kept)) > used

    def free(self) -> None:
        """Unload everything."""
        self.merger.free()
        for kept in self._kept:
            kept.clear()
        _collect()

    def stamp(self, model: ModelFile) -> Stamp:
        """What tells this file, and those of its parts that lie elsewhere, as they are now and in
        this precision, from every other.
        """
        parts = [(name, *_stamp(file)) for name, file in sorted(model.parts.items())]
        return (*_stamp(model), *parts, self.dtype)

    @property
    def _kept(self) -> tuple[LoadedParts, ...]:
        return (self._checkpoints, self._controlnets, self._vaes, self._upscalers)

    def _part(self, model: ModelFile, load: Any, kept: LoadedParts, room: int) -> Any:
        # one of unknown version is another for each family that it is used with
        stamp = (*self.stamp(model), model.family)
        if stamp not in kept:
            while len(kept) >= room:
                _unload(kept, next(iter(kept)))
            with _naming_broken_files(model):
                part = load(model, self.dtype)
                self._place((part,), model)
            kept[stamp] = part
        kept.move_to_end(stamp)
        return kept[stamp]

    def _place(self, parts: tuple[Any, ...], model: ModelFile, mode: Memory | None = None) -> None:
        if model.kind is ModelKind.UPSCALER:
            mode = self.residency.mode_of_small()
        mode = mode or self.residency.mode(FAMILIES[model.family], self.dtype)
        stamp = self.stamp(model)
        for part in parts:
            part.origin = (model.path, type(part).__name__)
            part.stamp = stamp
            self._unpacking.settle(part)
            self.residency.place(part, mode)


def latents_of(vae: Any) -> tuple[int, int]:
    """Channels of a latent, and how often it was halved from the picture's size."""
    return vae.config.latent_channels, len(vae.config.block_out_channels)


@contextlib.contextmanager
def _naming_broken_files(model: ModelFile) -> Iterator[None]:
    """Whatever a library says of a file that can't be loaded, people are told which one it is."""
    try:
        yield
    except JobError:
        raise
    except Exception as error:
        if is_out_of_memory(error) or is_fatal(error):
            raise
        log.warning("model can't be loaded", path=str(model.path), error=repr(error)[:500])
        raise _broken_file(model, error) from error


def _broken_file(model: ModelFile, error: Exception) -> JobError:
    path = model.path
    for file in sorted(path.rglob("*.safetensors")) if path.is_dir() else [path]:
        try:
            check_header(file)
        except (HeaderError, OSError) as found:
            return broken(printable(file.relative_to(path.parent).as_posix()), found)
    return broken(model.shown, error, "its parts are laid out as nothing here reads them")


def _stamp(model: ModelFile) -> tuple[Path, int, int]:
    files = [model.path]
    if model.path.is_dir():
        files = [file for file in model.path.rglob("*") if file.is_file()]
    try:
        stats = [file.stat() for file in files]
    except OSError as error:
        raise broken(model.shown, error) from error
    newest = max((stat.st_mtime_ns for stat in stats), default=0)
    return model.path, sum(stat.st_size for stat in stats), newest


def _unload(kept: LoadedParts, stamp: Stamp) -> None:
    """Forget a model; nothing else refers to it between jobs, so its memory is free then."""
    del kept[stamp]
    _collect()
    log.info("model unloaded", path=str(stamp[0]))


def _collect() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
