"""Pictures blended by whatever there is."""

from typing import Any

import pytest

from generation import blending
from generation.blending import DrawnHere
from generation.completion import complete
from generation.models import ModelKind
from generation.refusal import Refused
from generation.request_parts import ImagePrompt, Variation
from generation.rules import Rules
from tests.fixtures.requests import a_request
from tests.unit.generation.catalogs import a_catalog, a_model
from tests.unit.generation.test_image_prompts import CATALOG

PICTURES = ("0" * 64, "1" * 64)


def test_an_ip_adapter_draws_after_the_mean_of_what_it_sees() -> None:
    model = CATALOG.get(ModelKind.CHECKPOINT, "v1")
    given = blending.of_pictures(PICTURES, "", (0.25, 0.75), CATALOG, model)
    request = complete(given, CATALOG, Rules())
    assert request.image_prompts == (
        ImagePrompt("plain", PICTURES, join="average", shares=(0.25, 0.75)),
    )
    assert request.prompt == blending.AFTER
    assert blending.of_pictures(PICTURES, "a hat", (), CATALOG, model)["prompt"] == "a hat"


def test_a_model_that_edits_several_pictures_is_told_to() -> None:
    klein = a_model("klein", family="flux2-klein-4b")
    given = blending.of_pictures(PICTURES, "", (), a_catalog(klein), klein)
    assert (given["init_picture"], given["second_picture"]) == PICTURES
    assert given["prompt"] == blending.EDITED


def test_where_nothing_can_it_is_said() -> None:
    model = a_model("v1")
    with pytest.raises(Refused, match="blend_impossible"):
        blending.of_pictures(PICTURES, "", (), a_catalog(model), model)


def drawn(seed: int, varied: int | None = None, **changes: Any) -> DrawnHere:
    if varied is not None:
        changes |= {"variation_seed": varied, "variation_strength": 0.3}
    return DrawnHere(a_request(seed=seed, **changes), seed, varied, "a" * 64)


def test_what_the_same_model_drew_is_blended_by_noise_and_prompts() -> None:
    request = blending.of_drawn(drawn(1, prompt="a cat"), drawn(2, prompt="a dog"), 0.25, "")
    assert request.prompt == "a cat :0.75 AND a dog :0.25"
    assert (request.seed, request.count) == (1, 1)
    assert request.variations == ((Variation(2, 0.25),),)
    # the same words are said once, and one's own go before
    assert blending.of_drawn(drawn(1), drawn(2), 0.5, "").prompt == a_request().prompt
    assert blending.of_drawn(drawn(1), drawn(2), 0.5, "a hat").prompt == "a hat"


def test_of_a_variation_the_noise_is_its_own() -> None:
    request = blending.of_drawn(drawn(1, varied=9), drawn(2), 0.5, "")
    assert request.variations == ((Variation(9, 0.3), Variation(2, 0.5)),)


def test_all_or_nothing_of_the_second() -> None:
    one, other = drawn(1, prompt="a cat"), drawn(2, prompt="a dog")
    assert blending.of_drawn(one, other, 0, "").prompt == "a cat"
    whole = blending.of_drawn(one, other, 1, "")
    assert (whole.prompt, whole.variations) == ("a dog", ((Variation(2, 1.0),),))


@pytest.mark.parametrize(
    ("one", "other", "code"),
    [
        (drawn(1), drawn(2, model="another"), "blend_models"),
        (drawn(1, init_picture="0" * 64), drawn(2), "blend_began"),
        (drawn(1), drawn(2, varied=9), "blend_varied"),
        (drawn(1, prompt="a AND b"), drawn(2), "blend_prompts"),
    ],
)
def test_what_cannot_be_blended_is_refused(one: DrawnHere, other: DrawnHere, code: str) -> None:
    with pytest.raises(Refused) as refused:
        blending.of_drawn(one, other, 0.5, "")
    assert refused.value.code == code
