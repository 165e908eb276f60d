"""Model files become parts in place, kept while there is room for them."""

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog
import torch

from generation.memory_plan import Plan, Room
from generation.messages import RuntimeSettings
from generation.models import ModelFile
from generation.regular_files import printable
from generation.runtime.autoencoders import make_of
from generation.runtime.checkpoints import (
    Checkpoint,
    load_checkpoint,
    load_controlnet,
    load_vae,
    look_what_it_predicts,
)
from generation.runtime.device import choose_dtype, free_unused
from generation.runtime.embeddings import Embeddings
from generation.runtime.face_restorers import load_face_restorer
from generation.runtime.faults import JobError, broken, is_fatal, is_out_of_memory
from generation.runtime.merging import Merger
from generation.runtime.onnx_session import OnnxNetwork
from generation.runtime.read_ahead import read_ahead
from generation.runtime.residency import Residency, place_of
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
FACE_RESTORERS_KEPT = 1
IMAGE_PROMPTS_KEPT = 4
ANNOTATORS_KEPT = 2
"""As many as one preprocessor needs."""

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
        self.decode_in = None if settings.vae_precision == "auto" else torch.float32
        """The precision in which VAEs decode; None for the others' where they don't overflow."""
        self._models_kept = settings.models_kept
        self._in_one_go = settings.disable_mmap
        self._checkpoints: LoadedParts = OrderedDict()
        self._controlnets: LoadedParts = OrderedDict()
        self._vaes: LoadedParts = OrderedDict()
        self._upscalers: LoadedParts = OrderedDict()
        self._face_restorers: LoadedParts = OrderedDict()
        self._annotators: LoadedParts = OrderedDict()
        self._image_prompts: LoadedParts = OrderedDict()
        self._sessions: LoadedParts = OrderedDict()

    def checkpoint(self, model: ModelFile, beside: tuple[ModelFile, ...] = ()) -> Checkpoint:
        """All its parts, in memory; a plan puts them in their places. One that draws `beside`
        others does not push them out.

        Raises JobError for a broken file.
        """
        kept, stamp = self._checkpoints, self.stamp(model)
        held = tuple(map(self.stamp, beside))
        if stamp not in kept:
            while len(kept) >= self._models_kept and any(other not in held for other in kept):
                _unload(kept, next(other for other in kept if other not in held))
            self._make_way(model, held)
            read_ahead(model, always=self._in_one_go)
            with _naming_broken_files(model):
                found = load_checkpoint(model, self.dtype)
                self._mark(found.parts, model)
                untold = model.v_prediction is None and not model.is_folder
                found.untold = untold and found.family.prediction != "flow"
            kept[stamp] = found
        kept.move_to_end(stamp)
        model_there: Checkpoint = kept[stamp]
        return model_there

    def _make_way(self, model: ModelFile, held: tuple[Stamp, ...]) -> None:
        """A model comes through main memory: unload others that it would have no room beside."""
        needed = sum(file.size for file in model.files)
        while not self.residency.has_ram_for(needed):
            other = next((stamp for stamp in self._checkpoints if stamp not in held), None)
            if other is None:
                return
            _unload(self._checkpoints, other)

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

    def face_restorer(self, model: ModelFile) -> Any:
        """The network that restores faces, in place. Raises JobError for a broken file."""
        return self._part(model, load_face_restorer, self._face_restorers, FACE_RESTORERS_KEPT)

    def annotator(self, file: ModelFile, load: Callable[[ModelFile, torch.dtype], Any]) -> Any:
        """A network that control pictures are made with, in place. Raises JobError for a broken
        file.
        """
        return self._part(file, load, self._annotators, ANNOTATORS_KEPT)

    def image_prompt(self, file: ModelFile, load: Callable[[ModelFile, torch.dtype], Any]) -> Any:
        """An IP-Adapter or what it sees by, in place. Raises JobError for a broken file."""
        return self._part(file, load, self._image_prompts, IMAGE_PROMPTS_KEPT)

    def onnx(self, file: ModelFile) -> OnnxNetwork:
        """One in an ONNX file, which is no part of torch's. Raises JobError."""
        stamp = self.stamp(file)
        if stamp not in self._sessions:
            while len(self._sessions) >= ANNOTATORS_KEPT:
                self._sessions.popitem(last=False)
            self._sessions[stamp] = OnnxNetwork(file, self.device, torch.get_num_threads())
        self._sessions.move_to_end(stamp)
        found: OnnxNetwork = self._sessions[stamp]
        return found

    def loaded(self, files: Iterable[ModelFile]) -> tuple[Any, ...]:
        """What is in place of networks beside the drawing ones, by their files."""
        return tuple(kept[stamp] for kept, stamp in self._of(files))

    def let_go(self, files: Iterable[ModelFile]) -> None:
        """Unload such networks."""
        for kept, stamp in list(self._of(files)):
            _unload(kept, stamp)

    def _of(self, files: Iterable[ModelFile]) -> Iterator[tuple[LoadedParts, Stamp]]:
        paths = {file.path for file in files}
        helpers = (self._face_restorers, self._annotators, self._image_prompts, self._sessions)
        for kept in helpers:
            yield from ((kept, stamp) for stamp in list(kept) if stamp[0] in paths)

    @contextlib.contextmanager
    def in_precision(self, dtype: torch.dtype) -> Iterator[None]:
        """Load and find models in that precision; those of another are kept beside them."""
        usual, self.dtype = self.dtype, dtype
        try:
            yield
        finally:
            self.dtype = usual

    def room(self, own: Iterable[Any]) -> Room:
        """What memory there is for a job with these parts."""
        mine = list(own)
        kept = [(name, parts) for name, _, _, parts in self._others(mine)]
        return self.residency.room(mine, kept)

    def follow(self, plan: Plan, named: Iterable[tuple[str, Any]]) -> None:
        """Let other models make room, and put these parts in their places."""
        parts = dict(named)
        for name, kept, stamp, others in list(self._others(parts.values())):
            if name in plan.unloaded:
                _unload(kept, stamp)
            elif name in plan.to_ram:
                if kept is self._sessions:
                    _unload(kept, stamp)  # it can't be moved
                    continue
                for other in others:
                    if place_of(other) == "device":
                        self.residency.place(other, "aside")
        placings = {one.part.name: one for one in plan.placings}
        # what leaves the device goes first
        for name in sorted(parts, key=lambda name: placings[name].place == "device"):
            one = placings[name]
            self.residency.place(parts[name], one.place, pinned=one.pinned, rest=one.rest)

    def look(self, model: Checkpoint) -> None:
        """Find out what a model predicts whose file does not tell: once, and in its place."""
        if model.untold:
            with self.residency.at_work(model.denoiser, *model.text_encoders):
                look_what_it_predicts(model)
            model.untold = False

    def unload_others(self, own: Iterable[Any]) -> bool:
        """Unload what a job with these parts does not use; whether there was anything."""
        others = list(self._others(list(own)))
        for _, kept, stamp, _ in others:
            del kept[stamp]
        free_unused()
        return bool(others)

    def _others(
        self, own: Iterable[Any]
    ) -> Iterator[tuple[str, LoadedParts, Stamp, tuple[Any, ...]]]:
        """What is kept beside these parts, each with its name, where it is kept and its parts: the
        smaller kinds first, and of a kind what was used longest ago.
        """
        mine = set(map(id, own))
        for number, kept in enumerate(reversed(self._kept)):
            for stamp, held in list(kept.items()):
                parts = held.parts if isinstance(held, Checkpoint) else (held,)
                if mine.isdisjoint(map(id, parts)):
                    yield f"{stamp[0].name} ({number}.{stamp[-2:]})", kept, stamp, parts

    def free(self) -> None:
        """Unload everything."""
        self.merger.free()
        for kept in self._kept:
            kept.clear()
        free_unused()

    def stamp(self, model: ModelFile) -> Stamp:
        """What tells this file, and those of its parts that lie elsewhere, as they are now and in
        this precision, from every other.
        """
        parts = [
            (name, *(_stamp(file) for file in part.files))
            for name, part in sorted(model.parts.items())
        ]
        return (*_stamp(model), *parts, model.quantise, self.dtype)

    @property
    def _kept(self) -> tuple[LoadedParts, ...]:
        small = (self._controlnets, self._vaes, self._upscalers, self._face_restorers)
        return (
            *(self._checkpoints, *small, self._annotators, self._image_prompts, self._sessions),
        )

    def _part(self, model: ModelFile, load: Any, kept: LoadedParts, room: int) -> Any:
        # one of unknown version is another for each family that it is used with
        stamp = (*self.stamp(model), model.family)
        if stamp not in kept:
            while len(kept) >= room:
                _unload(kept, next(iter(kept)))
            with _naming_broken_files(model):
                part = load(model, self.dtype)
                self._mark((part,), model)
            kept[stamp] = part
        kept.move_to_end(stamp)
        return kept[stamp]

    def _mark(self, parts: tuple[Any, ...], model: ModelFile) -> None:
        """Let each part know where it comes from; until it is placed it waits in main memory."""
        stamp = self.stamp(model)
        for part in parts:
            part.origin = (model.path, type(part).__name__)
            part.stamp = stamp
            self._unpacking.settle(part)
            self.residency.place(part, "aside")


def latents_of(vae: Any) -> tuple[int, int]:
    """Channels of a latent, and how often it was halved from the picture's size."""
    make = make_of(vae)
    return make.channels(vae), len(make.widths(vae))


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
    free_unused()
    log.info("model unloaded", path=str(stamp[0]))
