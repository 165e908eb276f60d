"""LoRAs merged into the weights of networks, and taken out again to the last bit.

Layers that hold their weight quantised are told what to add to it whenever they unpack it. Of each
other weight that is changed the original is kept, and what is merged is computed from it in
float32. So nothing adds up from job to job, the order of several LoRAs does not matter, and a job
that wants what is merged already costs nothing.
"""

import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import torch

from generation.runtime import lora_file, widening
from generation.runtime.faults import JobError
from generation.runtime.lora_deltas import WeightChange, inputs_of, rows_of
from generation.runtime.lora_file import Delta, FileStamp, LoraFile, NamedTensors
from generation.runtime.lora_names import LayerNames, Piece, Target
from generation.runtime.quantised import Quantised

KEPT_FOR: Final = 8
"""Jobs without a LoRA after which the originals of a network are forgotten."""
FILE_MAX: Final = 2**29
"""Bytes of a LoRA file that stays in memory while it is merged, so that it isn't read again when
another LoRA joins it."""
TEXT_ENCODERS: Final = "text_encoder"
"""How the names of networks begin that have the text encoder's strength."""
ENDS: Final = ("conv_in", "conv_out")
"""Layers whose channels differ between variants of one family, as those for inpainting."""
PRECISIONS: Final = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class LoraMerge:
    """A LoRA that a job wants, and how strongly it acts on the denoiser and the text encoders."""

    path: Path
    name: str
    """As people call it."""
    denoiser: float = 1.0
    text: float = 1.0


@dataclass(frozen=True)
class LoraReport:
    """What came of a LoRA."""

    name: str
    applied: int
    """Layers of the file that were found in the networks."""
    layers: int
    """Layers in the file."""
    unused: tuple[str, ...]
    """Names of the tensors that change nothing here."""
    embeddings: Mapping[str, NamedTensors]
    """Textual inversions that the file brings along, as in `LoraFile`."""

    @property
    def is_partial(self) -> bool:
        """Whether only a part of it fits."""
        return bool(self.unused)


_Recipe = tuple[tuple[FileStamp, str, float], ...]
"""What is merged into a module: of which file which layer at which strength."""


@dataclass
class _State:
    """What is merged into a network."""

    kept: dict[tuple[str, str], torch.Tensor] = field(default_factory=dict)
    """The originals by module and parameter."""
    recipes: dict[str, _Recipe] = field(default_factory=dict)
    """By module; what is not listed has its original."""
    idle: int = 0


@dataclass(frozen=True)
class _Step:
    """A change of a module."""

    stamp: FileStamp
    delta: Delta
    strength: float


class Merger:
    """Holds what is merged into which network.

    Networks under model offload, accelerate's sequential offload and diffusers' group offload in
    memory can be merged into, between two jobs; those whose weights lie on disk can't. Layers that
    diffusers fused (`to_qkv`) are not found by LoRAs, which know the single ones. A network that is
    collected takes its originals with it.
    """

    def __init__(self, kept_for: int = KEPT_FOR) -> None:
        self._kept_for = kept_for
        self._states: weakref.WeakKeyDictionary[torch.nn.Module, _State] = (
            weakref.WeakKeyDictionary()
        )
        self._files: dict[FileStamp, LoraFile] = {}
        self._last: tuple[object, list[LoraReport]] | None = None
        self._device: torch.device | None = None

    @torch.no_grad()
    def apply(
        self,
        networks: Mapping[str, torch.nn.Module],
        uses: Sequence[LoraMerge],
        device: torch.device | None = None,
    ) -> list[LoraReport]:
        """Let the networks have these LoRAs and no others; returns a report for each.

        `networks` are named as diffusers names a pipeline's: `unet`, `text_encoder`, ….
        `device` is where to compute; by default each weight is merged where it lies.
        Raises JobError: lora_mismatch for one that is made for other networks, lora_quantised for
        weights that can't take any, and what `lora_file.read` raises. The networks then have none.
        """
        stamps = [lora_file.stamp_of(use.path) for use in uses]
        bare = {name: _unwrapped(network) for name, network in networks.items()}
        self._device = device
        wanted = (
            [(name, weakref.ref(network)) for name, network in bare.items()],
            [(stamp, use.denoiser, use.text) for stamp, use in zip(stamps, uses, strict=True)],
        )
        if self._last is None or self._last[0] != wanted:
            self._last = None
            try:
                reports = self._merge(bare, list(zip(stamps, uses, strict=True)))
            except BaseException:
                self._take_out(bare)
                raise
            self._last = wanted, reports
        self._forget()
        return self._last[1]

    def free(self) -> None:
        """Take all LoRAs out of all networks and keep nothing."""
        with torch.no_grad():
            for network, state in list(self._states.items()):
                self._restore(network, state)
        self._states.clear()
        self._files.clear()
        self._last = None

    @property
    def kept_bytes(self) -> int:
        """What the originals take in main memory."""
        return sum(
            original.nbytes for state in self._states.values() for original in state.kept.values()
        )

    def merged(self, network: torch.nn.Module) -> frozenset[tuple[str, _Recipe]]:
        """What is merged into a network: equal where its weights are the same."""
        state = self._states.get(_unwrapped(network))
        return frozenset(state.recipes.items()) if state else frozenset()

    def _merge(
        self,
        networks: Mapping[str, torch.nn.Module],
        uses: list[tuple[FileStamp, LoraMerge]],
    ) -> list[LoraReport]:
        strengths = _strengths(uses)
        self._files = {stamp: file for stamp, file in self._files.items() if stamp in strengths}
        names = LayerNames(networks) if uses else None
        plans: dict[str, dict[str, list[_Step]]] = {name: {} for name in networks}
        reports: dict[FileStamp, LoraReport] = {}
        for stamp, use in sorted(uses, key=lambda each: each[0]):
            if stamp in reports or names is None:
                continue
            if stamp not in self._files:
                self._files[stamp] = lora_file.read(use.path, use.name)
            file = self._files[stamp]
            found = _Fitting(networks, names, file, use.name)
            reports[stamp] = found.report
            for target, delta in found.deltas:
                is_text = target.network.startswith(TEXT_ENCODERS)
                strength = strengths[stamp][is_text]
                if strength:
                    steps = plans[target.network].setdefault(target.module, [])
                    steps.append(_Step(stamp, delta, strength))
        for name, network in networks.items():
            self._write(network, plans[name])
        self._files = {stamp: file for stamp, file in self._files.items() if stamp[1] <= FILE_MAX}
        return [reports[stamp] for stamp, _ in uses]

    def _write(self, network: torch.nn.Module, plan: Mapping[str, list[_Step]]) -> None:
        """Let the modules of a network have what is planned, and all others their originals."""
        state = self._states.get(network)
        if state is None:
            if not plan:
                return
            state = self._states[network] = _State()
        recipes = {module: _recipe(steps) for module, steps in plan.items()}
        changed = [
            module
            for module in {**state.recipes, **recipes}
            if state.recipes.get(module, ()) != recipes.get(module, ())
        ]
        if changed:
            _settle(network)
        for name in changed:
            was_changed = name in state.recipes
            steps = plan.get(name, [])
            # whatever happens meanwhile, it is known that this module has to be restored
            state.recipes[name] = recipes.get(name, ())
            self._write_module(network, state, name, steps, was_changed)
            if not steps:
                del state.recipes[name]

    def _write_module(
        self,
        network: torch.nn.Module,
        state: _State,
        name: str,
        steps: list[_Step],
        was_changed: bool,
    ) -> None:
        module = network.get_submodule(name)
        widening.give(
            module,
            [
                (step.delta.further, step.strength)
                for step in steps
                if step.delta.further is not None
            ],
        )
        for parameter in ("weight", "bias"):
            changes = [
                (change, step.strength)
                for step in steps
                if (change := getattr(step.delta, parameter)) is not None
            ]
            place = (name, parameter)
            if parameter == "weight" and isinstance(module, Quantised):
                module.changes = tuple(changes)
            elif changes:
                target = _stored(module, parameter)
                if place not in state.kept:
                    state.kept[place] = _copy(target)
                    pristine = True
                else:
                    pristine = not was_changed
                self._compute(target, state.kept[place], changes, pristine=pristine)
            elif was_changed and place in state.kept:
                _stored(module, parameter).copy_(state.kept[place])

    def _compute(
        self,
        target: torch.Tensor,
        kept: torch.Tensor,
        changes: list[tuple[WeightChange, float]],
        *,
        pristine: bool,
    ) -> None:
        device = self._device or target.device
        if target.dtype == torch.float32 and target.device == device and target.is_contiguous():
            total = target
            if not pristine:
                total.copy_(kept)
        else:
            total = kept.to(device, torch.float32, copy=True).contiguous()
        # two that read the weight must not read each other's changes
        original = total
        if any(change.reads_weight for change, _ in changes):
            original = kept.to(device, torch.float32)
        for change, strength in changes:
            change.add_to(total, original, strength)
        if total is not target:
            target.copy_(total)

    def _take_out(self, networks: Mapping[str, torch.nn.Module]) -> None:
        for network in networks.values():
            state = self._states.get(network)
            if state is not None:
                self._restore(network, state)

    def _restore(self, network: torch.nn.Module, state: _State) -> None:
        if state.recipes:
            _settle(network)
        for name in list(state.recipes):
            module = network.get_submodule(name)
            widening.give(module, [])
            if isinstance(module, Quantised):
                module.changes = ()
            for parameter in ("weight", "bias"):
                original = state.kept.get((name, parameter))
                if original is not None:
                    _stored(module, parameter).copy_(original)
            del state.recipes[name]

    def _forget(self) -> None:
        """Originals that no job needed for a while, of all networks."""
        for network, state in list(self._states.items()):
            state.idle = 0 if state.recipes else state.idle + 1
            if state.idle >= self._kept_for:
                del self._states[network]


class _Fitting:
    """Where the deltas of a file belong."""

    def __init__(
        self,
        networks: Mapping[str, torch.nn.Module],
        names: LayerNames,
        file: LoraFile,
        name: str,
    ) -> None:
        self.deltas: list[tuple[Target, Delta]] = []
        unused = list(file.unknown)
        found: set[Target] = set()
        applied = 0
        for delta in file.deltas:
            pieces = names.pieces(delta.layer)
            targets = {piece.target for piece in pieces}
            # a layer that is there under two names acts once, as everywhere
            if not pieces or targets & found:
                unused += delta.tensors
                continue
            found |= targets
            own = [(piece.target, _piece_of(delta, piece)) for piece in pieces]
            own = [(target, _widening(part, networks, target)) for target, part in own]
            if all(self._fits(part, _module(networks, target), name) for target, part in own):
                self.deltas += own
                applied += 1
            elif any(target.module in ENDS for target in targets) or _needs_whole(delta, pieces):
                unused += delta.tensors
            else:
                # the layer is there and has another shape: this is another family
                raise JobError("lora_mismatch", name=name)
        if not self.deltas:
            raise JobError("lora_mismatch", name=name)
        layers = len(file.deltas)
        self.report = LoraReport(name, applied, layers, tuple(sorted(unused)), file.embeddings)

    def _fits(self, delta: Delta, module: torch.nn.Module, name: str) -> bool:
        for parameter in ("weight", "bias"):
            change: WeightChange | None = getattr(delta, parameter)
            if change is None:
                continue
            own = getattr(module, parameter, None)
            if not isinstance(own, torch.Tensor):
                return False
            # under offload `own` may be without values, and has their shape and precision
            if type(own) not in (torch.nn.Parameter, torch.Tensor) or own.dtype not in PRECISIONS:
                raise JobError("lora_quantised", name=name)
            if not change.fits(tuple(own.shape)):
                return False
        return True


def _module(networks: Mapping[str, torch.nn.Module], target: Target) -> torch.nn.Module:
    return networks[target.network].get_submodule(target.module)


def _piece_of(delta: Delta, piece: Piece) -> Delta:
    """What a layer's change does to one of the modules that stand for the layer."""
    if not piece.rows:
        return delta

    def own(change: WeightChange | None) -> WeightChange | None:
        return None if change is None else rows_of(change, piece.rows, piece.total)

    return replace(delta, weight=own(delta.weight), bias=own(delta.bias))


def _widening(delta: Delta, networks: Mapping[str, torch.nn.Module], target: Target) -> Delta:
    """A change of a layer that is to have more inputs, apart from the change of these."""
    network = _unwrapped(networks[target.network])
    width = widening.width_of(network, target.module, delta.weight)
    if delta.weight is None or not width:
        return delta
    further = inputs_of(delta.weight, width, 2 * width)
    return replace(delta, weight=inputs_of(delta.weight, 0, width), further=further)


def _needs_whole(delta: Delta, pieces: Sequence[Piece]) -> bool:
    """Whether its change depends on a weight of which the modules have each a share."""
    in_pieces = any(piece.rows for piece in pieces)
    return in_pieces and delta.weight is not None and delta.weight.reads_weight


def _strengths(uses: list[tuple[FileStamp, LoraMerge]]) -> dict[FileStamp, tuple[float, float]]:
    """Of each file for the denoiser and the text encoders; given twice, a LoRA acts twice."""
    found: dict[FileStamp, tuple[float, float]] = {}
    for stamp, use in uses:
        denoiser, text = found.get(stamp, (0.0, 0.0))
        found[stamp] = denoiser + use.denoiser, text + use.text
    return found


def _recipe(steps: list[_Step]) -> _Recipe:
    return tuple((step.stamp, step.delta.layer, step.strength) for step in steps)


def _unwrapped(network: torch.nn.Module) -> torch.nn.Module:
    """What torch.compile was given."""
    inner = getattr(network, "_orig_mod", network)
    return inner if isinstance(inner, torch.nn.Module) else network


def _copy(tensor: torch.Tensor) -> torch.Tensor:
    """A copy in main memory, from where it goes back to a GPU quickly."""
    if tensor.device.type != "cuda":
        return tensor.detach().to("cpu", copy=True)
    try:
        copy = torch.empty_like(tensor, device="cpu", pin_memory=True)
    except RuntimeError:  # the system lets a process pin so much and no more
        copy = torch.empty_like(tensor, device="cpu")
    return copy.copy_(tensor.detach())


def _stored(module: torch.nn.Module, parameter: str) -> torch.Tensor:
    """The tensor that the module's weight comes from at its next call."""
    tensor: torch.Tensor = getattr(module, parameter)
    if not tensor.is_meta:
        return tensor.detach()
    for hook in _hooks(module):
        weights = getattr(hook, "weights_map", None)
        if weights is not None:
            stored: torch.Tensor = weights[parameter]
            if stored.data_ptr() == weights[parameter].data_ptr():
                return stored
    raise RuntimeError(f"the weights of {type(module).__name__} are not in memory")


def _hooks(module: torch.nn.Module) -> Iterator[Any]:
    """Accelerate's hooks of a module, which is where sequential offload keeps its weights."""
    hook = getattr(module, "_hf_hook", None)
    if hook is not None:
        yield from getattr(hook, "hooks", (hook,))


def _settle(network: torch.nn.Module) -> None:
    """Bring back to main memory what diffusers' group offload fetched ahead.

    A change of such a copy on the GPU would be lost when it goes.
    """
    for module in network.modules():
        registry = getattr(module, "_diffusers_hook", None)
        hook = registry.get_hook("group_offloading") if registry is not None else None
        if hook is not None:
            if hook.group.offload_to_disk_path is not None:
                raise RuntimeError("weights that are offloaded to disk can't take a LoRA")
            hook.group.offload_()
