"""What is offered for a picture is what this machine would make."""

from datetime import UTC, datetime

import pytest

from bot.requests.actions import ACTIONS, ActionTarget, applying, offered
from bot.requests.remaking import Remaking
from generation.catalog import Catalog
from generation.enlarging import EnlargingSettings
from generation.job import Job, JobState, PictureRecord
from generation.preset import Preset
from generation.refusal import Refused
from generation.rules import Limits, Rules
from tests.fixtures.requests import a_request, an_origin
from tests.unit.generation.catalogs import a_catalog, a_model

HASH = "a" * 64


def a_job(side: int = 128, count: int = 1, **changes: object) -> Job:
    request = a_request(**{"width": side, "height": side, "count": count, **changes})
    pictures = tuple(
        PictureRecord(index=i, seed=7 + i, width=side, height=side, file=HASH, pixels_sha256=HASH)
        for i in range(count)
    )
    return Job(
        id=1,
        state=JobState.FINISHED,
        request=request,
        origin=an_origin(),
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        pictures=pictures,
    )


def names(
    job: Job, index: int | None = None, catalog: Catalog | None = None, **limits: int
) -> set[str]:
    rules = Rules(limits=Limits(**limits))
    there = catalog or a_catalog(a_model("demo", native_size=128))
    remaking = Remaking(there, rules)
    found = {target.action.name for target in offered(job, index, remaking.accepts)}
    for target in applying(job, index):
        if target.action.request is not None:
            # what is not offered would be refused, and what is would not
            try:
                remaking.check(remaking.by(target, job))
            except Refused:
                assert target.action.name not in found
            else:
                assert target.action.name in found
    return found


@pytest.mark.parametrize(("side", "high", "offers"), [(128, 256, True), (248, 256, False)])
def test_enlarging_is_offered_up_to_what_is_configured(side: int, high: int, offers: bool) -> None:
    assert ("upscale" in names(a_job(side), upscaled_side=high)) is offers
    assert ("upscale" in names(a_job(side, 4), 2, upscaled_side=high)) is offers
    remaking = Remaking(a_catalog(a_model("demo")), Rules(limits=Limits(upscaled_side=high)))
    if not offers:
        with pytest.raises(Refused) as refused:
            remaking.by(ActionTarget(ACTIONS["upscale"], 0), a_job(side))
        assert (refused.value.code, refused.value.params) == ("enlarged_enough", {"side": high})


def test_nothing_is_offered_that_limits_forbid_which_were_lowered_since() -> None:
    asks = {"reroll", "upscale", "vary_subtle", "vary_strong"}
    assert asks <= names(a_job(steps=40))
    assert not asks & names(a_job(steps=40), steps=30)
    # the dialogs are where it can be changed
    assert {"edit", "start", "parameters", "delete"} <= names(a_job(steps=40), steps=30)
    # variations are as many as may be
    found = names(a_job(count=4), count=2)
    assert "reroll" not in found
    assert "vary_subtle" in names(a_job(count=4), 0, count=2)


def test_nothing_is_drawn_with_a_model_that_is_gone_or_of_another_family() -> None:
    for catalog in (a_catalog(a_model("other")), a_catalog(a_model("demo", family="hidream"))):
        found = names(a_job(), catalog=catalog)
        # an upscaler needs no model
        assert found == {"edit", "parameters", "favourite", "delete", "upscale"}
        remaking = Remaking(catalog, Rules())
        assert not remaking.accepts(ActionTarget(ACTIONS["replay"]), a_job())
        assert remaking.accepts(ActionTarget(ACTIONS["send"]), a_job())


def test_while_the_models_are_read_everything_is_offered() -> None:
    remaking = Remaking(Catalog(()), Rules())
    assert remaking.accepts(ActionTarget(ACTIONS["upscale"], 0), a_job())


def test_variations_keep_to_the_bounds_of_the_preset() -> None:
    remaking = Remaking(a_catalog(a_model("demo")), Rules())
    target = ActionTarget(ACTIONS["vary_subtle"], 0)
    assert remaking.by(target, a_job()).request.count == 4
    assert remaking.by(target, a_job(), Preset(name="one", max_count=2)).request.count == 2


def test_only_a_reroll_draws_anew() -> None:
    template = "a {red|green|blue|grey|black|white|pink|brown} {cat|dog|fox|owl|cow|pig|hen|bee}"
    job = a_job(prompt="a red cat", template=template, negative_template="{a|b}")
    remaking = Remaking(a_catalog(a_model("demo", native_size=128)), Rules())
    made = [remaking.by(ActionTarget(ACTIONS["reroll"]), job).request for _ in range(5)]
    assert len({request.prompt for request in made}) > 1
    assert {request.negative_prompt for request in made} <= {"a", "b"}
    assert {request.template for request in made} == {template}
    for name in ("upscale", "vary_subtle", "vary_strong"):
        assert remaking.by(ActionTarget(ACTIONS[name], 0), job).request.prompt == "a red cat"
    # of variations, others of the same picture
    varied = a_job(prompt="a red cat", template=template, variation_seed=1, variation_strength=0.5)
    assert remaking.by(ActionTarget(ACTIONS["reroll"]), varied).request.prompt == "a red cat"


@pytest.mark.parametrize("action", ["reroll", "upscale", "vary_subtle"])
def test_a_refiner_goes_on_with_what_comes_of_a_picture(action: str) -> None:
    """Also in the second pass, where A1111 has it by default; and nothing is drawn without it."""
    job = a_job(refiner="late", refiner_switch=0.6)
    rules = Rules(enlarging=EnlargingSettings(second_pass=0.3))
    remaking = Remaking(a_catalog(a_model("demo"), a_model("late")), rules)
    made = remaking.by(ActionTarget(ACTIONS[action], 0), job)
    remaking.check(made)
    assert (made.request.refiner, made.request.refiner_switch) == ("late", 0.6)
    with pytest.raises(Refused, match="checkpoint_unknown"):
        Remaking(a_catalog(a_model("demo")), rules).check(made)


def test_a_picture_that_is_edited_is_drawn_from_noise_alone() -> None:
    """The dialog says so: a strength would mean nothing."""
    editing = a_model("k", family="flux", variant="kontext", carries=("vae", "clip_l", "t5xxl"))
    remaking = Remaking(a_catalog(editing, a_model("demo")), Rules())
    target = ActionTarget(ACTIONS["start"], 0)
    for model, strength in (("k", 1.0), ("demo", 0.6)):
        request = remaking.editable(target, a_job(model=model))
        assert (request.init_picture, request.denoising_strength) == (HASH, strength)
