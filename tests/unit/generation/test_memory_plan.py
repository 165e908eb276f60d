"""The planner of memory as the arithmetic that it is: cards, models, other programs."""

import itertools
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.memory_table import CARDS, MODELS, PAGE, Model, room_of, task_of, with_tables
from generation.assembly import quantised
from generation.families import FAMILIES, family_of
from generation.memory_needs import Measured, after_measuring, after_running_out, parts_of
from generation.memory_needs import task_of as task_of_request
from generation.memory_plan import (
    GIB,
    PHASES,
    Kept,
    MemoryBounds,
    NoRoom,
    PartPlace,
    Phase,
    Plan,
    PlannedHelper,
    PlannedTask,
    Room,
    plan,
)
from generation.memory_words import WORDS, codes, in_words, why
from generation.models import ModelFile, ModelKind
from tests.fixtures.requests import a_request
from tests.unit.generation.catalogs import a_model

SD1, SDXL = MODELS[0], MODELS[1]
FLUX = next(model for model in MODELS if "fp8" in model.title and "Flux" in model.title)
models = st.sampled_from(MODELS)
gib = st.integers(0, 26 * 4).map(lambda quarters: quarters / 4)


helpers = st.builds(
    PlannedHelper,
    name=st.just("helper"),
    phase=st.sampled_from(["prepare", "finish"]),
    bytes=gib.map(lambda size: int(size * GIB / 8)),
    work=gib.map(lambda size: int(size * GIB / 8)),
    place=st.sampled_from(["aside", "device", "ram"]),
)


UNHURRIED = settings(max_examples=40, deadline=None)


@st.composite
def rooms(draw: st.DrawFn) -> Room:
    """A card with whatever is on it, in a computer with whatever it has."""
    kept = [
        Kept(name=str(number), device=int(draw(gib) * GIB / 8), ram=int(draw(gib) * GIB / 8))
        for number in range(draw(st.integers(0, 2)))
    ]
    room = room_of(draw(gib), draw(gib) * 2, draw(st.sampled_from([0.0, 0.0, 3.0])))
    limit = draw(st.none() | gib.map(lambda size: int(size * GIB / 4)))
    return msgspec.structs.replace(room, kept=tuple(kept), kept_ram=limit)


@st.composite
def tasks(draw: st.DrawFn) -> PlannedTask:
    side = draw(st.sampled_from([512, 1024, 2048]))
    found = task_of(draw(models), draw(st.integers(1, 4)), draw(st.integers(1, 4)), side)
    return msgspec.structs.replace(found, helpers=tuple(draw(st.lists(helpers, max_size=3))))


@UNHURRIED
@given(tasks(), rooms())
def test_never_more_than_there_is(task: PlannedTask, room: Room) -> None:
    found = plan(task, room)
    least = found.least if isinstance(found, NoRoom) else found
    gone = {*least.to_ram, *least.unloaded}
    device = room.device + sum(one.device for one in room.kept if one.name in gone)
    came = sum(one.device for one in room.kept if one.name in least.to_ram)
    ram = room.ram + sum(one.ram for one in room.kept if one.name in least.unloaded) - came
    if isinstance(found, Plan):
        assert max(found.needs(phase) for phase in PHASES) <= device
        assert sum(one.part.bytes for one in found.placings if one.rest == "ram") - sum(
            one.part.bytes for one in found.placings if one.place == "device"
        ) <= max(ram, 0)
        assert (found.peak, found.there) == (max(map(found.needs, PHASES)), device)
        pinned = [one.part.bytes for one in found.placings if one.pinned]
        assert sum(pinned) <= room.pinned
    else:
        assert found.needed > found.there
        assert in_words(found).startswith("needs ")


@UNHURRIED
@given(tasks(), rooms(), gib, gib)
def test_more_memory_is_never_dearer(
    task: PlannedTask, room: Room, card: float, ram: float
) -> None:
    larger = msgspec.structs.replace(
        room, device=room.device + int(card * GIB), ram=room.ram + int(ram * GIB)
    )
    before, after = plan(task, room), plan(task, larger)
    if isinstance(before, Plan):
        assert isinstance(after, Plan)
        assert after.seconds <= before.seconds


@UNHURRIED
@given(tasks(), rooms())
def test_a_plan_keeps_to_what_may_be_chosen(task: PlannedTask, room: Room) -> None:
    places: tuple[PartPlace, ...] = ("device", "aside", "blocks")
    for place, tiled in itertools.product(places, (False, True)):
        bounds = MemoryBounds(
            denoiser=(place,), others=("device", "aside"), disk=False, tiled=(tiled,), batches=(1,)
        )
        found = plan(task, room, bounds)
        found = found.least if isinstance(found, NoRoom) else found
        assert (found.batch, found.tiled) == (1, tiled)
        assert found.place("denoiser") == place
        assert {one.place for one in found.placings} <= {"device", "aside", place}
        assert all(one.rest == "ram" for one in found.placings)


@UNHURRIED
@given(tasks(), rooms(), st.lists(st.sampled_from([None, *PHASES]), min_size=6, max_size=6))
def test_the_ladder_ends_and_each_rung_is_another(
    task: PlannedTask, room: Room, failing: list[Phase | None]
) -> None:
    """Whatever runs out of memory is not tried again, and there is an end to it."""
    seen, known = [], Measured()
    found = plan(task, room)
    for phase in failing:
        if isinstance(found, NoRoom):
            return
        rung = (
            *(found.placings, found.batch, found.tiled, found.to_ram, found.unloaded),
            found.helpers_leave,
        )
        assert rung not in seen
        seen.append(rung)
        known = after_running_out(known, found, phase)
        task = replaced(task, known)
        before, found = found, plan(task, room)
        if isinstance(found, Plan):
            assert found.seconds >= before.seconds
    assert isinstance(found, NoRoom) or len(seen) == len(failing)


def replaced(task: PlannedTask, known: Measured) -> PlannedTask:
    return msgspec.structs.replace(
        task, **{name: size for name, size in msgspec.structs.asdict(known).items() if size}
    )


def test_out_of_memory_while_decoding_is_mended_there() -> None:
    room = room_of(24, 32)
    first = plan(task_of(SDXL), room)
    assert isinstance(first, Plan)
    assert codes(first) == ("plan_device",)
    known = after_running_out(Measured(), first, "decode")
    second = plan(replaced(task_of(SDXL), known), room)
    assert isinstance(second, Plan)
    assert (second.batch, second.tiled) == (first.batch, False)
    assert second.weights("decode") < first.weights("decode")
    known = after_running_out(known, second, "decode")
    third = plan(replaced(task_of(SDXL), known), msgspec.structs.replace(room, device=9 * GIB))
    assert isinstance(third, Plan)
    assert third.tiled
    assert third.batch == first.batch


def test_what_was_measured_is_what_is_planned_by() -> None:
    room = room_of(8, 32)
    first = plan(task_of(SDXL), room)
    assert isinstance(first, Plan)
    peaks: dict[Phase, int] = {phase: first.weights(phase) + 300_000_000 for phase in PHASES}
    second = plan(replaced(task_of(SDXL), after_measuring(Measured(), first, peaks)), room)
    assert isinstance(second, Plan)
    assert second.seconds < first.seconds


def test_other_models_make_room_the_longest_unused_first() -> None:
    kept = tuple(Kept(name=name, device=4 * GIB) for name in ("old", "newer"))
    room = msgspec.structs.replace(room_of(4, 32), device=6 * GIB, kept=kept)
    found = plan(task_of(SDXL), room)
    assert isinstance(found, Plan)
    assert (found.to_ram, found.unloaded) == (("old",), ())
    assert codes(found) == ("plan_device",)
    assert "old" in why(found)
    # where main memory has no room for it, it is unloaded
    full = plan(task_of(SDXL), msgspec.structs.replace(room, kept_ram=GIB))
    assert isinstance(full, Plan)
    assert full.unloaded[:1] == ("old",)


def test_on_a_processor_only_pictures_and_tiles_are_left() -> None:
    room = Room(device=12 * GIB, ram=12 * GIB, one_memory=True)
    for model in MODELS:
        found = plan(task_of(model), room)
        found = found.least if isinstance(found, NoRoom) else found
        assert {one.place for one in found.placings} == {"device"}
    assert codes(plan(task_of(SD1), room)) == ("plan_memory",)  # type: ignore[arg-type]


def test_a_slow_disk_keeps_text_encoders_in_memory_where_they_have_room() -> None:
    narrow = room_of(8, 19)
    found = plan(task_of(FLUX), narrow)
    assert isinstance(found, Plan)
    assert found.ram <= narrow.ram
    assert found.place("denoiser") == "blocks"


@pytest.mark.parametrize(("model", "card"), [*itertools.product(MODELS, CARDS)])
def test_every_card_has_a_plan_or_is_told_why(model: Model, card: int) -> None:
    found = plan(task_of(model), room_of(card, 64))
    assert isinstance(found, Plan)
    assert in_words(found)
    assert set(codes(found)) <= set(WORDS)


def test_the_page_is_up_to_date() -> None:
    page = Path(PAGE).read_text(encoding="utf-8")
    assert with_tables(page) == page, "run python -m benchmarks.memory_table"


def test_of_a_file_that_is_smaller_than_its_family_the_size_counts() -> None:
    family = FAMILIES["sdxl"]
    file = ModelFile(kind=ModelKind.CHECKPOINT, name="a", path=Path("a"), family="sdxl")
    usual = {part.name: part for part in parts_of(file, family)}
    assert {name: part.bytes for name, part in usual.items()} == family.bytes_at_half
    assert usual["unet"].block == family.streamed["unet"][0]
    half = msgspec.structs.replace(file, size=family.bytes_of_all // 2)
    assert sum(part.bytes for part in parts_of(half, family)) == pytest.approx(half.size, abs=9)
    large = msgspec.structs.replace(file, size=family.bytes_of_all * 2)
    assert parts_of(large, family) == parts_of(file, family)
    assert sum(one.bytes for one in parts_of(file, family, wide=True)) == 2 * family.bytes_of_all
    packed = {part.name: part for part in parts_of(quantised(file, "nf4"), family, wide=True)}
    assert packed["unet"].bytes == int(usual["unet"].bytes * 0.31)
    assert packed["unet"].block < usual["unet"].block
    assert packed["text_encoder"].bytes == 2 * usual["text_encoder"].bytes
    small = quantised(msgspec.structs.replace(file, quantisation="fp8"), "nf4")
    assert parts_of(small, family) == parts_of(file, family)
    apart = msgspec.structs.replace(file, parts={"vae": msgspec.structs.replace(file, size=1000)})
    assert {part.name: part.bytes for part in parts_of(apart, family)}["vae"] == 1000


def test_what_edits_pictures_has_a_text_encoder_that_sees_them() -> None:
    """As published the file has more in it than either needs: the words that it would say."""
    file = a_model(
        "words", kind=ModelKind.TEXT_ENCODER, family="qwen2.5-vl-7b", size=16_584_000_000
    )
    found = {}
    for variant in ("", "edit", "edit-plus"):
        model = a_model("m", family="qwen-image", variant=variant, parts={"qwen2.5-vl-7b": file})
        parts = {part.name: part for part in parts_of(model, family_of(model))}
        found[variant] = parts["text_encoder"]
    assert found[""].bytes == 14_140_000_000
    assert found["edit"].bytes == found["edit-plus"].bytes == 15_493_000_000
    # what sees is in smaller pieces than what reads
    assert found["edit"].block == found[""].block


def test_what_a_request_needs_grows_with_what_is_seen_of_it() -> None:
    family = FAMILIES["sdxl"]
    file = ModelFile(kind=ModelKind.CHECKPOINT, name="a", path=Path("a"), family="sdxl")
    parts = parts_of(file, family)
    usual = task_of_request(a_request(width=1024, height=1024, guidance_scale=7), family, parts, 4)
    free = task_of_request(a_request(width=1024, height=1024, guidance_scale=1), family, parts, 4)
    assert free.denoise == pytest.approx(usual.denoise / 2)
    large = a_request(width=2048, height=2048, guidance_scale=7)
    whole = task_of_request(large, family, parts, 4)
    tiles = task_of_request(large.with_(tile=1024), family, parts, 4)
    assert whole.denoise == pytest.approx(4 * usual.denoise)
    assert tiles.denoise == usual.denoise
    assert whole.tiled == usual.tiled < usual.decode
    known = task_of_request(large, family, parts, 4, Measured(decode=123))
    assert (known.decode, known.denoise) == (123, whole.denoise)


def test_what_controlnets_answer_needs_memory_where_they_answer_much() -> None:
    request = a_request(width=1024, height=1024)
    family = FAMILIES["flux"]
    file = ModelFile(kind=ModelKind.CHECKPOINT, name="a", path=Path("a"), family="flux")
    alone = parts_of(file, family)
    nets = tuple(msgspec.structs.replace(alone[0], name=f"controlnet.{i}") for i in range(2))
    needs = [task_of_request(request, family, (*alone, *nets[:n]), 1).denoise for n in range(3)]
    assert needs[1] - needs[0] == pytest.approx(576 * 2**20 * 1.25, abs=2)
    assert needs[2] - needs[1] == pytest.approx(needs[1] - needs[0], abs=2)
