"""Which of several workers a job is for, where programs of others draw."""

from pathlib import Path

import pytest

from generation.job import Job
from generation.messages import EngineWork, Generate
from generation.programs.placing import ProgramPlaces, _job
from generation.refusal import Refused
from generation.request import GenerationRequest
from tests.fixtures.requests import a_request
from tests.unit.generation.catalogs import a_catalog, a_model


class Known:
    """A program that need not run: it loads no folders, and is told of no hires pass."""

    def __init__(self, there: bool = True) -> None:
        self.there = there
        self.told: object = object()
        self.hires = False

    def check(self, request: GenerationRequest) -> None:
        if request.hires is not None and not self.hires:
            raise Refused("comfyui_cant", option="hires")

    def check_work(self, work: EngineWork) -> None:
        assert isinstance(work, Generate)
        if work.checkpoint.is_folder:
            raise Refused("comfyui_folder", file=work.checkpoint.shown)


def asked(**changes: object) -> Job:
    return _job(a_request(**{"model": "dream", **changes}))


def places(tmp_path: Path, alone: bool, **programs: Known) -> ProgramPlaces:
    model = a_model("dream", path=tmp_path / "dream.safetensors")
    folder = a_model("folder", path=tmp_path / "folder")
    return ProgramPlaces(programs, a_catalog(model, folder), alone=alone)


@pytest.mark.parametrize("alone", [False, True])
def test_alone_it_takes_what_it_can_not_draw_and_beside_others_it_does_not(
    tmp_path: Path, alone: bool
) -> None:
    found = places(tmp_path, alone, one=Known(), away=Known(there=False))
    assert found.runs("one")(asked())
    assert not found.runs("away")(asked())
    assert found.would("away")(asked())
    found = places(tmp_path, alone, one=Known(), away=Known(there=False))
    assert found.runs("one")(asked(model="folder")) is alone
    with pytest.raises(Refused):
        found.check("one", asked(model="folder").request)


def test_what_one_has_learned_since_counts(tmp_path: Path) -> None:
    one = Known()
    found = places(tmp_path, False, one=one)
    job = asked(hires="2")
    assert not found.runs("one")(job)
    one.hires = True
    assert not found.runs("one")(job), "what it said is the same"
    one.told = object()
    assert found.runs("one")(job)
