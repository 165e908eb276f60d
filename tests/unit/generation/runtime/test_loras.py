"""A job's LoRAs in its pipeline, against diffusers and peft where they read them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
)
from transformers import CLIPTokenizer

from generation.messages import Generate, RuntimeSettings
from generation.models import ModelFile, ModelKind
from generation.request_parts import LoraUse
from generation.runtime import loras, merging
from generation.runtime.merging import Merger
from generation.runtime.parts import Parts
from tests.fixtures import loras as fixtures
from tests.fixtures import models
from tests.fixtures.requests import a_request

CPU = torch.device("cpu")
TOLERANCE: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-4}


def pipeline(networks: dict[str, torch.nn.Module], class_: Any) -> Any:
    """A pipeline of diffusers on these networks, for its loader of LoRAs."""
    tokenizer = CLIPTokenizer.from_pretrained(models.TOKENIZER)
    vae = AutoencoderKL(block_out_channels=(8,), norm_num_groups=4)
    others = (
        {"tokenizer_2": tokenizer}
        if class_ is StableDiffusionXLPipeline
        else {"safety_checker": None, "requires_safety_checker": False, "feature_extractor": None}
    )
    return class_(
        vae=vae,
        tokenizer=tokenizer,
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        **networks,
        **others,
    )


def answers(networks: dict[str, torch.nn.Module]) -> dict[str, torch.Tensor]:
    """What the networks make of some input."""
    generator = torch.Generator().manual_seed(0)
    found: dict[str, torch.Tensor] = {}
    width = 80 if "text_encoder_2" in networks else 32
    latents = torch.randn((1, 4, 16, 16), generator=generator)
    words = torch.randn((1, 5, width), generator=generator)
    with torch.no_grad():
        for name, network in networks.items():
            if name == "unet":
                added = {"text_embeds": words[:, 0, :48], "time_ids": torch.ones(1, 6)}
                found[name] = network(
                    latents, 500, encoder_hidden_states=words, added_cond_kwargs=added
                ).sample
            else:
                tokens = torch.randint(0, 60, (1, 10), generator=generator)
                hidden = network(tokens, output_hidden_states=True).hidden_states
                found[name] = hidden[-1]
    return found


def as_diffusers(
    networks: dict[str, torch.nn.Module], class_: Any, uses: list[merging.LoraMerge]
) -> dict[str, torch.Tensor]:
    pipe = pipeline(networks, class_)
    names = [f"lora{number}end" for number in range(len(uses))]
    for use, name in zip(uses, names, strict=True):
        pipe.load_lora_weights(str(use.path), adapter_name=name, local_files_only=True)
    pipe.set_adapters(names, [use.denoiser for use in uses])
    return answers(networks)


PREFIXES = {"unet": "lora_unet_", "text_encoder": "lora_te_"}
XL_PREFIXES = {"unet": "lora_unet_", "text_encoder": "lora_te1_", "text_encoder_2": "lora_te2_"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Already found a `peft_config`:UserWarning")
@pytest.mark.parametrize("ends", [fixtures.ATTENTION + fixtures.TEXT, fixtures.ALL])
@pytest.mark.parametrize("family", ["sd1", "xl"])
def test_kohyas_act_as_with_diffusers(tmp_path: Path, family: str, ends: tuple[str, ...]) -> None:
    make, class_, prefixes = {
        "sd1": (fixtures.sd1, StableDiffusionPipeline, PREFIXES),
        "xl": (fixtures.xl, StableDiffusionXLPipeline, XL_PREFIXES),
    }[family]
    uses = []
    for seed, strength in ((1, 0.7), (2, -0.4)):
        tensors: fixtures.Tensors = {}
        for name, network in make().items():
            pairs = fixtures.pairs(fixtures.layers(network, ends), seed)
            tensors |= fixtures.kohya(pairs, prefixes[name], alpha=2.0)
        file = fixtures.save(tensors, tmp_path / f"{seed}.safetensors")
        uses.append(merging.LoraMerge(file, file.stem, strength, strength))
    networks = make()
    plain = answers(networks)
    reports = Merger().apply(networks, uses)
    assert not any(report.is_partial for report in reports)
    found = answers(networks)
    assert not torch.allclose(found["unet"], plain["unet"], **TOLERANCE)
    for name, theirs in as_diffusers(make(), class_, uses).items():
        torch.testing.assert_close(found[name], theirs, **TOLERANCE)


@pytest.mark.parametrize("dora", [False, True])
def test_pefts_act_as_with_diffusers(tmp_path: Path, dora: bool) -> None:
    tensors: fixtures.Tensors = {}
    for name, network in fixtures.sd1().items():
        weights = fixtures.layers(network, fixtures.ATTENTION + fixtures.TEXT)
        pairs = fixtures.pairs(weights, 3)
        tensors |= fixtures.dotted(f"{name}.", ".lora_A.weight", ".lora_B.weight")(pairs)
        if dora and name == "unet":  # diffusers reads that of text encoders no more
            tensors |= {
                f"{name}.{layer}.lora_magnitude_vector": torch.rand(len(weight)) + 0.5
                for layer, weight in weights.items()
            }
    file = fixtures.save(tensors, tmp_path / "peft.safetensors")
    use = merging.LoraMerge(file, "peft")
    networks = fixtures.sd1()
    (report,) = Merger().apply(networks, [use])
    assert not report.is_partial
    found = answers(networks)
    for name, theirs in as_diffusers(fixtures.sd1(), StableDiffusionPipeline, [use]).items():
        torch.testing.assert_close(found[name], theirs, **TOLERANCE)


def work(
    tiny: ModelFile, *files: Path, weight: float = 1.0, te_weight: float | None = None
) -> Generate:
    uses = tuple(LoraUse(name=file.stem, weight=weight, te_weight=te_weight) for file in files)
    return Generate(
        job="1",
        request=a_request(loras=uses),
        checkpoint=tiny,
        loras=tuple(
            ModelFile(kind=ModelKind.LORA, name=file.stem, path=file, family="sd1")
            for file in files
        ),
    )


def test_a_jobs_loras_stay_until_another_job_wants_others(tiny: ModelFile, tmp_path: Path) -> None:
    model = Parts(RuntimeSettings(), CPU).checkpoint(tiny)
    networks = {"unet": model.denoiser, "text_encoder": model.encoders[0].module}
    merger = Merger()
    plain = fixtures.weights_of(networks)
    one = models.tiny_lora(tmp_path / "one.safetensors", tiny.path)
    two = models.tiny_lora(tmp_path / "two.safetensors", tiny.path, text=True)
    seen: dict[tuple[Path, ...], fixtures.Tensors] = {}
    for job in ((one,), (one, two), (two,), (), (one,)):
        loras.merge(merger, model, work(tiny, *job), CPU)
        weights = fixtures.weights_of(networks)
        assert fixtures.equal(seen.setdefault(job, weights), weights)
    assert fixtures.equal(seen[()], plain)
    assert not fixtures.equal(seen[(one,)], plain)
    loras.merge(merger, model, work(tiny, one, two, weight=0.5), CPU)
    weights = fixtures.weights_of(networks)
    half = {name: (plain[name] + seen[(one, two)][name]) / 2 for name in plain}
    for name, weight in weights.items():
        torch.testing.assert_close(weight, half[name])


def test_the_text_encoder_has_the_weight_that_the_request_gives_it(
    tiny: ModelFile, tmp_path: Path
) -> None:
    model, merger = Parts(RuntimeSettings(), CPU).checkpoint(tiny), Merger()
    networks = {"unet": model.denoiser, "text_encoder": model.encoders[0].module}
    plain = fixtures.weights_of(networks)
    both = (
        models.tiny_lora(tmp_path / "one.safetensors", tiny.path),
        models.tiny_lora(tmp_path / "two.safetensors", tiny.path, text=True),
    )
    changed: dict[tuple[float, float | None], set[str]] = {}
    for weight, te_weight in ((1.0, None), (1.0, 0.0), (0.0, 0.5)):
        loras.merge(merger, model, work(tiny, *both, weight=weight, te_weight=te_weight), CPU)
        weights = fixtures.weights_of(networks)
        changed[weight, te_weight] = {
            name.split(".")[0] for name in plain if not torch.equal(plain[name], weights[name])
        }
    assert list(changed.values()) == [{"unet", "text_encoder"}, {"unet"}, {"text_encoder"}]
