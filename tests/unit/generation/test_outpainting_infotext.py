"""A larger canvas in an infotext: what makes the picture again is written, and read the same."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation import outpainting_infotext, prompt_flags
from generation.completion import complete
from generation.metadata import About, infotext, read_infotext
from generation.outpainting import DOWN, LEFT, ZOOM_OUT, Sides, extended
from generation.refusal import Refused
from generation.request import GenerationRequest
from generation.request_parts import Extension
from generation.rules import Limits, Rules
from tests.unit.generation.catalogs import a_catalog, a_model

PICTURE = "5" * 64
MODEL = a_model("demo", native_size=128)
RULES = Rules(default_model="demo")


def asked(text: str, **given_: Any) -> GenerationRequest:
    parsed = prompt_flags.parse(text)
    return complete(prompt_flags.merge(parsed, given_), a_catalog(MODEL), RULES)


def text_of(request: GenerationRequest) -> str:
    return infotext(About(request=request, index=0, seed=request.seed))


pixels = st.integers(0, 4096)


@given(
    st.builds(
        Extension, st.integers(1, 4096), st.integers(1, 4096), *[pixels] * 4, st.integers(0, 256)
    )
)
def test_a_canvas_is_read_as_it_is_written(made: Extension) -> None:
    assert outpainting_infotext.read(outpainting_infotext.written(made)) == made


@pytest.mark.parametrize("sides", [LEFT, DOWN, ZOOM_OUT, Sides(left=0.25, right=0.5, top=1.0)])
def test_pasted_with_its_picture_it_makes_the_same_request(sides: Sides) -> None:
    first = asked("a cat --seed 5 --schedule karras")
    request = extended(first, PICTURE, (128, 128), sides, MODEL, Limits())
    text = text_of(request)
    assert "Masked content: fill, Inpaint area: Only masked, Masked area padding: " in text
    assert 'Outpainting: "' in text
    again = asked(text, init_picture=PICTURE)
    assert again.extension == request.extension
    assert again == request
    assert text_of(again) == text
    assert prompt_flags.parse(text).ignored == ("Version",)
    # without its picture it is drawn from words, and a mask goes before
    alone = asked(text)
    assert (alone.extension, alone.inpaint_area) == (None, "whole picture")
    masked = asked(text, init_picture=PICTURE, mask=PICTURE)
    assert (masked.extension, masked.mask, masked.masked_content) == (None, PICTURE, "fill")


@pytest.mark.parametrize(
    "value",
    [
        "512",
        "512x512, left",
        "512x512, left 4, left",
        "512x512, up 4",
        "512x512, left -4",
        "0x512",
        "512x512, left 9999999",
        "512x512, left 5000",
        "512x512, overlap 257",
        "x" * 5000,
    ],
)
def test_what_is_none_is_refused(value: str) -> None:
    text = f'a cat\nSteps: 4, Sampler: Euler, Seed: 5, Outpainting: "{value}"'
    with pytest.raises(Refused) as refused:
        asked(text, init_picture=PICTURE)
    assert refused.value.code == "infotext_value"
    assert refused.value.params["key"] == "Outpainting"
    assert len(str(refused.value.params["value"])) <= 50


def test_a1111s_scripts_for_it_say_what_of_a_mask_they_do() -> None:
    """They write the keys of image to image alone: Poor man's outpainting doubles its blur."""
    text = "a cat\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5, Size: 512x512, "
    text += "Denoising strength: 0.8, Mask blur: 8, Masked content: fill, Version: v1.10.1"
    found = read_infotext(text)
    assert found is not None
    assert (found.extension, found.given["mask_blur"], found.given["masked_content"]) == (
        "",
        8,
        "fill",
    )
