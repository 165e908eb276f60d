"""Where weights lie: on the device for good, only while they work, or streamed through it.

A part is a denoiser, a text encoder, a VAE, a ControlNet or an upscaler. Where it goes a plan says
(`generation/memory_plan.py`); here it is moved.
"""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any, Final

import psutil
import structlog
import torch

from generation.memory_plan import GIB, Kept, PartPlace, Rest, Room
from generation.memory_settings import KEPT_SHARE, PINNED, RAM_RESERVE
from generation.messages import RuntimeSettings
from generation.runtime import streaming
from generation.runtime.quantised import unpack, unpacked_bytes
from generation.runtime.streaming import size_of

log = structlog.get_logger(__name__)

CPU: Final = torch.device("cpu")
STREAM: Final = ("cuda",)
"""Devices to which layers are copied while others work."""


class Residency:
    """Places parts on one device."""

    def __init__(self, settings: RuntimeSettings, device: torch.device) -> None:
        self.device = device
        self._settings = settings

    @property
    def one_memory(self) -> bool:
        """Whether the device computes in main memory, so that moving a part wins nothing."""
        return self.device.type != "cuda"

    def room(self, own: Iterable[Any], kept: Iterable[tuple[str, Iterable[Any]]]) -> Room:
        """What there is now for a job with these parts, beside other models by their names."""
        mine = list(own)
        others = tuple(
            Kept(name=name, device=self._on_device(parts), ram=self._in_ram(parts))
            for name, parts in ((name, list(parts)) for name, parts in kept)
        )
        memory = psutil.virtual_memory()
        ram = memory.available - RAM_RESERVE + self._in_ram(mine)
        device, total = self._device_memory()
        if self.one_memory:
            device = ram = memory.available + self._on_device(mine) + self._in_ram(mine)
        limit = self._settings.ram_limit * GIB or memory.total * KEPT_SHARE
        return Room(
            device=max(0, device if self.one_memory else device + self._on_device(mine)),
            ram=max(0, ram),
            total=total,
            pinned=0 if self.one_memory else max(0, min(ram, int(memory.total * PINNED))),
            kept=others,
            kept_ram=int(limit),
            one_memory=self.one_memory,
        )

    def _device_memory(self) -> tuple[int, int]:
        """Bytes that are free for this process, less what is to stay free, and all there are."""
        if self.device.type != "cuda":
            return 0, psutil.virtual_memory().total
        free, total = torch.cuda.mem_get_info(self.device)
        unused = torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
        return free + unused - int(self._settings.vram_reserve * GIB), total

    def _on_device(self, parts: Iterable[Any]) -> int:
        return sum(_held(part) for part in parts if place_of(part) == "device")

    def _in_ram(self, parts: Iterable[Any]) -> int:
        return sum(_held(part) for part in parts if place_of(part) != "device")

    def place(
        self, part: Any, place: PartPlace, *, pinned: bool = False, rest: Rest = "ram"
    ) -> None:
        """Put a part where it lies while it does not work; one that rests on `disk` is forgotten
        whenever it has worked, and read anew.
        """
        if self.one_memory and place == "aside":
            place = "device"
        now = place_of(part)
        if now == place and _rests(part) == rest:
            part.residency = place
            return
        if now in ("blocks", "leaves") and _rests(part) == "ram":
            streaming.stop(part)
        if _is_forgotten(part) and rest == "ram":
            _recall(part)
        part.residency, part.rest = place, rest
        if rest == "disk":
            return
        if place == "device":
            part.to(self.device)
        elif now == "device":
            part.to(CPU)
        if place != "device" and pinned and self.device.type == "cuda":
            _pin(part)
        self._stream(part, pinned=pinned)

    def _stream(self, part: Any, *, pinned: bool) -> None:
        """Have its weights go through the device, where that is its place."""
        if part.residency in ("blocks", "leaves"):
            _lie_as_usual(part)
            stream = self.device.type in STREAM
            streaming.start(part, self.device, part.residency, stream=stream, pinned=pinned)

    def has_ram_for(self, size: int) -> bool:
        """Whether so many bytes may come into main memory now."""
        return size <= psutil.virtual_memory().available - RAM_RESERVE

    @contextlib.contextmanager
    def at_work(self, *parts: Any) -> Iterator[None]:
        """While it lasts, these parts compute on the device."""
        with contextlib.ExitStack() as working:
            for part in parts:
                working.enter_context(self._at_work(part))
            yield
        if self.device.type == "cuda" and any(place_of(part) != "device" for part in parts):
            torch.cuda.empty_cache()

    @contextlib.contextmanager
    def _at_work(self, part: Any) -> Iterator[None]:
        place, moved = place_of(part), []
        try:
            if _rests(part) == "disk":
                _recall(part)
                self._stream(part, pinned=False)
            if place == "aside":
                moved = self._bring(part, list(_tensors(part)))
            elif place == "blocks":
                moved = self._bring(part, streaming.beside_blocks(part))
            yield
        finally:
            for tensor, resting in moved:
                tensor.data = resting
            copy = getattr(part, "float32_copy", None)
            if moved and copy is not None:
                copy.to(CPU)
            if _rests(part) == "disk":
                if place in ("blocks", "leaves"):
                    streaming.stop(part)
                _forget(part)

    def _bring(
        self, part: Any, tensors: list[torch.Tensor]
    ) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Copies on the device, each with what it was copied from: nothing is copied back."""
        found = [(tensor, tensor.data) for tensor in tensors]
        for tensor, resting in found:
            tensor.data = resting.to(self.device, non_blocking=resting.is_pinned())
        copy = getattr(part, "float32_copy", None)
        if copy is not None:
            copy.to(self.device)
        return found


def _held(part: Any) -> int:
    """Bytes of its weights; of a network that is not torch's it says so itself."""
    found: int | None = getattr(part, "bytes_held", None)
    return size_of(part) if found is None else found


def place_of(part: Any) -> PartPlace:
    """Where a part lies; one that was just loaded waits in main memory."""
    place: PartPlace = getattr(part, "residency", "aside")
    return place


def _rests(part: Any) -> Rest:
    rest: Rest = getattr(part, "rest", "ram")
    return rest


def _is_forgotten(part: Any) -> bool:
    return any(tensor.numel() == 0 for tensor in part.parameters())


def _forget(part: Any) -> None:
    """Let go of its weights; its layers stay as they are."""
    for tensor in _tensors(part):
        tensor.data = torch.empty(0, dtype=tensor.dtype)


def _recall(part: Any) -> None:
    """Read the weights that were forgotten."""
    if not _is_forgotten(part):
        return
    fresh = part.reload().module
    if not unpacked_bytes(part):
        unpack(fresh)
    for tensor, read in zip(_tensors(part), _tensors(fresh), strict=True):
        tensor.data = read.data


def _tensors(part: Any) -> Iterator[torch.Tensor]:
    yield from {id(each): each for each in (*part.parameters(), *part.buffers())}.values()


def _pin(part: Any) -> None:
    """Let its weights be copied by the device itself; as far as the system lets it."""
    try:
        for tensor in _tensors(part):
            if not tensor.is_pinned():
                tensor.data = tensor.data.pin_memory()
    except RuntimeError as error:
        log.info("main memory can't be pinned", error=str(error).splitlines()[0][:200])


def _lie_as_usual(part: Any) -> None:
    """What is streamed is copied as it is stored."""
    if getattr(part, "channels_last", False):
        part.to(memory_format=torch.contiguous_format)
        part.channels_last = False
