"""LoRAs as people have them, from the file to the picture."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
import torch
from diffusers import UNet2DConditionModel

from generation.catalog import Catalog
from generation.engines.process import ProcessEngine
from generation.messages import RuntimeSettings
from tests.fixtures import loras, models
from tests.integration.runtime.bench import Bench

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

SAME = {
    "peft": loras.dotted("base_model.model.", ".lora_A.weight", ".lora_B.weight"),
    "peft-unet": loras.dotted("unet.", ".lora_A.weight", ".lora_B.weight"),
    "bare": loras.dotted("", ".lora_A.weight", ".lora_B.weight"),
    "attention-processors": loras.attention_processors,
}
"""Layouts of one and the same LoRA."""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    root = tmp_path_factory.mktemp("models")
    tiny = models.tiny_stable_diffusion(root / "tiny")
    folder = root / "loras"
    folder.mkdir()
    unet = UNet2DConditionModel.from_pretrained(tiny, subfolder="unet")
    pairs = loras.pairs(loras.layers(unet, loras.ATTENTION))
    plain = loras.kohya(pairs)
    loras.save(plain, folder / "plain.safetensors")
    for name, layout in SAME.items():
        loras.save(layout(pairs), folder / f"{name}.safetensors")
    embedding = {"bundle_emb.mytoken.string_to_param.*": torch.zeros(2, models.WIDTH)}
    loras.save(plain | embedding, folder / "bundled.safetensors")
    conv = "lora_unet_down_blocks_0_resnets_0_conv1"
    core = {
        f"{conv}.lora_down.weight": torch.randn(4, 32, 1, 1),
        f"{conv}.lora_mid.weight": torch.randn(4, 4, 3, 3),
        f"{conv}.lora_up.weight": torch.randn(32, 4, 1, 1),
        f"{conv}.alpha": torch.tensor(4.0),
    }
    loras.save(plain | core, folder / "locon-tucker.safetensors")
    spoilt = {name: tensor.clone() for name, tensor in plain.items()}
    next(t for name, t in spoilt.items() if name.endswith("up.weight"))[0, 0] = float("nan")
    loras.save(spoilt, folder / "nan.safetensors")
    unknown = {f"{layer.removesuffix('.alpha')}.lora_x": t for layer, t in plain.items()}
    loras.save(plain | unknown, folder / "partly-known.safetensors")
    loras.save(
        {
            "lora_unet_mid_block_attentions_0_proj_in.lora_down.weight": torch.randn(4, 64, 1, 1),
            "lora_unet_mid_block_attentions_0_proj_in.lora_sideways.weight": torch.randn(64, 4),
        },
        folder / "unknown.safetensors",
    )
    catalog = Catalog([root])
    await catalog.scan()
    # it says of one that it has words beside the LoRA
    assert {problem.path.stem for problem in catalog.problems} <= {"bundled"}
    engine = ProcessEngine(RuntimeSettings(device="cpu"), cache=root / "cache")
    yield Bench(engine, catalog, root)
    await engine.stop()


async def drawn(bench: Bench, *names: str) -> str:
    made = await bench.make(loras=[{"name": name} for name in names])
    assert made.failed is None, made.failed
    return made.pixels[0]


@pytest.mark.parametrize("layout", [*SAME, "bundled", "partly-known"])
async def test_every_layout_of_one_lora_draws_the_same(bench: Bench, layout: str) -> None:
    plain = await drawn(bench, "plain")
    assert await drawn(bench) != plain
    assert await drawn(bench, layout) == plain


async def test_a_convolution_with_a_core_acts(bench: Bench) -> None:
    pictures = [await drawn(bench, *names) for names in ((), ("plain",), ("locon-tucker",), ())]
    assert len(set(pictures)) == 3
    assert pictures[0] == pictures[3]


@pytest.mark.parametrize(("name", "code"), [("nan", "lora_nan"), ("unknown", "lora_kind")])
async def test_a_lora_that_is_broken_is_named_and_not_the_model(
    bench: Bench, name: str, code: str
) -> None:
    before = await drawn(bench, "plain")
    made = await bench.make(loras=[{"name": name}])
    assert made.failed is not None
    assert (made.failed.code, made.failed.params) == (code, {"name": name})
    assert await drawn(bench, "plain") == before
