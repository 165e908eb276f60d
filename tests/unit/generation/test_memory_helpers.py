"""What the networks beside the drawing ones need of memory, in numbers."""

from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from benchmarks.memory_table import MODELS, room_of, task_of
from generation.families import FAMILIES
from generation.memory_helpers import held_by_check, helpers_of, helpers_there
from generation.memory_needs import Measured, after_measuring, after_running_out
from generation.memory_needs import task_of as task_of_request
from generation.memory_notes import job_key
from generation.memory_outlook import Outlook
from generation.memory_plan import (
    GIB,
    NoRoom,
    Phase,
    Plan,
    PlannedHelper,
    PlannedTask,
    Room,
    plan,
)
from generation.memory_settings import BOUNDS
from generation.memory_words import codes, in_words
from generation.messages import Finishing, Generate, Ready, RuntimeSettings
from generation.models import ModelFile, ModelKind
from tests.fixtures.requests import a_request
from tests.unit.generation.catalogs import a_catalog, a_model

SDXL: Final = task_of(MODELS[1], count=1, batch=1)


def helper(phase: Any, size: float, work: float, place: Any = "aside") -> PlannedHelper:
    """Of so many GiB."""
    return PlannedHelper(
        name="x", phase=phase, bytes=int(size * GIB), work=int(work * GIB), place=place
    )


def planned(room: Room, *helpers: PlannedHelper, task: PlannedTask = SDXL) -> Plan:
    found = plan(msgspec.structs.replace(task, helpers=helpers), room)
    assert isinstance(found, Plan), in_words(found)
    return found


def extra(found: Plan, phase: Phase) -> float:
    """GiB in a phase beside weights and what drawing takes."""
    return (found.needs(phase) - found.weights(phase) - found.beside(phase)) / GIB


def test_each_counts_while_it_works_and_of_several_the_one_that_needs_most() -> None:
    found = planned(
        room_of(24, 64),
        *(helper("prepare", 0.5, 1), helper("prepare", 1, 0.25)),
        *(helper("finish", 0.75, 3), helper("finish", 1, 1)),
    )
    assert [extra(found, p) for p in ("encode", "denoise", "decode")] == [0, 0, 0]
    # not 2.75, and not 5.75: they work one after the other
    assert (extra(found, "prepare"), extra(found, "finish")) == (1.5, 3.75)
    # the VAE has just decoded what is finished, and lies there beside
    assert found.weights("finish") == found.weights("decode")
    # and they wait in main memory
    assert found.ram == planned(room_of(24, 64)).ram + 3.25 * GIB


def test_a_large_one_has_the_denoiser_leave_the_card() -> None:
    """BiRefNet beside SDXL on a card of 10 GiB: without it all is on the card."""
    room = room_of(10, 32)
    assert codes(planned(room)) == ("plan_device",)
    found = planned(room, helper("finish", 0.9, 3.6))
    assert found.peak <= room.device
    assert found.place("denoiser") == "aside"
    assert found.seconds > planned(room).seconds


def test_one_that_lies_on_the_card_counts_always_and_leaves_where_memory_is_short() -> None:
    there = helper("prepare", 1, 0.5, "device")
    found = planned(room_of(24, 64), there)
    assert [extra(found, p) for p in ("encode", "prepare", "denoise", "finish")] == [1, 1.5, 1, 1]
    assert not found.helpers_leave
    alone = planned(room_of(24, 64))
    room = msgspec.structs.replace(room_of(24, 64), device=alone.peak + GIB // 2)
    # reading it anew takes longer than the way of the text encoders to the card
    assert codes(planned(room, there)) == ("plan_text_aside",)
    task = msgspec.structs.replace(SDXL, helpers=(there,))
    narrow = plan(task, room, BOUNDS["high"])
    assert isinstance(narrow, Plan)
    found = narrow
    assert found.helpers_leave
    assert [extra(found, p) for p in ("encode", "prepare", "denoise", "finish")] == [0, 1.5, 0, 0]
    assert codes(found) == ("plan_device", "plan_helpers_leave")
    assert "unloaded once it has worked" in in_words(found)


def test_one_on_the_processor_takes_main_memory_alone() -> None:
    found = planned(room_of(24, 64), helper("finish", 1, 2, "ram"))
    assert extra(found, "finish") == 0
    assert found.ram == planned(room_of(24, 64)).ram + 3 * GIB


def test_in_one_memory_they_count_once_and_leave_where_it_is_short() -> None:
    room = Room(device=12 * GIB, ram=12 * GIB, one_memory=True)
    alone = planned(room)
    found = planned(room, helper("prepare", 1, 0.5), helper("finish", 1, 1, "ram"))
    assert [extra(found, p) for p in ("encode", "prepare", "denoise", "finish")] == [2, 2.5, 2, 3]
    tight = msgspec.structs.replace(room, device=alone.peak + GIB, ram=alone.peak + GIB)
    found = planned(tight, helper("prepare", 1, 0.5), helper("finish", 1, 1, "ram"))
    assert found.helpers_leave
    assert [extra(found, p) for p in ("prepare", "denoise", "finish")] == [1.5, 0, 2]
    assert found.peak <= tight.device


def test_what_has_no_room_at_all_is_told() -> None:
    task = msgspec.structs.replace(SDXL, helpers=(helper("finish", 1, 8),))
    found = plan(task, room_of(8, 32))
    assert isinstance(found, NoRoom)
    assert found.what == "device"
    vae, fixed = 168_000_000, task.fixed
    assert found.needed == 9 * GIB + vae + fixed
    assert in_words(found).startswith("needs 9.4 GiB of the card's memory, 7.0 GiB are there")


@pytest.mark.parametrize("phase", ["prepare", "finish"])
def test_what_ran_out_there_is_learned(phase: Phase) -> None:
    room = room_of(24, 64)
    found = planned(room, helper(phase, 1, 1))
    known = after_running_out(Measured(), found, phase)
    short = getattr(known, phase)
    assert found.needs(phase) + short >= room.device * 1.05
    again = msgspec.structs.replace(found.task, **{phase: short})
    other = plan(again, room)
    assert not isinstance(other, Plan) or other.weights(phase) < found.weights(phase)
    # what it took more than was reckoned is known the next time
    peaks = {phase: found.needs(phase) + GIB}
    assert getattr(after_measuring(Measured(), found, peaks), phase) == pytest.approx(1.08 * GIB)
    less = {phase: found.needs(phase) - GIB}
    assert getattr(after_measuring(Measured(), found, less), phase) == 1


def file(kind: ModelKind, name: str, size: float, family: str = "") -> ModelFile:
    ending = "onnx" if family in ("birefnet", "u2net", "dwpose") else "safetensors"
    path = Path(f"{name}.{ending}")
    found = a_model(name, kind=kind, family=family, size=int(size * GIB))
    return msgspec.structs.replace(found, path=path)


DEPTH = file(ModelKind.ANNOTATOR, "depth", 0.1, "depth")
HED = file(ModelKind.ANNOTATOR, "hed", 0.03, "softedge")
PERSON = file(ModelKind.ANNOTATOR, "person", 0.2, "dwpose")
SEGMENTER = file(ModelKind.SEGMENTER, "clipseg", 0.6, "clipseg")
EYES = file(ModelKind.CLIP_VISION, "eyes", 1.2)
ADAPTER = file(ModelKind.IPADAPTER, "adapter", 0.04)
RESTORER = file(ModelKind.FACE_RESTORER, "GFPGAN", 0.3)
DETECTOR = file(ModelKind.FACE_DETECTOR, "yunet", 0.0003)
REMOVER = file(ModelKind.BACKGROUND_REMOVER, "birefnet", 0.9, "birefnet")


def test_a_job_says_which_and_where() -> None:
    work = Generate(
        "1",
        a_request(width=1024, height=512),
        a_model("m"),
        segmenter=SEGMENTER,
        annotators={"depth": DEPTH, "softedge": HED, "person": PERSON},
        adapters=(ADAPTER,),
        eyes=(EYES,),
        finishing=Finishing(restorer=RESTORER, detector=DETECTOR, remover=REMOVER),
    )
    found = {one.name: one for one in helpers_of(work, onnx_on_device=True)}
    assert {name: (one.phase, one.place) for name, one in found.items()} == {
        "clipseg": ("prepare", "ram"),
        "depth": ("prepare", "aside"),
        "hed": ("prepare", "aside"),
        "person": ("prepare", "device"),
        "eyes": ("prepare", "aside"),
        "adapter": ("prepare", "aside"),
        "yunet": ("finish", "ram"),
        "GFPGAN": ("finish", "aside"),
        "birefnet": ("finish", "device"),
    }
    assert found["eyes"].bytes == int(1.2 * GIB)
    # by the pixels that are drawn, and by those that a remover is given
    assert found["hed"].work == 640 * 1024 * 512
    assert found["birefnet"].work == 3700 * 1024**2
    on_processor = {one.name: one.place for one in helpers_of(work, onnx_on_device=False)}
    assert (on_processor["person"], on_processor["birefnet"]) == ("ram", "ram")
    assert work.seeing == (SEGMENTER, DEPTH, HED, PERSON, EYES, ADAPTER)
    assert helpers_of(Generate("1", a_request(), a_model("m")), onnx_on_device=True) == ()


def test_all_that_is_there_is_looked_at() -> None:
    model = a_model("m", family="sd1")
    there = a_catalog(model, RESTORER, DETECTOR, REMOVER, SEGMENTER)
    found = helpers_there(there, model, (64, 64), onnx_on_device=False)
    assert [one.name for one in found] == ["clipseg", "yunet", "GFPGAN", "birefnet"]
    assert helpers_there(a_catalog(model), model, (64, 64), onnx_on_device=False) == ()


def test_what_was_measured_of_jobs_with_them_is_kept_apart() -> None:
    model = a_model("m", family="sd1")
    asked: list[dict[str, Any]] = [
        {},
        {"controls": [{"name": "n", "picture": "0" * 64, "preprocessor": "depth"}]},
        {"controls": [{"name": "n", "picture": "0" * 64, "preprocessor": "canny"}]},
        {"faces": "all", "face_model": "GFPGAN"},
        {"cutout": "birefnet"},
        {"init_picture": "0" * 64, "mask_words": "the hat", "mask_model": "clipseg"},
        {"image_prompts": [{"name": "plus", "pictures": ["0" * 64]}]},
    ]
    keys = {job_key(model, a_request(**told), "float16") for told in asked}
    assert len(keys) == len(asked)
    assert job_key(model, a_request(), "float16").endswith("|0 pictures")


def test_they_are_part_of_what_a_request_needs() -> None:
    family = FAMILIES["sd1"]
    told = (helper("finish", 1, 2),)
    found = task_of_request(a_request(), family, (), 1, Measured(finish=7), helpers=told)
    assert (found.helpers, found.finish, found.prepare) == (told, 7, 0)


def test_what_checks_pictures_holds_its_memory_for_good(tmp_path: Path) -> None:
    rater = msgspec.structs.replace(
        file(ModelKind.TAGGER, "wd", 0.4, "wd"), variant="rating", path=Path("wd.onnx")
    )
    model = a_model("m", family="sd1", size=2 * GIB)
    catalog, settings = a_catalog(model, rater), RuntimeSettings()
    held = held_by_check(catalog, settings)
    assert held == int(0.4 * GIB) + 300_000_000
    assert held_by_check(a_catalog(model), settings) == 0
    for check in ("off", "a-classifier"):
        assert held_by_check(catalog, RuntimeSettings(picture_check_model=check)) == 0
    card = Ready("cuda:0", "a card", 8 * GIB, "float16", {}, memory_free=6 * GIB)
    for on_device, lost in ((True, held), (False, 0)):
        ready = msgspec.structs.replace(card, onnx_on_device=on_device)
        outlook = Outlook(settings, ready, tmp_path)
        found = [outlook.of(model, a_request(), held=one) for one in (0, held)]
        free, less = [one.room.device for one in found if isinstance(one, Plan)]
        assert free - less == lost
