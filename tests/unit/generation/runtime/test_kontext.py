"""Flux.1 Kontext, which edits a picture, against diffusers' own pipeline on the same weights."""

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers.pipelines.flux import pipeline_flux_kontext
from PIL import Image

from generation.families import family_of
from generation.messages import Generate, Picture
from generation.references import shown_size
from generation.request_parts import Enlargement
from generation.runtime.tokenizers import VOCABULARY, load_t5_tokenizer, load_tokenizer
from tests.fixtures import flux
from tests.fixtures.requests import a_request
from tests.unit.generation.runtime.drawing import (
    BOUND,
    HEIGHT,
    STEPS,
    WIDTH,
    Drawing,
    Pixels,
    apart,
    checkpoint,
    pixels_of,
)

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")
NATIVE = 64
"""Side of the pictures that the tiny model is shown."""
SHOWN = (48, 80)
"""Width and height in which it is shown one of two to three."""


class Kontext(Drawing):
    """A tiny model, and the picture that it edits."""

    def __init__(self, root: Path) -> None:
        super().__init__(root / "cache")
        self.folder = flux.tiny_flux(root / "model")
        self.file = checkpoint(
            self.folder,
            "flux",
            variant="kontext",
            native_size=NATIVE,
            carries=("vae", "clip_l", "t5xxl"),
        )
        self.picture = Image.radial_gradient("L").resize((128, 192)).convert("RGB")
        file = io.BytesIO()
        self.picture.save(file, "PNG")
        self.sha256 = hashlib.sha256(file.getvalue()).hexdigest()
        self.given: dict[str, Any] = {
            "init_picture": self.sha256,
            "references": (self.sha256,),
            "pictures": {self.sha256: file.getvalue()},
        }


@pytest.fixture(scope="module")
def kontext(tmp_path_factory: pytest.TempPathFactory) -> Kontext:
    return Kontext(tmp_path_factory.mktemp("kontext"))


@pytest.fixture(scope="module")
def pipeline(kontext: Kontext) -> Any:
    # the words are the same everywhere, and reading them takes longest
    words = {"tokenizer": load_tokenizer(VOCABULARY), "tokenizer_2": load_t5_tokenizer()}
    pipe = diffusers.FluxKontextPipeline.from_pretrained(kontext.folder, **words)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def drawn_by(pipeline: Any, picture: Image.Image | None) -> Pixels:
    request = a_request()
    found = pipeline(
        prompt=request.prompt,
        image=picture,
        width=WIDTH,
        height=HEIGHT,
        num_inference_steps=STEPS,
        guidance_scale=2.5,
        generator=torch.Generator("cpu").manual_seed(request.seed),
        max_area=WIDTH * HEIGHT,
        _auto_resize=False,
    )
    return np.asarray(found.images[0]).astype(float)


def test_an_edit_is_diffusers_picture(kontext: Kontext, pipeline: Any) -> None:
    """Whatever the strength: it is drawn from noise alone."""
    reference = drawn_by(pipeline, kontext.picture.resize(SHOWN, Image.Resampling.LANCZOS))
    plain = drawn_by(pipeline, None)
    found = kontext.draw(kontext.file, guidance_scale=2.5, **kontext.given)
    assert apart(found, reference) <= BOUND
    assert apart(found, plain) > BOUND
    again = kontext.draw(kontext.file, guidance_scale=2.5, denoising_strength=0.3, **kontext.given)
    assert np.array_equal(again, found)


def test_without_a_picture_it_draws_from_the_text(kontext: Kontext, pipeline: Any) -> None:
    found = kontext.draw(kontext.file, guidance_scale=2.5)
    assert apart(found, drawn_by(pipeline, None)) <= BOUND


def test_pictures_are_shown_in_the_sizes_of_diffusers(kontext: Kontext) -> None:
    family = family_of(kontext.file)
    for wide in range(200, 4000, 37):
        ratio = wide / 1000
        _, *expected = min(
            (abs(ratio - w / h), w, h)
            for w, h in pipeline_flux_kontext.PREFERRED_KONTEXT_RESOLUTIONS
        )
        assert shown_size((wide, 1000), family, family.native_size) == tuple(expected)


@pytest.fixture
def seen(kontext: Kontext) -> Iterator[list[torch.Tensor]]:
    """Where the tokens stand that the network is shown at each call."""
    found: list[torch.Tensor] = []
    denoiser = kontext.server._parts.checkpoint(kontext.file).denoiser
    hook = denoiser.register_forward_pre_hook(
        lambda _module, _args, named: found.append(named["img_ids"]), with_kwargs=True
    )
    yield found
    hook.remove()


@pytest.mark.parametrize(
    ("tile", "drawn", "shown"),
    [
        # the picture that was edited, whole
        (0, (HEIGHT, WIDTH), SHOWN[::-1]),
        # the tile's own part of what is gone over
        (64, (64, 64), (64, 64)),
    ],
)
def test_a_second_pass_goes_by_a_picture_too(
    tile: int,
    drawn: tuple[int, int],
    shown: tuple[int, int],
    kontext: Kontext,
    seen: list[torch.Tensor],
) -> None:
    made = Enlargement(
        picture=kontext.sha256,
        upscaler="Lanczos",
        width=WIDTH,
        height=HEIGHT,
        from_width=128,
        from_height=192,
        denoising_strength=0.6,
        tile=tile,
    )
    request = a_request(
        model=kontext.file.name,
        width=WIDTH,
        height=HEIGHT,
        steps=STEPS,
        sampler="Euler",
        schedule="Simple",
        init_picture=kontext.sha256,
        denoising_strength=0.6,
        tile=tile,
    )
    more = {name: kontext.given[name] for name in ("references", "pictures")}
    work: Any = Generate("1", request, kontext.file, enlargement=made, **more)
    kontext.ends.sent.clear()
    kontext.server.run(work)
    assert pixels_of(kontext.ends.of(Picture)[0]).shape == (HEIGHT, WIDTH, 3)
    for where in seen:
        for number, size in enumerate((drawn, shown)):
            own = where[where[:, 0] == number]
            assert len(own) == size[0] * size[1] // 256
            assert own[:, 1:].amax(dim=0).tolist() == [size[0] // 16 - 1, size[1] // 16 - 1]
        assert where[:, 0].max() == 1
