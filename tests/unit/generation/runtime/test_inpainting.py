"""Inpainting against diffusers' own pipelines on the same weights; what stays, to the last bit."""

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import diffusers
import numpy as np
import pytest
import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from PIL import Image, ImageDraw

from generation.mask_shapes import blurred
from generation.messages import Failed, Picture
from generation.models import ModelFile, ModelKind
from generation.runtime.masks import MaskedDenoiser, MaskedLatents
from generation.runtime.model_sampling import FlowSampling, discrete
from generation.runtime.noise import Streams
from generation.runtime.samplers import SAMPLING
from generation.runtime.schedules import timeline
from generation.runtime.tokenizers import VOCABULARY, load_t5_tokenizer, load_tokenizer
from generation.samplers import SAMPLERS
from tests.fixtures import chroma, flux, flux2, models, qwen_image, sd3, sdxl, z_image
from tests.fixtures.requests import a_request
from tests.unit.generation.runtime.drawing import (
    BOUND,
    HEIGHT,
    WIDTH,
    Drawing,
    Pixels,
    apart,
    checkpoint,
    pixels_of,
)
from tests.unit.generation.runtime.test_samplers import Toy

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array:DeprecationWarning",
    # diffusers' own name for it is older than its place
    "ignore:`FluxPosEmbed` is deprecated:FutureWarning",
)
STEPS = 4
"""By which a thousand timesteps are divided without a rest."""
HOLE = (32, 16, 64, 48)
"""Left, top, right and bottom of what is drawn anew: whole latents and tokens."""


class Inpainting(Drawing):
    """Tiny models of every kind, a picture and its mask."""

    def __init__(self, root: Path) -> None:
        super().__init__(root / "cache")
        self.root = root
        self.picture = Image.linear_gradient("L").resize((WIDTH, HEIGHT)).convert("RGB")
        ImageDraw.Draw(self.picture).ellipse((4, 4, 60, 60), (200, 30, 90))
        self.mask = Image.new("L", (WIDTH, HEIGHT))
        self.mask.paste(255, HOLE)

    def given(
        self, mask: Image.Image | None = None, picture: Image.Image | None = None
    ) -> dict[str, Any]:
        """What a request is given that draws the masked part of the picture anew."""
        files = [_png(picture or self.picture), _png(mask or self.mask)]
        hashes = [hashlib.sha256(file).hexdigest() for file in files]
        return {
            "init_picture": hashes[0],
            "mask": hashes[1],
            "mask_blur": 0,
            "denoising_strength": 1.0,
            "steps": STEPS,
            "pictures": dict(zip(hashes, files, strict=True)),
        }

    def second(self) -> Pixels:
        """The second picture of the last request."""
        return pixels_of(self.ends.of(Picture)[1])

    def folder(self, name: str, make: Callable[[Path], Path]) -> Path:
        """A tiny model's, made when it is first wanted."""
        folder = self.root / name
        return folder if folder.exists() else make(folder)

    def sd(self) -> ModelFile:
        return checkpoint(self.folder("sd", models.tiny_stable_diffusion), "sd1")

    def xl(self) -> ModelFile:
        return checkpoint(self.folder("xl", sdxl.tiny_sdxl), "sdxl")

    def for_inpainting(self, base: ModelFile) -> ModelFile:
        """A copy that is shown what stays."""
        folder = self.folder(
            f"{base.name}-inpainting",
            lambda into: sdxl.with_unet_channels(base.path, into, channels=9),
        )
        return checkpoint(folder, base.family, variant="inpainting")

    def flux(self) -> ModelFile:
        folder = self.folder("flux", flux.tiny_flux)
        return checkpoint(folder, "flux", carries=("vae", "clip_l", "t5xxl"))

    def fill(self) -> ModelFile:
        base = self.flux().path
        folder = self.folder("fill", lambda into: flux.tiny_fill(into, base))
        carries = ("vae", "clip_l", "t5xxl")
        return checkpoint(folder, "flux", variant="fill", carries=carries)

    def sd3(self) -> ModelFile:
        folder = self.folder("sd3", sd3.tiny_sd3)
        return checkpoint(folder, "sd3.5", carries=("vae", "clip_l", "clip_g", "t5xxl"))


def _png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def inpainting(tmp_path_factory: pytest.TempPathFactory) -> Inpainting:
    return Inpainting(tmp_path_factory.mktemp("inpainting"))


@pytest.fixture
def meant(monkeypatch: pytest.MonkeyPatch) -> None:
    """diffusers draws a picture's latents from the generator of the noise: here their mean is
    taken.
    """
    monkeypatch.setattr(DiagonalGaussianDistribution, "sample", lambda self, _by=None: self.mean)


@pytest.fixture
def drawn_with_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """As A1111 draws them after a picture of the same seed: with that picture's first noise."""

    def sample(self: Any, _by: Any = None) -> Any:
        noise = Streams((a_request().seed,)).initial(tuple(self.mean.shape[1:]))
        return self.mean + self.std * noise

    monkeypatch.setattr(DiagonalGaussianDistribution, "sample", sample)


def by_diffusers(
    pipe: Any, inpainting: Inpainting, mask: Image.Image | None = None, **options: Any
) -> Pixels:
    """What a pipeline draws of the same picture, mask and prompt."""
    pipe.set_progress_bar_config(disable=True)
    request = a_request()
    found = pipe(
        prompt=request.prompt,
        image=inpainting.picture,
        mask_image=mask or inpainting.mask,
        width=WIDTH,
        height=HEIGHT,
        num_inference_steps=STEPS,
        generator=torch.Generator("cpu").manual_seed(request.seed),
        **options,
    )
    return np.asarray(found.images[0]).astype(float)


def uneven() -> Image.Image:
    """A mask of the hole and a little more, whose edges lie within latents: those that are shown it
    see which of their pixels it covers.
    """
    mask = Image.new("L", (WIDTH, HEIGHT))
    left, top, right, bottom = HOLE
    mask.paste(255, (left - 3, top - 5, right + 2, bottom + 6))
    return mask


def hole(pixels: Pixels) -> Pixels:
    left, top, right, bottom = HOLE
    return pixels[top:bottom, left:right]


def check_kept(found: Pixels, picture: Image.Image, mask: Image.Image) -> None:
    """What the mask leaves black is the picture's, to the last bit, and what it has in white is
    not.
    """
    kept, drawn = np.asarray(mask) == 0, np.asarray(mask) == 255
    original = np.asarray(picture).astype(float)
    assert np.array_equal(found[kept], original[kept])
    assert np.abs(found[drawn] - original[drawn]).mean() > 1


def euler(pipe: Any) -> Any:
    """The pipeline with A1111's sampler and schedule."""
    pipe.scheduler = diffusers.EulerDiscreteScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012
    )
    return pipe


CFG: dict[str, Any] = {"guidance_scale": 5.0, "negative_prompt": "fog"}
UNIFORM = {"schedule": "Uniform", **CFG}


@pytest.mark.usefixtures("meant")
def test_a_unet_for_inpainting_draws_diffusers_picture(inpainting: Inpainting) -> None:
    model = inpainting.for_inpainting(inpainting.sd())
    pipe = diffusers.StableDiffusionInpaintPipeline.from_pretrained(model.path)
    reference = by_diffusers(euler(pipe), inpainting, uneven(), **CFG)
    found = inpainting.draw(model, **inpainting.given(uneven()), **UNIFORM)
    assert apart(hole(found), hole(reference)) <= BOUND
    check_kept(found, inpainting.picture, uneven())


@pytest.mark.slow
@pytest.mark.usefixtures("meant")
def test_an_xl_for_inpainting_draws_diffusers_picture(inpainting: Inpainting) -> None:
    model = inpainting.for_inpainting(inpainting.xl())
    pipe = diffusers.StableDiffusionXLInpaintPipeline.from_pretrained(
        model.path, add_watermarker=False
    )
    reference = by_diffusers(euler(pipe), inpainting, uneven(), strength=1.0, **CFG)
    found = inpainting.draw(model, **inpainting.given(uneven()), **UNIFORM)
    assert apart(hole(found), hole(reference)) <= BOUND
    check_kept(found, inpainting.picture, uneven())


def words() -> dict[str, Any]:
    """Reading them takes longest, and they are the same everywhere."""
    return {"tokenizer": load_tokenizer(VOCABULARY), "tokenizer_2": load_t5_tokenizer()}


@pytest.mark.usefixtures("meant")
def test_fill_draws_diffusers_picture(inpainting: Inpainting) -> None:
    model = inpainting.fill()
    pipe = diffusers.FluxFillPipeline.from_pretrained(model.path, **words())
    reference = by_diffusers(pipe, inpainting, uneven(), guidance_scale=30.0)
    found = inpainting.draw(model, guidance_scale=30.0, **inpainting.given(uneven()))
    assert apart(hole(found), hole(reference)) <= BOUND
    check_kept(found, inpainting.picture, uneven())


# diffusers does that share of the steps, A1111 one more than its own
LESS = {"denoising_strength": 0.5}


@pytest.mark.usefixtures("drawn_with_noise")
def test_a_usual_unet_draws_diffusers_picture(inpainting: Inpainting) -> None:
    model = inpainting.sd()
    pipe = diffusers.StableDiffusionInpaintPipeline.from_pretrained(model.path)
    reference = by_diffusers(euler(pipe), inpainting, strength=0.75, **CFG)
    found = inpainting.draw(model, **inpainting.given() | LESS, **UNIFORM)
    assert apart(hole(found), hole(reference)) <= BOUND
    check_kept(found, inpainting.picture, inpainting.mask)


@pytest.mark.usefixtures("drawn_with_noise")
@pytest.mark.parametrize(("ours", "theirs"), [(0.5, 0.75), (1.0, 1.0)])
def test_a_flow_model_draws_diffusers_picture(
    ours: float, theirs: float, inpainting: Inpainting
) -> None:
    model = inpainting.flux()
    pipe = diffusers.FluxInpaintPipeline.from_pretrained(model.path, **words())
    reference = by_diffusers(pipe, inpainting, strength=theirs, guidance_scale=3.5)
    found = inpainting.draw(model, **inpainting.given() | {"denoising_strength": ours})
    assert apart(hole(found), hole(reference)) <= BOUND
    check_kept(found, inpainting.picture, inpainting.mask)


@pytest.mark.usefixtures("drawn_with_noise")
def test_stable_diffusion_3_draws_diffusers_picture(inpainting: Inpainting) -> None:
    model = inpainting.sd3()
    pipe = diffusers.StableDiffusion3InpaintPipeline.from_pretrained(
        model.path,
        tokenizer=load_tokenizer(VOCABULARY),
        tokenizer_2=load_tokenizer(sdxl.CONFIGS / "sdxl" / "tokenizer_2"),
        tokenizer_3=load_t5_tokenizer(),
    )
    vae, decode = pipe.vae, pipe.vae.decode
    # diffusers 0.42 leaves the shift out there
    vae.decode = lambda latents, **told: decode(latents + vae.config.shift_factor, **told)
    reference = by_diffusers(pipe, inpainting, strength=0.75, **CFG)
    found = inpainting.draw(model, **inpainting.given() | LESS, schedule="Normal", **CFG)
    assert apart(hole(found), hole(reference)) <= BOUND
    check_kept(found, inpainting.picture, inpainting.mask)


@pytest.mark.usefixtures("drawn_with_noise")
def test_a_controlnet_for_inpainting_draws_diffusers_picture(inpainting: Inpainting) -> None:
    """It sees -1 where it draws."""
    model = inpainting.sd()
    net = control_of(
        inpainting,
        "control_v11p_sd15_inpaint",
        lambda into: models.tiny_controlnet(into, model.path),
    )
    seen = np.array(inpainting.picture, dtype=np.float32) / 255
    seen[np.array(inpainting.mask) > 127] = -1
    pipe = diffusers.StableDiffusionControlNetInpaintPipeline.from_pretrained(
        model.path, controlnet=diffusers.ControlNetModel.from_pretrained(net.path)
    )
    told: dict[str, Any] = {
        "control_image": torch.from_numpy(seen).permute(2, 0, 1)[None],
        "controlnet_conditioning_scale": 1.0,
    }
    reference = by_diffusers(euler(pipe), inpainting, strength=0.75, **told, **CFG)
    found = inpainting.draw(model, **steered(inpainting, net), **UNIFORM)
    assert apart(hole(found), hole(reference)) <= BOUND
    plain = inpainting.draw(model, **inpainting.given() | LESS, **UNIFORM)
    assert apart(hole(found), hole(plain)) > BOUND


@pytest.mark.slow
@pytest.mark.usefixtures("drawn_with_noise")
def test_a_union_that_repaints_draws_diffusers_picture(inpainting: Inpainting) -> None:
    """It sees black where it draws."""
    model = inpainting.xl()
    net = control_of(
        inpainting,
        "promax",
        lambda into: sdxl.tiny_controlnet_union(into, model.path, kinds=8),
        variant="union-promax",
    )
    shown = inpainting.picture.copy()
    shown.paste((0, 0, 0), HOLE)
    pipe = diffusers.StableDiffusionXLControlNetUnionInpaintPipeline.from_pretrained(
        model.path,
        controlnet=diffusers.ControlNetUnionModel.from_pretrained(net.path),
        add_watermarker=False,
    )
    reference = by_diffusers(
        euler(pipe), inpainting, strength=0.75, control_image=[shown], control_mode=[7], **CFG
    )
    found = inpainting.draw(model, **steered(inpainting, net, kind="repaint"), **UNIFORM)
    assert apart(hole(found), hole(reference)) <= BOUND


def control_of(
    inpainting: Inpainting, name: str, make: Callable[[Path], Path], variant: str = ""
) -> ModelFile:
    """A tiny ControlNet that looks at its picture closely."""
    class_ = diffusers.ControlNetUnionModel if variant else diffusers.ControlNetModel
    folder = inpainting.folder(name, make)
    net = class_.from_pretrained(folder)
    with torch.no_grad():
        net.controlnet_cond_embedding.conv_in.weight.mul_(20)
        net.controlnet_cond_embedding.conv_out.weight.mul_(20)
    net.save_pretrained(folder)
    family = "sdxl" if variant else "sd1"
    kind = ModelKind.CONTROLNET
    return ModelFile(kind=kind, name=name, path=folder, family=family, variant=variant)


def steered(inpainting: Inpainting, net: ModelFile, **told: Any) -> dict[str, Any]:
    """What a request is given whose masked picture a ControlNet follows, too."""
    given = inpainting.given() | LESS
    control = {"name": net.name, "picture": given["init_picture"], **told}
    return {**given, "controls": [control], "controlnets": (net,)}


def test_with_less_strength_one_for_inpainting_begins_with_the_picture(
    inpainting: Inpainting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And keeps what stays at every step, as A1111 does; diffusers' pipeline is told to."""
    noise = Streams((a_request().seed,)).initial((4, HEIGHT // 4, WIDTH // 4))
    model = inpainting.for_inpainting(inpainting.sd())
    pipe = euler(diffusers.StableDiffusionInpaintPipeline.from_pretrained(model.path))
    values = torch.from_numpy(np.array(inpainting.picture)).permute(2, 0, 1)[None]
    with torch.no_grad():
        encoded = pipe.vae.encode(values / 127.5 - 1).latent_dist
    kept = (encoded.mean + encoded.std * noise) * pipe.vae.config.scaling_factor
    stays = torch.ones_like(kept)
    left, top, right, bottom = (side // 4 for side in HOLE)
    stays[..., top:bottom, left:right] = 0
    monkeypatch.setattr(DiagonalGaussianDistribution, "sample", lambda self, _by=None: self.mean)
    monkeypatch.setattr(pipe, "_encode_vae_image", _first(pipe, kept))

    def keep(_pipe: Any, step: int, _time: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        sigma = pipe.scheduler.sigmas[pipe.scheduler.step_index]
        return {"latents": torch.where(stays > 0, kept + noise * sigma, tensors["latents"])}

    reference = by_diffusers(pipe, inpainting, strength=0.75, callback_on_step_end=keep, **CFG)
    found = inpainting.draw(model, **inpainting.given() | LESS, **UNIFORM)
    assert apart(hole(found), hole(reference)) <= BOUND
    whole = inpainting.draw(model, **inpainting.given(), **UNIFORM)
    assert apart(hole(found), hole(whole)) > BOUND


def _first(pipe: Any, kept: torch.Tensor) -> Callable[..., Any]:
    """The start picture's latents, and from then on whatever the pipeline makes of a picture."""
    usual, left = pipe._encode_vae_image, [kept]
    return lambda *given, **told: left.pop() if left else usual(*given, **told)


OTHERS: dict[str, tuple[Callable[[Path], Any], tuple[str, ...]]] = {
    "flux2-klein-4b": (flux2.tiny_klein, ("qwen3-4b", "vae")),
    "z-image": (z_image.tiny_z_image, ("qwen3-4b", "vae")),
    "qwen-image": (qwen_image.tiny_qwen_image, ("qwen2.5-vl-7b", "vae")),
    "chroma": (chroma.tiny_chroma, ("t5xxl", "vae")),
}
"""The other families: how a tiny model is made, and what it carries."""


@pytest.mark.slow
@pytest.mark.parametrize("family", OTHERS)
def test_every_family_keeps_what_stays(family: str, inpainting: Inpainting) -> None:
    """Whatever its latents; and within the mask it is another picture than without one."""
    make, carries = OTHERS[family]
    make(inpainting.root / family)
    model = checkpoint(inpainting.root / family, family, carries=carries)
    given = inpainting.given(uneven()) | {"denoising_strength": 0.8, "prompt": "a red lighthouse"}
    found = inpainting.draw(model, **given)
    check_kept(found, inpainting.picture, uneven())
    unmasked = {name: value for name, value in given.items() if "mask" not in name}
    whole = inpainting.draw(model, **unmasked)
    kept = np.asarray(uneven()) == 0
    assert apart(whole[kept], np.asarray(inpainting.picture).astype(float)[kept]) > 1
    assert apart(hole(found), hole(whole)) > BOUND


def test_a_white_mask_changes_nothing(inpainting: Inpainting) -> None:
    """Of a flow model, which at full strength begins with noise alone: the same seed's."""
    white = Image.new("L", (WIDTH, HEIGHT), 255)
    found = inpainting.draw(inpainting.flux(), **inpainting.given(white))
    assert np.array_equal(found, inpainting.draw(inpainting.flux(), steps=STEPS))


@pytest.mark.slow
def test_an_edit_stays_within_its_mask(inpainting: Inpainting) -> None:
    """Of one that edits pictures, which begins with noise alone."""
    folder = inpainting.folder("kontext", lambda into: flux.tiny_flux(into, 1))
    carries = ("vae", "clip_l", "t5xxl")
    model = checkpoint(folder, "flux", variant="kontext", native_size=64, carries=carries)
    white = Image.new("L", (WIDTH, HEIGHT), 255)
    given = inpainting.given()
    shown = {"references": (given["init_picture"],)}
    found = inpainting.draw(model, **given, **shown)
    check_kept(found, inpainting.picture, inpainting.mask)
    edited = inpainting.draw(model, **shown, **inpainting.given(white))
    plain = {name: given[name] for name in ("init_picture", "pictures", "steps")}
    assert np.array_equal(edited, inpainting.draw(model, **plain, **shown))
    assert apart(hole(found), hole(edited)) > BOUND


@pytest.mark.slow
def test_a_mask_is_scaled_and_cropped_as_its_picture_is(inpainting: Inpainting) -> None:
    """To the picture's size first, whatever its own; as wide a picture is cropped at its sides."""
    small = inpainting.mask.resize((WIDTH // 8, HEIGHT // 8), Image.Resampling.NEAREST)
    wide, masked = (Image.new("RGB", (WIDTH * 2, HEIGHT), grey) for grey in ("black", "white"))
    wide.paste(inpainting.picture, (WIDTH // 2, 0))
    masked.paste(inpainting.mask, (WIDTH // 2, 0))
    model = inpainting.sd()
    found = inpainting.draw(model, **inpainting.given())
    cropped = inpainting.given(masked.convert("L"), wide)
    assert np.array_equal(inpainting.draw(model, **cropped), found)
    scaled = inpainting.draw(model, **inpainting.given(small))
    edge = 8  # pixels of the small mask's
    left, top, right, bottom = HOLE
    inner = (left + edge, top + edge, right - edge, bottom - edge)
    assert np.array_equal(scaled[: top - edge], found[: top - edge])
    assert (scaled != np.asarray(inpainting.picture))[
        inner[1] : inner[3], inner[0] : inner[2]
    ].any()


def test_the_edge_is_blurred_as_a1111_does(inpainting: Inpainting) -> None:
    """By OpenCV, across and down."""
    mask = inpainting.mask
    for spread in (1, 4, 20):
        size = 2 * int(2.5 * spread + 0.5) + 1
        expected = cv2.GaussianBlur(np.asarray(mask), (size, 1), spread)
        expected = cv2.GaussianBlur(expected, (1, size), spread)
        found = np.asarray(blurred(mask, spread)).astype(int)
        assert np.abs(found - expected).max() <= 1
    assert blurred(mask, 0) is mask


@pytest.mark.slow
def test_under_the_blurred_edge_both_pictures_are_seen(inpainting: Inpainting) -> None:
    model, given = inpainting.flux(), inpainting.given()
    hard, soft = (inpainting.draw(model, **given | {"mask_blur": blur}) for blur in (0, 4))
    edge = np.asarray(blurred(inpainting.mask, 4))
    original = np.asarray(inpainting.picture).astype(float)
    assert np.array_equal(soft[edge == 0], original[edge == 0])
    # half of the mask's white is all of the picture that is made
    assert np.array_equal(soft[edge > 127], hard[edge > 127])
    little, more = (edge > 0) & (edge < 30), (edge > 60) & (edge < 127)
    assert 0 < apart(soft[little], original[little]) < apart(soft[more], original[more])


def test_a_grey_mask_is_feathered_as_it_is_given(inpainting: Inpainting) -> None:
    """Where it is darker than half, what is made is mixed with what was there."""
    quarter = inpainting.mask.copy()
    quarter.paste(64, (0, 0, 16, HEIGHT))
    found = inpainting.draw(inpainting.sd(), **inpainting.given(quarter))
    original = np.asarray(inpainting.picture).astype(float)
    assert np.array_equal(found[:, 64:], original[:, 64:])
    assert apart(found[:, :16], original[:, :16]) > 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sd", "fill"])
def test_a_mask_that_leaves_nothing_to_draw_is_refused(kind: str, inpainting: Inpainting) -> None:
    """As a line that is finer than its blur."""
    line = Image.new("L", (WIDTH, HEIGHT))
    line.paste(255, (40, 0, 42, HEIGHT))
    answer = inpainting.answer(getattr(inpainting, kind)(), **inpainting.given(line))
    assert isinstance(answer, Failed)
    assert answer.code == "mask_too_fine"


def test_each_picture_of_several_keeps_what_stays(inpainting: Inpainting) -> None:
    """And has its own seed's noise: one of two is the one that is drawn alone."""
    given = inpainting.given()
    inpainting.draw(inpainting.sd(), **given, count=2, seed=6)
    second = inpainting.second()
    assert apart(second, inpainting.draw(inpainting.sd(), **given, seed=7)) <= BOUND
    check_kept(second, inpainting.picture, inpainting.mask)


SHAPE = (4, 32, 32)
KEPT = torch.linspace(-3, 3, 4 * 32 * 32).view(1, *SHAPE)


class Halving(Toy):
    """Its answer to the negative prompt is another."""

    def __call__(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        denoised: torch.Tensor = super().__call__(x, sigma)
        self.uncond = denoised / 2
        return denoised


@pytest.mark.parametrize("model", ["eps", "flow"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_what_stays_has_the_noise_of_each_step(sampler: str, model: str) -> None:
    """Whatever the sampler: at each step it is what stays with noise of that level."""
    if model == "flow" and (not SAMPLERS[sampler].flow or sampler == "DDPM"):
        # the latter adds as much noise as with models of noise, as in ComfyUI
        return
    sampling = discrete({}, "a1111") if model == "eps" else FlowSampling(3.0)
    sigmas = timeline("Uniform", sampler, sampling, 8, 0.7).sigmas
    noise = Streams((7,))
    initial = noise.initial(SHAPE)
    drawn = torch.zeros(1, 1, 32, 32)
    drawn[..., :8] = 1
    masked = MaskedDenoiser(Halving(), MaskedLatents(drawn, KEPT), sampling)
    x = sampling.begin(initial, sigmas[0], KEPT)
    for step in SAMPLING[sampler](masked, x, sigmas, noise, sampling):
        assert torch.equal(step.denoised[..., 8:], KEPT[..., 8:])
        level = float(sigmas[step.number + 1])
        signal = 1 if model == "eps" else 1 - level
        left = (step.x - signal * KEPT)[..., 8:]
        assert float(left.std()) == pytest.approx(level, rel=0.1, abs=0.01), step.number


@pytest.mark.parametrize("model", ["eps", "flow"])
def test_in_comfyui_s_way_the_network_sees_what_stays_under_its_first_noise(model: str) -> None:
    """Whatever noise a sampler has put on it since."""
    sampling = discrete({}, "comfyui") if model == "eps" else FlowSampling(3.0)
    sigmas = timeline("Uniform", "Euler a", sampling, 6, 0.7).sigmas
    noise = Streams((7,), (), "comfyui")
    first = noise.initial(SHAPE)
    drawn = torch.zeros(1, 1, 32, 32)
    drawn[..., :8] = 1
    seen: list[torch.Tensor] = []

    class Watched(Halving):
        def __call__(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
            signal = 1 if model == "eps" else 1 - float(sigma)
            seen.append((x - signal * KEPT)[..., 8:] / float(sigma))
            return super().__call__(x, sigma)

    masked = MaskedDenoiser(Watched(), MaskedLatents(drawn, KEPT, first), sampling)
    x = sampling.begin(first, sigmas[0], KEPT)
    for _ in SAMPLING["Euler a"](masked, x, sigmas, noise, sampling):
        pass
    assert len(seen) == 6
    for one in seen:
        assert torch.allclose(one, first[..., 8:], atol=1e-3)
