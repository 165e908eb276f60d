"""Model after model for a hundred jobs: each draws what it drew at first, and memory stays flat."""

import gc
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
import torch
from safetensors.torch import save_file

from generation.messages import Picture
from generation.models import ModelFile, ModelKind
from generation.runtime import checkpoints
from tests.fixtures import flux, ldm, quantised, qwen_image, sd3, sdxl, z_image
from tests.unit.generation.runtime.drawing import checkpoint
from tests.unit.generation.runtime.test_tuning import Bench

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),
]
SWITCHES = 100
GROWTH = 24 * 2**20
"""Bytes that a process may grow by over all switches, which load some 400 MiB: what allocators keep
between."""


class Drawn(NamedTuple):
    """What a job draws with."""

    model: ModelFile
    loras: tuple[ModelFile, ...] = ()


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Drawn]]:
    """Models of all makes: whole, in GGUF and fp8, in one file and in several, with LoRAs."""
    root = tmp_path_factory.mktemp("several")
    folders = {
        "sdxl": sdxl.tiny_sdxl(root / "sdxl"),
        "flux": flux.tiny_flux(root / "flux"),
        "sd3": sd3.tiny_sd3(root / "sd3"),
        "z-image": z_image.tiny_z_image(root / "z-image"),
        "qwen-image": root / "qwen-image",
    }
    qwen_image.tiny_qwen_image(folders["qwen-image"])
    for name, folder in folders.items():
        sdxl.configs_of(name, folder, root / "configs")
    xl = sdxl.single_file(folders["sdxl"], root / "xl.safetensors")
    split = flux.split(folders["flux"], root / "split")
    parts = flux.parts_of(root / "split")
    three = sd3.one_file(folders["sd3"], root / "three.safetensors", *sd3.PARTS)
    z = z_image.one_file(folders["z-image"], root / "z.safetensors")
    qwen = qwen_image.one_file(folders["qwen-image"], root / "qwen.safetensors")
    packed = {
        "xl": quantised.gguf_of(xl, root / "xl.gguf", "Q8_0"),
        "flux": quantised.scaled_fp8(split, root / "fp8.safetensors", quantised.of_rows),
        "sd3": quantised.comfy_quant(three, root / "three8.safetensors", quantised.of_all),
        "z": quantised.gguf_of(z, root / "z.gguf", "Q4_0"),
        "qwen": quantised.gguf_of(qwen, root / "qwen.gguf", "Q8_0"),
    }
    all_of_sd3 = ("vae", "clip_l", "clip_g", "t5xxl")
    all_of_z, all_of_qwen = ("qwen3-4b", "vae"), ("qwen2.5-vl-7b", "vae")
    loras = {name: lora_of(folder, root, name) for name, folder in folders.items()}
    flux_8 = checkpoint(packed["flux"], "flux", parts=parts)
    sd3_8 = checkpoint(packed["sd3"], "sd3.5", carries=all_of_sd3)
    z_4 = checkpoint(packed["z"], "z-image", carries=all_of_z)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "CONFIGS", root / "configs")
        yield {
            "sdxl": Drawn(checkpoint(xl, "sdxl", v_prediction=False)),
            "flux fp8, LoRA": Drawn(flux_8, (loras["flux"],)),
            "sdxl Q8_0": Drawn(checkpoint(packed["xl"], "sdxl", v_prediction=False)),
            "flux, LoRA": Drawn(checkpoint(split, "flux", parts=parts), (loras["flux"],)),
            "sd3.5 fp8": Drawn(sd3_8),
            "z-image Q4_0, LoRA": Drawn(z_4, (loras["z-image"],)),
            "flux fp8": Drawn(flux_8),
            "sd3.5 fp8, LoRA": Drawn(sd3_8, (loras["sd3"],)),
            "z-image Q4_0": Drawn(z_4),
            "qwen-image": Drawn(checkpoint(qwen, "qwen-image", carries=all_of_qwen)),
            "z-image": Drawn(checkpoint(z, "z-image", carries=all_of_z)),
            "qwen-image Q8_0, LoRA": Drawn(
                checkpoint(packed["qwen"], "qwen-image", carries=all_of_qwen),
                (loras["qwen-image"],),
            ),
        }


def lora_of(folder: Path, root: Path, name: str) -> ModelFile:
    """One for every matrix of a tiny transformer's attention, in diffusers' names."""
    generator = torch.Generator("cpu").manual_seed(4)
    tensors: ldm.Tensors = {}
    if (folder / "transformer").is_dir():
        for layer, weight in sdxl.weights(folder / "transformer").items():
            if re.search(r"\.to_[qkv]\.weight$", layer):
                key = f"transformer.{layer.removesuffix('.weight')}"
                up, down = (len(weight), 4), (4, weight.shape[1])
                tensors[f"{key}.lora_A.weight"] = torch.randn(down, generator=generator)
                tensors[f"{key}.lora_B.weight"] = torch.randn(up, generator=generator) * 0.1
    file = root / f"lora of {name}.safetensors"
    save_file(tensors, file)
    return ModelFile(kind=ModelKind.LORA, name=file.stem, path=file, family=name)


def test_a_hundred_switches(several: dict[str, Drawn], tmp_path: Path) -> None:
    """A, B, A to the bit, and no more memory than after the first rounds."""
    bench = Bench(tmp_path, models_kept=1, quantised="keep")
    gc.collect()
    gc.freeze()  # looking through what is there anyway, twice a job, takes longest
    process = psutil.Process()
    pictures: dict[str, set[str]] = {name: set() for name in several}
    warm = 0
    for number in range(SWITCHES):
        name = list(several)[number % len(several)]
        model, loras = several[name]
        bench.draw(model, loras=loras, sampler="Euler", steps=1)
        (picture,) = bench.ends.of(Picture)
        pictures[name].add(picture.pixels_sha256)
        if number + 1 == 3 * len(several):
            gc.collect()
            warm = process.memory_info().rss
    gc.collect()
    gc.unfreeze()
    assert {name: len(found) for name, found in pictures.items()} == dict.fromkeys(several, 1)
    assert len(set.union(*pictures.values())) == len(several)
    assert process.memory_info().rss - warm < GROWTH
