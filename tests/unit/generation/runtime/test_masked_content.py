"""What the masked part begins with, and where only it is drawn: against A1111's recipe, written
down plainly with Pillow and diffusers' networks.
"""

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps

from generation.mask_region import Region, around
from generation.mask_shapes import blurred
from generation.masked_pictures import beside, filled
from generation.runtime.masks import Mask
from tests.fixtures import flux
from tests.fixtures.requests import a_request
from tests.unit.generation.runtime.drawing import BOUND, HEIGHT, WIDTH, Pixels, apart, checkpoint
from tests.unit.generation.runtime.test_inpainting import (
    CFG,
    HOLE,
    LESS,
    STEPS,
    UNIFORM,
    Inpainting,
    by_diffusers,
    check_kept,
    drawn_with_noise,
    euler,
    hole,
)

__all__ = ["drawn_with_noise"]

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")
BOX = (24, 8, 80, 56)


@pytest.fixture(scope="module")
def inpainting(tmp_path_factory: pytest.TempPathFactory) -> Inpainting:
    return Inpainting(tmp_path_factory.mktemp("masked-content"))


def fill(picture: Image.Image, mask: Image.Image) -> Image.Image:
    """A1111's `fill`, by its steps."""
    seen = Image.new("RGBa", picture.size)
    seen.paste(picture.convert("RGBA").convert("RGBa"), mask=ImageOps.invert(mask))
    laid = Image.new("RGBA", picture.size)
    for radius, times in ((256, 1), (64, 1), (16, 2), (4, 4), (2, 2), (0, 1)):
        soft = seen.filter(ImageFilter.GaussianBlur(radius)).convert("RGBA")
        for _ in range(times):
            laid = Image.alpha_composite(laid, soft)
    return laid.convert("RGB")


def by_steps(inpainting: Inpainting, *, empty: bool) -> Pixels:
    """Euler's steps over A1111's sigmas, with the picture's latents but in the hole: there noise of
    the seed, or nothing.
    """
    pipe = euler(diffusers.StableDiffusionInpaintPipeline.from_pretrained(inpainting.sd().path))
    pipe.set_progress_bar_config(disable=True)
    request, factor = a_request(), 4
    values = torch.from_numpy(np.array(inpainting.picture)).permute(2, 0, 1)[None]
    noise = torch.randn(
        (1, 4, HEIGHT // factor, WIDTH // factor),
        generator=torch.Generator("cpu").manual_seed(request.seed),
    )
    drawn = torch.zeros(1, 1, HEIGHT // factor, WIDTH // factor)
    left, top, right, bottom = (side // factor for side in HOLE)
    drawn[..., top:bottom, left:right] = 1
    pipe.scheduler.set_timesteps(STEPS)
    sigmas, times = pipe.scheduler.sigmas[1:], pipe.scheduler.timesteps[1:]
    with torch.no_grad():
        found = pipe.vae.encode(values / 127.5 - 1).latent_dist
        kept = (found.mean + found.std * noise) * pipe.vae.config.scaling_factor
        first = torch.zeros_like(kept) if empty else noise
        x = kept * (1 - drawn) + first * drawn + noise * sigmas[0]
        wanted, unwanted = pipe.encode_prompt(
            request.prompt, "cpu", 1, True, CFG["negative_prompt"]
        )
        for sigma, after, time in zip(sigmas, sigmas[1:], times, strict=False):
            scaled = x / (sigma**2 + 1) ** 0.5
            answers = [
                pipe.unet(scaled, time, encoder_hidden_states=text).sample
                for text in (unwanted, wanted)
            ]
            error = answers[0] + CFG["guidance_scale"] * (answers[1] - answers[0])
            clean = (x - sigma * error) * drawn + kept * (1 - drawn)
            x = x + (x - clean) / sigma * (after - sigma)
        x = x * drawn + kept * (1 - drawn)
        pixels = pipe.vae.decode(x / pipe.vae.config.scaling_factor).sample[0]
    return np.asarray(((pixels / 2 + 0.5).clamp(0, 1) * 255).round().permute(1, 2, 0)).astype(float)


def test_what_is_filled_has_the_colours_around_it(inpainting: Inpainting) -> None:
    for spread in (0, 4):
        mask = blurred(inpainting.mask, spread)
        found, expected = filled(inpainting.picture, mask), fill(inpainting.picture, mask)
        assert np.abs(np.asarray(found).astype(int) - np.asarray(expected)).max() <= 1
    kept = np.asarray(inpainting.mask) == 0
    hard = np.asarray(filled(inpainting.picture, inpainting.mask))
    assert np.array_equal(hard[kept], np.asarray(inpainting.picture)[kept])
    assert (hard[~kept] != np.asarray(inpainting.picture)[~kept]).any()


@pytest.mark.usefixtures("drawn_with_noise")
def test_a_filled_hole_is_drawn_by_a1111s_recipe(inpainting: Inpainting) -> None:
    """All latents are those of the filled picture; what stays is put back from the picture."""
    model = inpainting.sd()
    pipe = euler(diffusers.StableDiffusionInpaintPipeline.from_pretrained(model.path))
    begun = inpainting.picture
    inpainting.picture = fill(begun, inpainting.mask)
    try:
        reference = by_diffusers(pipe, inpainting, strength=0.75, **CFG)
    finally:
        inpainting.picture = begun
    given = inpainting.given() | LESS | {"masked_content": "fill"}
    found = inpainting.draw(model, **given, **UNIFORM)
    assert apart(hole(found), hole(reference)) <= BOUND
    check_kept(found, begun, inpainting.mask)
    plain = inpainting.draw(model, **inpainting.given() | LESS, **UNIFORM)
    assert apart(hole(found), hole(plain)) > BOUND


@pytest.mark.parametrize("content", ["latent noise", "latent nothing"])
def test_noise_and_nothing_are_drawn_by_a1111s_recipe(content: str, inpainting: Inpainting) -> None:
    reference = by_steps(inpainting, empty=content == "latent nothing")
    given = inpainting.given() | LESS | {"masked_content": content}
    found = inpainting.draw(inpainting.sd(), **given, **UNIFORM)
    assert apart(hole(found), hole(reference)) <= BOUND
    check_kept(found, inpainting.picture, inpainting.mask)


def test_one_for_inpainting_begins_with_what_is_asked_for(inpainting: Inpainting) -> None:
    """At full strength it begins with noise alone only where nobody asks for another content."""
    model = inpainting.for_inpainting(inpainting.sd())
    given = inpainting.given()
    found = [
        inpainting.draw(model, **given, masked_content=content, **UNIFORM)
        for content in ("original", "fill", "latent nothing", "latent noise")
    ]
    for number, one in enumerate(found):
        check_kept(one, inpainting.picture, inpainting.mask)
        for other in found[number + 1 :]:
            assert apart(hole(one), hole(other)) > 0


def test_each_of_several_has_its_own_seeds_noise(inpainting: Inpainting) -> None:
    given = inpainting.given() | {"masked_content": "latent noise", "denoising_strength": 0.5}
    inpainting.draw(inpainting.sd(), **given, count=2, seed=6)
    second = inpainting.second()
    assert apart(second, inpainting.draw(inpainting.sd(), **given, seed=7)) <= BOUND


def crop_of(mask: Image.Image, padding: int, width: int, height: int) -> tuple[int, int, int, int]:
    """A1111's two functions, by rows and columns."""
    rows = [y for y, row in enumerate(np.asarray(mask)) if row.any()]
    columns = [x for x, column in enumerate(np.asarray(mask).T) if column.any()]
    x1, y1 = max(columns[0] - padding, 0), max(rows[0] - padding, 0)
    x2 = min(columns[-1] + 1 + padding, mask.width)
    y2 = min(rows[-1] + 1 + padding, mask.height)
    if (x2 - x1) / (y2 - y1) > width / height:
        more = int((x2 - x1) / (width / height) - (y2 - y1))
        y1, y2 = y1 - more // 2, y2 + more - more // 2
        if y2 >= mask.height:
            y1, y2 = y1 - (y2 - mask.height), mask.height
        if y1 < 0:
            y1, y2 = 0, min(y2 - y1, mask.height)
    else:
        more = int((y2 - y1) * (width / height) - (x2 - x1))
        x1, x2 = x1 - more // 2, x2 + more - more // 2
        if x2 >= mask.width:
            x1, x2 = x1 - (x2 - mask.width), mask.width
        if x1 < 0:
            x1, x2 = 0, min(x2 - x1, mask.width)
    return x1, y1, x2, y2


@pytest.mark.parametrize("padding", [0, 5, 32, 200])
@pytest.mark.parametrize(
    "hole_", [(0, 0, 9, 9), (140, 90, 160, 100), (60, 30, 64, 90), (10, 40, 150, 44)]
)
def test_the_part_that_is_drawn_is_a1111s(hole_: tuple[int, ...], padding: int) -> None:
    mask = Image.new("L", (160, 100))
    mask.paste(255, hole_)  # type: ignore[arg-type]
    for width, height in ((64, 64), (128, 64), (64, 96)):
        found = around(mask, padding, width, height)
        assert found == crop_of(mask, padding, width, height)
    assert around(Image.new("L", (160, 100)), padding, 64, 64) is None


def large(inpainting: Inpainting) -> tuple[Image.Image, Image.Image]:
    """A picture far larger than what is drawn, and a mask of a small part of it."""
    picture = inpainting.picture.resize((WIDTH * 3, HEIGHT * 3))
    ImageDraw.Draw(picture).line((0, 0, *picture.size), (10, 200, 30), 9)
    mask = Image.new("L", picture.size)
    mask.paste(255, (100, 60, 140, 90))
    return picture, mask


@pytest.mark.usefixtures("drawn_with_noise")
def test_only_what_is_masked_is_drawn_by_a1111s_recipe(inpainting: Inpainting) -> None:
    """Cut out, enlarged, drawn, made small and laid over the picture under the blurred mask."""
    model = inpainting.sd()
    picture, mask = large(inpainting)
    soft = blurred(mask, 3)
    box = crop_of(soft, 8, WIDTH, HEIGHT)
    left, top, right, bottom = box
    cut = picture.crop(box).resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
    drawn = soft.crop(box).resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
    # what the pipeline is shown of a mask is its half
    shown = drawn.resize((WIDTH // 4, HEIGHT // 4), Image.Resampling.BICUBIC)
    shown = shown.point(lambda grey: 255 * (grey >= 128)).resize(
        (WIDTH, HEIGHT), Image.Resampling.NEAREST
    )
    pipe = euler(diffusers.StableDiffusionInpaintPipeline.from_pretrained(model.path))
    begun = inpainting.picture
    inpainting.picture = cut
    try:
        made = by_diffusers(pipe, inpainting, shown, strength=0.75, **CFG)
    finally:
        inpainting.picture = begun
    small = Image.fromarray(made.astype(np.uint8)).resize(
        (right - left, bottom - top), Image.Resampling.LANCZOS
    )
    over = picture.copy()
    over.paste(small, (left, top))
    expected = np.asarray(Image.composite(over, picture, soft)).astype(float)
    given = inpainting.given(mask, picture) | LESS | {"mask_blur": 3}
    told = {"inpaint_area": "only masked", "mask_padding": 8}
    found = inpainting.draw(model, **given, **told, **UNIFORM)
    assert found.shape == expected.shape == (HEIGHT * 3, WIDTH * 3, 3)
    white = np.asarray(mask) == 255
    assert apart(found[white], expected[white]) <= BOUND
    kept = np.asarray(soft) == 0
    assert np.array_equal(found[kept], np.asarray(picture).astype(float)[kept])
    assert apart(found[white], np.asarray(picture).astype(float)[white]) > 1


def test_a_region_of_another_shape_is_drawn_out_and_cropped_again() -> None:
    """As of a tall picture whose whole width is masked: its edges fill what it lacks."""
    whole = Image.linear_gradient("L").convert("RGB").resize((40, 100))
    region = Region(whole, Image.new("L", whole.size, 255), (0, 0, 40, 100))
    cut = region.cut(whole, 96, 96)
    assert cut.size == (96, 96)
    columns = np.asarray(cut)[:, :, 0]
    assert np.array_equal(columns[:, 0], columns[:, 20])
    back = np.asarray(region.pasted(cut)).astype(float)
    assert back.shape == (100, 40, 3)
    assert apart(back, np.asarray(whole).astype(float)) < 2


def test_what_is_not_masked_is_drawn_where_that_is_asked_for(inpainting: Inpainting) -> None:
    inverted = ImageChops.invert(inpainting.mask)
    given = inpainting.given(inverted)
    found = inpainting.draw(inpainting.sd(), **given, mask_mode="not masked")
    assert np.array_equal(found, inpainting.draw(inpainting.sd(), **inpainting.given()))


def test_what_is_followed_and_edited_is_cut_with_the_picture(inpainting: Inpainting) -> None:
    """A control picture that lies over the masked one: the same part of it is seen."""
    picture, mask = large(inpainting)
    region = Region(picture, mask, BOX)
    cut = Mask(mask, picture, region)
    small = picture.resize((WIDTH, HEIGHT))
    size = (56, 48)
    found = np.asarray(beside(picture, cut, size)).astype(float)
    assert np.array_equal(found, np.asarray(picture.crop(BOX)).astype(float))
    scaled = np.asarray(beside(small, cut, size)).astype(float)
    assert apart(found, scaled) < 12
    assert beside(small, None, size).size == size


def test_of_a_picture_that_is_edited_the_same_part_is_shown(inpainting: Inpainting) -> None:
    """What lies outside of it changes nothing in it."""
    folder = inpainting.folder("kontext", lambda into: flux.tiny_flux(into, 1))
    carries = ("vae", "clip_l", "t5xxl")
    model = checkpoint(folder, "flux", variant="kontext", native_size=64, carries=carries)
    picture, mask = large(inpainting)
    box = crop_of(mask, 0, WIDTH, HEIGHT)
    other = Image.new("RGB", picture.size, "navy")
    other.paste(picture.crop(box), box[:2])
    drawn = []
    for shown in (picture, other):
        given = inpainting.given(mask, shown)
        told = {"references": (given["init_picture"],), "inpaint_area": "only masked"}
        found = inpainting.draw(model, **given, **told, mask_padding=0)
        drawn.append(found[np.asarray(mask) == 255])
    assert np.array_equal(*drawn)
    assert apart(drawn[0], np.asarray(picture).astype(float)[np.asarray(mask) == 255]) > 1
