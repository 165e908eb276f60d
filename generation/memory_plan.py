"""Where the parts of a model lie while a job is drawn, by how much memory there is: arithmetic.

Every way to place the parts is weighed by what it needs on the device in each phase of a job and by
the seconds that it costs; the cheapest that fits is the plan. More memory never gives a dearer one.
All sizes are bytes.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Final, Literal, NamedTuple

import msgspec

PartPlace = Literal["device", "aside", "blocks", "leaves"]
"""On the device for good; in main memory, on the device while it works; there too, and block by
block on the device while it works, or layer by layer."""
Rest = Literal["ram", "disk"]
"""Where a part that is not on the device waits: in main memory, or in its file, read anew."""
Phase = Literal["encode", "prepare", "denoise", "refine", "decode", "finish"]
"""In `prepare` networks see pictures before any is drawn, in `finish` others mend what was."""
Role = Literal["text", "denoiser", "refiner", "vae"]

PHASES: Final[tuple[Phase, ...]] = ("encode", "prepare", "denoise", "refine", "decode", "finish")
WORKS_IN: Final[dict[Role, tuple[Phase, ...]]] = {
    "text": ("encode",),
    "denoiser": ("denoise",),
    "refiner": ("refine",),
    # a picture is finished before the next one is decoded
    "vae": ("decode", "finish"),
}
PLACES: Final[tuple[PartPlace, ...]] = ("device", "aside", "blocks", "leaves")
"""From the quickest to what needs least."""
GIB: Final = 2**30
SMALL: Final = 512 * 2**20
"""A part below it is not streamed: it comes to the device as a whole."""

LINK: Final = 10e9
"""Bytes a second between main memory and the device; half of it where they are not pinned."""
DISK: Final = 1.5e9
"""Bytes a second, where the disk was not measured."""
LEAVES: Final = 3.6
"""Times that layers one by one take longer than blocks (published for diffusers)."""
BLOCKS: Final = 1.1
"""Times that blocks take longer than a part as a whole."""
BATCH: Final = 0.5
"""Seconds that each further batch of pictures costs."""
FEWER: Final = 0.01
"""Seconds for each picture less at once: of as many batches the first are the largest."""
TILED: Final = 3.0
"""Seconds that decoding a picture in tiles costs; it changes the picture a little, too."""
EVICTED: Final = 0.3
"""Of the seconds that it takes to bring back what made room."""


class PlannedPart(msgspec.Struct, frozen=True, kw_only=True):
    """A network."""

    name: str
    """As diffusers names it: unet, transformer, text_encoder_2, vae, …"""
    role: Role
    bytes: int
    """Of its weights as they lie."""
    block: int = 0
    """What it needs on the device while it is streamed block by block; 0 where it can't be."""
    leaf: int = 0
    """The same layer by layer."""
    reread: bool = False
    """Whether it can be read anew from its file whenever it is to work."""


class PlannedHelper(msgspec.Struct, frozen=True, kw_only=True):
    """A network beside the drawing ones, which works before or after them and on one picture."""

    name: str
    phase: Literal["prepare", "finish"]
    bytes: int
    """Of its weights."""
    work: int = 0
    """What it needs beside them."""
    place: Literal["aside", "device", "ram"] = "aside"
    """Where it lies while it rests, and works: in main memory, coming to the device to work; on the
    device for both; in main memory for both.
    """


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """Another model that is in memory, and what it has where."""

    name: str
    device: int = 0
    ram: int = 0


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """What there is now. What the task's own parts take already counts as free."""

    device: int
    """Bytes that are free for it, after what is to be kept free."""
    ram: int
    total: int = 0
    """Of the device; 0 where that is not known."""
    pinned: int = 0
    """Of main memory, that may be pinned."""
    kept: tuple[Kept, ...] = ()
    """Other models, the one that was used longest ago first."""
    kept_ram: int | None = None
    """What others may have in main memory at most; None for what there is."""
    one_memory: bool = False
    """Whether the device computes in main memory: a processor, an Apple GPU."""
    disk: float = DISK
    """Bytes a second."""


class PlannedTask(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be drawn, and what it needs beside the weights."""

    parts: tuple[PlannedPart, ...]
    count: int = 1
    """Pictures, of which at most `batch` at once."""
    batch: int = 1
    steps: int = 20
    fixed: int = 0
    """Beside all else: what libraries take to work in."""
    encode: int = 0
    denoise: int = 0
    """Of one picture."""
    refine: int = 0
    decode: int = 0
    """Of one picture: they are decoded one by one."""
    tiled: int = 0
    """Of one that is decoded in small tiles."""
    helpers: tuple[PlannedHelper, ...] = ()
    prepare: int = 0
    finish: int = 0
    """Beyond what is reckoned of the helpers."""


class MemoryBounds(msgspec.Struct, frozen=True, kw_only=True):
    """What may be chosen."""

    denoiser: tuple[PartPlace, ...] = PLACES
    others: tuple[PartPlace, ...] = PLACES
    disk: bool = True
    """Whether parts may be read anew from their file."""
    tiled: tuple[bool, ...] = (False, True)
    batches: tuple[int, ...] = ()
    """Pictures at once; empty for every number."""


class Placing(msgspec.Struct, frozen=True, kw_only=True):
    """One part in its place."""

    part: PlannedPart
    place: PartPlace
    rest: Rest = "ram"
    pinned: bool = False

    def on_device(self, phase: Phase) -> int:
        """What it takes there in a phase."""
        if self.place == "device":
            return self.part.bytes
        if phase not in WORKS_IN[self.part.role]:
            return 0
        if self.place == "aside":
            return self.part.bytes
        return self.part.block if self.place == "blocks" else self.part.leaf

    @property
    def in_ram(self) -> int:
        """What it takes in main memory while it waits."""
        return self.part.bytes if self.place != "device" and self.rest == "ram" else 0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How a job is drawn."""

    task: PlannedTask
    room: Room
    placings: tuple[Placing, ...]
    batch: int
    """Pictures at once."""
    tiled: bool = False
    """Whether the VAE works on small tiles."""
    to_ram: tuple[str, ...] = ()
    """Other models that leave the device for main memory."""
    unloaded: tuple[str, ...] = ()
    """Other models that leave both."""
    helpers_leave: bool = False
    """Whether what works before or after the drawing is unloaded once it has."""
    peak: int = 0
    """Bytes of the device at most."""
    ram: int = 0
    """Bytes of main memory while it lasts."""
    seconds: float = 0.0
    """What it costs beyond having everything on the device, roughly."""

    def place(self, name: str) -> PartPlace:
        """Of that part; on the device where the plan knows none of the name."""
        found = (one.place for one in self.placings if one.part.name == name)
        return next(found, "device")

    def weights(self, phase: Phase) -> int:
        """Bytes of weights on the device in a phase."""
        return sum(one.on_device(phase) for one in self.placings)

    def needs(self, phase: Phase) -> int:
        """Bytes of the device in a phase."""
        of_helpers = helped(
            self.task, phase, leave=self.helpers_leave, one_memory=self.room.one_memory
        )
        return self.weights(phase) + of_helpers + self.beside(phase)

    def beside(self, phase: Phase) -> int:
        """Bytes of the device in a phase beside weights and helpers."""
        return beside(self.task, phase, self.batch, self.tiled)

    @property
    def there(self) -> int:
        """Bytes of the device that it was given, others gone."""
        gone = {*self.to_ram, *self.unloaded}
        return self.room.device + sum(one.device for one in self.room.kept if one.name in gone)


class NoRoom(msgspec.Struct, frozen=True, kw_only=True):
    """No plan fits."""

    what: Literal["device", "ram"]
    needed: int
    there: int
    least: Plan
    """What needs least of that memory."""


ANYTHING: Final = MemoryBounds()


def plan(task: PlannedTask, room: Room, bounds: MemoryBounds = ANYTHING) -> Plan | NoRoom:
    """The cheapest that fits into the room; what needs least where none does."""
    found = list(_candidates(task, room, bounds))
    fitting = [one for one in found if one.peak <= one.device and one.ram <= one.main]
    if fitting:
        return min(fitting, key=lambda one: (one.seconds, one.peak, one.ram)).plan(task, room)
    for_device = [one for one in found if one.peak <= one.device]
    if for_device:
        best = min(for_device, key=lambda one: (one.ram - one.main, one.seconds))
        return NoRoom(what="ram", needed=best.ram, there=best.main, least=best.plan(task, room))
    for_ram = [one for one in found if one.ram <= one.main] or found
    best = min(for_ram, key=lambda one: (one.peak - one.device, one.seconds))
    return NoRoom(what="device", needed=best.peak, there=best.device, least=best.plan(task, room))


class _Candidate(NamedTuple):
    """A way to draw, in figures: as of Plan, and what there is for it."""

    seconds: float
    peak: int
    ram: int
    device: int
    main: int
    placings: tuple[Placing, ...]
    batch: int
    tiled: bool
    gone: "_Gone"
    leave: bool

    def plan(self, task: PlannedTask, room: Room) -> Plan:
        return Plan(
            task=task,
            room=room,
            placings=self.placings,
            batch=self.batch,
            tiled=self.tiled,
            to_ram=self.gone.to_ram,
            unloaded=self.gone.unloaded,
            helpers_leave=self.leave,
            peak=self.peak,
            ram=self.ram,
            seconds=self.seconds,
        )


class _Gone(NamedTuple):
    """Other models that make room, what there is then, and the seconds that it costs."""

    to_ram: tuple[str, ...]
    unloaded: tuple[str, ...]
    device: int
    main: int
    seconds: float


def _candidates(task: PlannedTask, room: Room, bounds: MemoryBounds) -> Iterator[_Candidate]:
    gone = list(_evictions(room))
    ways = list(
        itertools.product(
            bounds.batches or tuple(_batches(task)),
            dict.fromkeys(bounds.tiled),
            (False, True) if task.helpers else (False,),
        )
    )
    of_helpers = {
        (phase, leave): helped(task, phase, leave=leave, one_memory=room.one_memory)
        for phase in PHASES
        for leave in (False, True)
    }
    for placings in _placings(task, room, bounds):
        weights = {phase: sum(one.on_device(phase) for one in placings) for phase in PHASES}
        for batch, tiled, leave in ways:
            peak = max(
                weights[phase] + of_helpers[phase, leave] + beside(task, phase, batch, tiled)
                for phase in PHASES
            )
            ram = _ram(placings) + (0 if room.one_memory else _helped_ram(task, leave=leave))
            seconds = _seconds(task, room, placings, batch, tiled)
            if leave:
                seconds += sum(one.bytes for one in task.helpers) / room.disk
            for away in gone:
                # what is in the one memory is in it once
                main = ram if room.one_memory else away.main
                yield _Candidate(
                    seconds + away.seconds,
                    peak,
                    ram,
                    away.device,
                    main,
                    placings,
                    batch,
                    tiled,
                    away,
                    leave,
                )


def beside(task: PlannedTask, phase: Phase, batch: int, tiled: bool) -> int:
    """Bytes of the device in a phase beside the weights."""
    match phase:
        case "encode":
            return task.encode + task.fixed
        case "denoise":
            return task.denoise * batch + task.fixed
        case "refine":
            return task.refine * batch + task.fixed
        case "decode":
            return (task.tiled if tiled else task.decode) + task.fixed
        case "prepare":
            return task.prepare + task.fixed
        case "finish":
            return task.finish + task.fixed


def helped(task: PlannedTask, phase: Phase, *, leave: bool, one_memory: bool) -> int:
    """Bytes of the device in a phase for the helpers: for those that rest there, and of those that
    work in it, one after the other, for the one that needs most.
    """
    resting = [one for one in task.helpers if one_memory or one.place == "device"]
    resting = [] if leave else resting
    comes = [
        one.work + (0 if one in resting else one.bytes)
        for one in task.helpers
        if one.phase == phase and (one_memory or one.place != "ram")
    ]
    return sum(one.bytes for one in resting) + max(comes, default=0)


def _helped_ram(task: PlannedTask, *, leave: bool) -> int:
    """Bytes of main memory beside a device for the helpers: for those that wait there, and while
    they work for the one that needs most.
    """
    waiting = [one for one in task.helpers if one.place != "device"]
    needs = [
        (one.bytes if leave else 0) + (one.work if one.place == "ram" else 0) for one in waiting
    ]
    return (0 if leave else sum(one.bytes for one in waiting)) + max(needs, default=0)


def _ram(placings: Sequence[Placing]) -> int:
    """Bytes of main memory: what waits there, and the largest that passes through it."""
    anew = [one.part.bytes for one in placings if one.rest == "disk"]
    return sum(one.in_ram for one in placings) + max(anew, default=0)


def _seconds(
    task: PlannedTask, room: Room, placings: Sequence[Placing], batch: int, tiled: bool
) -> float:
    """What it costs beyond having everything on the device: rough, to compare plans by."""
    batches = -(-task.count // batch)
    found = BATCH * (batches - 1) + (TILED * task.count if tiled else 0.0)
    found += FEWER * (min(task.batch, task.count) - batch)
    for one in placings:
        if one.place == "device":
            continue
        once = one.part.bytes / (LINK if one.pinned else LINK / 2)
        if one.rest == "disk":
            once += one.part.bytes / room.disk
        if one.place in ("blocks", "leaves"):
            once *= LEAVES if one.place == "leaves" else BLOCKS
            once *= 1 if one.part.role == "text" else task.steps
        found += once * (1 if one.part.role == "text" else batches)
    return found


def _batches(task: PlannedTask) -> Iterator[int]:
    """Pictures at once: as many as may be, and each number that is the smallest for so many
    batches.
    """
    most = max(1, min(task.batch, task.count))
    found = {most}
    found.update(-(-task.count // batches) for batches in range(1, task.count + 1))
    yield from sorted((batch for batch in found if batch <= most), reverse=True)


def _evictions(room: Room) -> Iterator[_Gone]:
    """Who leaves the device for main memory, and who leaves both: always those first that were used
    longest ago.
    """
    kept = room.kept
    for first in range(len(kept) + 1):
        for last in range(first, len(kept) + 1):
            away = [one for one in kept[first:last] if one.device]
            if len(away) < last - first or (away and room.one_memory):
                continue  # the same as another, or nothing is won
            came = sum(one.device for one in away)
            held = sum(one.ram for one in kept[first:]) + came
            if away and room.kept_ram is not None and held > room.kept_ram:
                continue
            unloaded = kept[:first]
            lost = sum(one.device + one.ram for one in unloaded)
            yield _Gone(
                tuple(one.name for one in away),
                tuple(one.name for one in unloaded),
                room.device + came + sum(one.device for one in unloaded),
                room.ram + sum(one.ram for one in unloaded) - came,
                EVICTED * (lost / room.disk + came / LINK),
            )


def _placings(task: PlannedTask, room: Room, bounds: MemoryBounds) -> Iterator[tuple[Placing, ...]]:
    by_role: dict[Role, list[PlannedPart]] = {}
    for part in task.parts:
        by_role.setdefault(part.role, []).append(part)
    choices = [_choices(role, parts, room, bounds) for role, parts in by_role.items()]
    for chosen in itertools.product(*choices):
        together = tuple(itertools.chain.from_iterable(chosen))
        yield _pinned(together, room)


def _choices(
    role: Role, parts: Sequence[PlannedPart], room: Room, bounds: MemoryBounds
) -> list[tuple[Placing, ...]]:
    """The parts of one role in each place that they may have, each way once."""
    if room.one_memory:
        return [tuple(Placing(part=part, place="device") for part in parts)]
    places = bounds.denoiser if role in ("denoiser", "refiner") else bounds.others
    rests: tuple[Rest, ...] = ("ram", "disk") if bounds.disk else ("ram",)
    found: dict[tuple[Placing, ...], None] = {}
    for place, rest in itertools.product(places, rests):
        if place == "device" and rest == "disk":
            continue
        found[tuple(_placing(part, place, rest) for part in parts)] = None
    return list(found)


def _placing(part: PlannedPart, place: PartPlace, rest: Rest) -> Placing:
    if place in ("blocks", "leaves"):
        streamed = part.block if place == "blocks" else part.leaf
        if part.bytes < SMALL or not 0 < streamed < part.bytes:
            place = "aside"
    small = part.bytes < SMALL or not part.reread
    return Placing(part=part, place=place, rest="ram" if small else rest)


def _pinned(placings: tuple[Placing, ...], room: Room) -> tuple[Placing, ...]:
    """As many of those in main memory pinned as may be, what moves most often first."""
    left, pinned = room.pinned, set()
    streamed_first = sorted(placings, key=lambda one: -PLACES.index(one.place))
    for one in streamed_first:
        if 0 < one.in_ram <= left:
            left -= one.in_ram
            pinned.add(one.part.name)
    if not pinned:
        return placings
    return tuple(
        msgspec.structs.replace(one, pinned=True) if one.part.name in pinned else one
        for one in placings
    )
