"""What several machines have as one list: by what is in the files, not by what they are called."""

import itertools
from pathlib import Path
from typing import Any

import msgspec
import pytest

from generation import preparing
from generation.assembly import is_whole
from generation.fleet.catalog import FixedCatalog, FleetCatalog
from generation.fleet.naming import named_alike
from generation.fleet.places import Places
from generation.messaging.wire import identified
from generation.models import ModelFile, ModelKind
from generation.request_parts import LoraUse
from tests.fixtures.requests import a_request
from tests.unit.generation.catalogs import a_catalog, a_model


def far(name: str, identity: str, **more: Any) -> ModelFile:
    """A model of a host, as it is told of."""
    path = Path(identified(identity, Path("folder") / f"{name}.safetensors"))
    return msgspec.structs.replace(a_model(name, **more), path=path)


def near(name: str, **more: Any) -> ModelFile:
    return msgspec.structs.replace(a_model(name, **more), path=Path(f"/here/{name}.safetensors"))


def names(models: list[ModelFile]) -> list[str]:
    return sorted(model.name for model in models)


def test_the_same_file_has_one_name_wherever_it_lies() -> None:
    own = [near("dream")]
    hosts = {"attic": [far("dream-v2", "1")], "cellar": [far("DREAM", "1"), far("new", "2")]}
    all_, lists = named_alike(own, {own[0].path: "1"}, hosts)
    assert names(all_) == ["dream", "new"]
    assert names(lists["attic"]) == ["dream"]
    assert names(lists["cellar"]) == ["dream", "new"]
    # and each host's is where it lies there
    assert lists["attic"][0].path.name == "dream-v2.safetensors"


def test_another_file_of_that_name_is_told_apart() -> None:
    own = [near("dream")]
    hosts = {
        "attic": [far("dream", "2"), far("Dream (attic)", "3")],
        "cellar": [far("dream", "2"), far("dream", "4")],
    }
    all_, lists = named_alike(own, {own[0].path: "1"}, hosts)
    assert names(lists["cellar"]) == ["dream (attic)", "dream (cellar)"]
    assert len(all_) == 4
    assert len({(model.kind, model.name.casefold()) for model in all_}) == 4
    # of another kind it may be called so
    lora = far("dream", "5", kind=ModelKind.LORA)
    all_, _ = named_alike(own, {}, {"attic": [lora]})
    assert names(all_) == ["dream", "dream"]


def test_names_do_not_hang_on_the_order_of_coming() -> None:
    hosts = {"a": [far("x", "1")], "b": [far("x", "2")], "c": [far("y", "1")]}
    found = {
        tuple((host, *names(each)) for host, each in sorted(lists.items()))
        for order in itertools.permutations(hosts)
        for _, lists in (named_alike([], {}, {host: hosts[host] for host in order}),)
    }
    assert found == {(("a", "x"), ("b", "x (b)"), ("c", "x"))}


def test_a_checkpoint_is_listed_with_the_parts_that_a_host_has() -> None:
    parts = {"vae": far("ae", "9", kind=ModelKind.VAE, family="flux")}
    for part in ("clip_l", "t5xxl"):
        parts[part] = far(part, part, kind=ModelKind.TEXT_ENCODER, family=part)
    whole = far("flux", "1", family="flux", parts=parts)
    own = [near("flux", family="flux")]
    assert not is_whole(own[0])
    assert is_whole(whole)
    all_, lists = named_alike(own, {own[0].path: "1"}, {"attic": [whole]})
    assert all_ == lists["attic"] == [whole]


async def test_a_job_is_drawn_where_all_of_its_files_are() -> None:
    own = a_catalog(near("demo"), near("light", kind=ModelKind.LORA))
    fleet = FleetCatalog(own)
    await fleet.know("attic", [far("big", "2"), far("dark", "3", kind=ModelKind.LORA)])
    await fleet.know("cellar", [far("big", "2")])
    places = Places(fleet, here=True)
    assert places.of(a_request(model="demo")) == ("",)
    assert places.of(a_request(model="big")) == ("attic", "cellar")
    dark = LoraUse("dark", 1.0)
    assert places.of(a_request(model="big", loras=(dark,))) == ("attic",)
    assert places.of(a_request(model="demo", loras=(dark,))) == ()
    assert places.of(a_request(model="nowhere")) == ()
    assert Places(fleet, here=False).of(a_request(model="demo")) == ()
    # after it has left something it counts no more
    await fleet.know("attic", [far("big", "2")])
    assert places.of(a_request(model="big", loras=(dark,))) == ()


async def test_a_word_that_is_an_embedding_is_drawn_where_it_is_one() -> None:
    """Where it lies not, it would be a mere word, and another picture."""
    fleet = FleetCatalog(a_catalog())
    word = {"kind": ModelKind.EMBEDDING, "family": "sd1"}
    await fleet.know("attic", [far("big", "2"), far("gloom", "3", **word)])
    await fleet.know("cellar", [far("big", "2")])
    places = Places(fleet, here=True)
    assert places.of(a_request(model="big", prompt="a fox")) == ("attic", "cellar")
    assert places.of(a_request(model="big", prompt="a fox, gloom")) == ("attic",)


async def test_ten_thousand_that_wait_are_looked_at_in_no_time() -> None:
    """What a job needs is worked out once for all that need the same."""
    from generation.fleet.places import _job

    fleet = FleetCatalog(a_catalog())
    gloom = far("gloom", "3", kind=ModelKind.EMBEDDING, family="sd1")
    await fleet.know("attic", [far("big", "2"), gloom])
    places = Places(fleet, here=True)
    runs = places.runs_on("attic")
    looked = 0
    draws = places._draws

    def counted(job: Any, catalog: Any) -> bool:
        nonlocal looked
        looked += 1
        return draws(job, catalog)

    places._draws = counted  # type: ignore[method-assign]
    for number in range(1000):
        word = "gloom" if number % 2 else "a fox"
        request = a_request(model="big", prompt=f"{word} {number}", seed=number)
        assert runs(msgspec.structs.replace(_job(request), id=number))
    assert looked == 2
    # also when one has come that others have too
    await fleet.know("cellar", [far("big", "2")])
    waiting = [msgspec.structs.replace(_job(a_request(model="big")), id=n) for n in range(1000)]
    await places.learn(waiting)
    assert all(map(runs, waiting))
    assert looked == 4
    assert not runs(msgspec.structs.replace(_job(a_request(model="none")), id=1001))


@pytest.mark.parametrize("checks", [True, False])
async def test_a_host_that_does_not_do_what_is_asked_of_it_draws_nothing(checks: bool) -> None:
    from generation.fleet.places import _job

    fleet = FleetCatalog(a_catalog())
    await fleet.know("attic", [far("big", "2")])
    places = Places(fleet, here=True)
    places.may_draw = lambda host: checks and host == "attic"
    assert places.runs_on("attic")(_job(a_request(model="big"))) is checks
    assert not places.runs_here(_job(a_request(model="big")))


def test_what_is_found_has_no_pictures_yet() -> None:
    from generation.fleet.places import _job

    catalog = FixedCatalog([far("big", "2")])
    request = a_request(model="big", init_picture="0" * 64, denoising_strength=0.5)
    work = preparing.found_for(_job(request), catalog)
    assert work.pictures == {"0" * 64: b""}
