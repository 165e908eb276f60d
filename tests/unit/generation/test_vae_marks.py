"""VAEs whose version no name tells are told by the VAEs within the checkpoints beside them."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from generation.catalog import Catalog
from generation.safetensors_header import read_text
from generation.vae_marks import family_by, mark_of
from tests.unit.generation.test_catalog import SD1, SDXL, VAE, Shapes, write

ONE = torch.tensor([-2.0, 0.5, 1.25, 0.001, 3.0, -0.75, 0.1, 0.2])
XL = torch.tensor([0.3, -0.4, 0.2, 0.9, -1.1, 0.8, 0.05, 0.6])


def put(
    file: Path, shapes: Shapes, bias: torch.Tensor | None, prefix: str = "", **metadata: str
) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: torch.zeros(tuple(min(n, 8) for n in s)) for name, s in shapes.items()}
    for name, shape in shapes.items():
        if name.endswith(("to_k.weight", "decoder.conv_in.weight")):
            tensors[name] = torch.zeros(shape)
    if bias is not None:
        tensors[f"{prefix}quant_conv.bias"] = bias
    save_file(tensors, file, metadata or None)


async def families(*folders: Path) -> dict[str, str]:
    catalog = Catalog(folders)
    await catalog.scan()
    assert catalog.problems == ()
    return {vae.name: vae.family for vae in catalog.vaes}


async def test_a_vae_is_that_of_a_checkpoint_beside_it(tmp_path: Path) -> None:
    put(tmp_path / "checkpoints" / "one.safetensors", SD1, ONE, "first_stage_model.")
    put(tmp_path / "checkpoints" / "large.safetensors", SDXL, XL, "first_stage_model.")
    for name, bias in (
        ("half", ONE.half()),
        ("brain", ONE.bfloat16()),
        ("xl", XL),
        ("other", XL + 1),
        ("nan", XL * float("nan")),
        ("zero", XL * 0),
        ("none", None),
    ):
        put(tmp_path / "vae" / f"{name}.safetensors", VAE, bias)
    told = {"half": "sd1", "brain": "sd1", "xl": "sdxl"}
    unknown = dict.fromkeys(("other", "nan", "zero", "none"), "sd")
    assert await families(tmp_path) == told | unknown
    # without the checkpoint nothing tells it any more
    (tmp_path / "checkpoints" / "large.safetensors").unlink()
    assert (await families(tmp_path))["xl"] == "sd"


async def test_what_a_file_says_goes_before(tmp_path: Path) -> None:
    put(tmp_path / "one.safetensors", SD1, ONE, "first_stage_model.")
    says = {"modelspec.architecture": "stable-diffusion-xl-v1-base/vae"}
    put(tmp_path / "says.safetensors", VAE, ONE, **says)
    # two families claim its mark, so a third that has it is of neither
    put(tmp_path / "third.safetensors", VAE, ONE)
    assert await families(tmp_path) == {"says": "sdxl", "third": "sd"}


@pytest.mark.parametrize(
    ("mark", "family"),
    [((1.0, 2.0), "a"), ((1.004, 2.0), "a"), ((1.1, 2.0), ""), ((1.0,), ""), ((), "")],
)
def test_how_near_is_alike(mark: tuple[float, ...], family: str) -> None:
    assert family_by(mark, {"a": [(9.0, 9.0), (1.0, 2.0)], "b": [()]}) == family


def test_a_header_that_lies_about_it(tmp_path: Path) -> None:
    file = write(tmp_path / "a.safetensors", {"quant_conv.bias": (100_000,)})
    assert mark_of(file, read_text(file)) == ()
    file = write(tmp_path / "b.safetensors", {"quant_conv.bias": (2, 2)})
    assert mark_of(file, read_text(file)) == ()
