"""Weights of 8 bits and fewer, told by headers: which are read, and what is said of the others."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bot.locales import Texts
from generation.bitsandbytes_layout import as_whole, states
from generation.model_folders import Candidate
from generation.model_reader import ModelReader, Reading
from generation.safetensors_header import decode, read_text
from tests.fixtures import quantised
from tests.fixtures.headers import KnownHeader
from tests.unit.generation.test_catalog import SD1

LAYER = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k"
WEIGHT = f"{LAYER}.weight"
OTHER = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_v"
WORDS = "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"
Tensor = tuple[str, tuple[int, ...]]
FP8: Tensor = ("F8_E4M3", (320, 768))
ONE: Tensor = ("F32", ())
MARK: Tensor = ("F8_E4M3", (2,))
NEW_MARK = f"{LAYER}.comfy_quant"
STATE = f"{WEIGHT}.quant_state.bitsandbytes__nf4"


def read(folder: Path, tensors: dict[str, Tensor], **metadata: str) -> Reading:
    """What is made of an SD1 checkpoint with these tensors in it."""
    plain = {name: ("F16", shape) for name, shape in SD1.items()}
    header = KnownHeader("", "", "", "", "", plain | tensors, metadata)
    file = header.write(folder / "file.safetensors")
    return ModelReader().read(Candidate(file, folder, ""))


@pytest.mark.parametrize(
    ("tensors", "name"),
    [
        ({}, ""),
        ({WEIGHT: FP8}, "fp8"),
        ({WEIGHT: ("F8_E5M2", (320, 768))}, "fp8"),
        ({WEIGHT: FP8, f"{LAYER}.scale_weight": ONE}, "scaled fp8"),
        (
            {WEIGHT: FP8, f"{LAYER}.scale_weight": ONE, "scaled_fp8": MARK},
            "scaled fp8",
        ),
        (
            {WEIGHT: FP8, f"{LAYER}.weight_scale": ONE, NEW_MARK: ("U8", (27,))},
            "scaled fp8",
        ),
        # of rows and of blocks
        ({WEIGHT: FP8, f"{LAYER}.weight_scale": ("F32", (320,))}, "scaled fp8"),
        ({WEIGHT: FP8, f"{LAYER}.weight_scale": ("F32", (320, 1))}, "scaled fp8"),
        ({WEIGHT: FP8, f"{LAYER}.weight_scale": ("F32", (3, 6))}, "scaled fp8"),
        ({WEIGHT: FP8, f"{LAYER}.scale_weight": ("F32", (320, 12, 1))}, "scaled fp8"),
        # the older layout has none for the words, and leaves some layers whole
        (
            {
                WEIGHT: FP8,
                f"{LAYER}.scale_weight": ONE,
                OTHER + ".weight": ("F16", (320, 768)),
                "scaled_fp8": MARK,
                WORDS: ("F8_E4M3", (49408, 768)),
            },
            "scaled fp8",
        ),
        # a mark of one part says nothing of the others
        ({WEIGHT: FP8, "text_encoders.t5xxl.transformer.scaled_fp8": ("F8_E4M3", (0,))}, "fp8"),
    ],
)
def test_weights_that_are_read(tmp_path: Path, tensors: dict[str, Tensor], name: str) -> None:
    found = read(tmp_path, tensors)
    assert found.model is not None, found.problem
    assert found.model.quantisation == name


@pytest.mark.parametrize(
    ("tensors", "metadata", "said"),
    [
        ({WEIGHT: FP8, "scaled_fp8": MARK}, "", "the scales of model.diffusion_model"),
        (
            {
                WEIGHT: FP8,
                f"{OTHER}.weight": FP8,
                f"{LAYER}.scale_weight": ONE,
                "model.diffusion_model.scaled_fp8": MARK,
            },
            "",
            "to_v are not in it",
        ),
        (
            {WEIGHT: FP8, NEW_MARK: ("U8", (27,))},
            "",
            f"the scales of {LAYER} are not in it",
        ),
        (
            {WEIGHT: FP8},
            f'{{"format_version": "1.0", "layers": {{"{LAYER}": {{"format": "float8_e4m3fn"}}}}}}',
            f"the scales of {LAYER} are not in it",
        ),
        ({WEIGHT: FP8, f"{LAYER}.weight_scale": ("F32", (0,))}, "", "do not fit"),
        ({WEIGHT: FP8, f"{LAYER}.weight_scale": ("F32", (640,))}, "", "do not fit"),
        ({WEIGHT: FP8, f"{LAYER}.weight_scale": ("F32", (4, 4, 4))}, "", "do not fit"),
        (
            {
                WEIGHT: ("U8", (320, 384)),
                f"{LAYER}.weight_scale": ("F8_E4M3", (384, 48)),
                f"{LAYER}.weight_scale_2": ONE,
                NEW_MARK: ("U8", (19,)),
            },
            "",
            "NVFP4",
        ),
        (
            {WEIGHT: FP8, f"{LAYER}.weight_scale": ("U8", (384, 24))},
            "",
            "MXFP8",
        ),
        (
            {WEIGHT: ("I8", (320, 768)), f"{LAYER}.weight_scale": ONE},
            "",
            "whole numbers",
        ),
        (
            {
                WEIGHT: ("U8", (122880, 1)),
                f"{WEIGHT}.absmax": ("F32", (3840,)),
                f"{WEIGHT}.quant_map": ("F32", (16,)),
            },
            "",
            "a layout of bitsandbytes",
        ),
    ],
)
def test_weights_that_are_not_read(
    tmp_path: Path, tensors: dict[str, Tensor], metadata: str, said: str
) -> None:
    found = read(tmp_path, tensors, **({"_quantization_metadata": metadata} if metadata else {}))
    assert found.model is None
    assert found.problem is not None
    told = Texts("en-US")(found.problem.code, **found.problem.params)
    assert said in told
    assert "\n" not in told


def said_otherwise(tensors: dict[str, torch.Tensor], old: bytes, new: bytes) -> None:
    """Write something else into what is said of the weight."""
    said = bytes(tensors[STATE].tolist()).replace(old, new)
    tensors[STATE] = torch.tensor(list(said), dtype=torch.uint8)


def four_bits(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> Reading:
    """What is made of an SD1 checkpoint with a weight of bitsandbytes', after that change."""
    beside = quantised.bitsandbytes(WEIGHT, torch.randn(320, 768))
    change(beside)
    plain = {name: ("F16", shape) for name, shape in SD1.items() if name != WEIGHT}
    own = {
        name: ("U8" if tensor.dtype == torch.uint8 else "F32", tuple(tensor.shape))
        for name, tensor in beside.items()
    }
    file = folder / "file.safetensors"
    KnownHeader("", "", "", "", "", own | plain).write(file)
    size = sum(tensor.nbytes for tensor in beside.values())
    content = file.read_bytes()
    begin = 8 + int.from_bytes(content[:8], "little")
    with file.open("r+b") as opened:
        opened.seek(begin)
        opened.write(b"".join(tensor.numpy().tobytes() for tensor in beside.values()))
        assert opened.tell() == begin + size
    return ModelReader().read(Candidate(file, folder, ""))


def test_weights_of_bitsandbytes_have_the_shape_that_is_said_of_them(tmp_path: Path) -> None:
    found = four_bits(tmp_path, lambda tensors: None)
    assert found.problem is None
    assert found.model is not None
    assert (found.model.quantisation, found.model.family) == ("NF4", "sd1")
    file = tmp_path / "file.safetensors"
    text = read_text(file)
    tensors = decode(text.tensors)
    shapes, kinds = as_whole(tensors.shapes, tensors.kinds, states(file, text))
    assert shapes == {name: tuple(shape) for name, shape in {**SD1, WEIGHT: (320, 768)}.items()}
    assert {name for name, kind in kinds.items() if kind != "F16"} == {WEIGHT}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.pop(f"{WEIGHT}.absmax"), "the scales of"),
        (lambda t: t.pop(f"{WEIGHT}.nested_absmax"), "the scales of"),
        (lambda t: t.update({f"{WEIGHT}.absmax": torch.zeros(7, dtype=torch.uint8)}), "scales of"),
        (lambda t: t.update({WEIGHT: torch.zeros((9, 1), dtype=torch.uint8)}), "another size"),
        (lambda t: t.pop(WEIGHT), "another size"),
        (lambda t: t[STATE].fill_(0), "can't be read"),
        (lambda t: t.update({STATE: t[STATE][1:]}), "can't be read"),
        (lambda t: said_otherwise(t, b'"nf4"', b'"af4"'), "can't be read"),
        (lambda t: said_otherwise(t, b"320", b"-32"), "can't be read"),
        (lambda t: said_otherwise(t, b"320", b"321"), "another size"),
    ],
)
def test_weights_of_bitsandbytes_that_are_not_whole(
    tmp_path: Path, change: Callable[[Any], object], said: str
) -> None:
    found = four_bits(tmp_path, change)
    assert found.model is None
    assert found.problem is not None
    told = Texts("en-US")(found.problem.code, **found.problem.params)
    assert said in told


@pytest.mark.parametrize("text", ["", "[", "[1]", "{}", '{"layers": 3}', "{" * 9000, "null"])
def test_metadata_of_another_make_are_passed_over(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, {WEIGHT: FP8}, _quantization_metadata=text).model is not None
