"""What made the numbers of a picture is told with it, and kept to when it is drawn again."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from generation.messages import Configure, Finished, Generate, Picture
from generation.models import ModelFile
from generation.numerics import Numerics
from generation.runtime.server import Server
from tests.fixtures.requests import a_request
from tests.unit.generation.runtime.ends import SETTINGS, Ends

pytestmark = pytest.mark.slow


@pytest.fixture
def ends() -> Ends:
    return Ends()


def a_server(ends: Ends, cache: Path, **settings: Any) -> Server:
    configure = Configure(msgspec.structs.replace(SETTINGS, **settings), cache)
    return Server(configure, ends, ends)  # type: ignore[arg-type]


def drawn(server: Server, ends: Ends, work: Generate) -> tuple[list[str], Numerics]:
    ends.sent.clear()
    server.run(work)
    (finished,) = ends.of(Finished)
    assert {picture.numerics for picture in ends.of(Picture)} == {finished.numerics}
    return [picture.pixels_sha256 for picture in ends.of(Picture)], finished.numerics


def again(work: Generate, numerics: Numerics) -> Generate:
    return msgspec.structs.replace(work, numerics=numerics)


def test_it_is_told(ends: Ends, tiny: ModelFile, tmp_path: Path) -> None:
    work = Generate("1", a_request(width=64, height=64, count=3), tiny)
    _, numerics = drawn(a_server(ends, tmp_path), ends, work)
    assert numerics.device
    assert msgspec.structs.replace(numerics, device="") == Numerics(
        batch_size=3, precision="float32", vae_precision="float32", threads=1
    )


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ({"batch_size": 4}, {"batch_size": 1}),
        ({"batch_size": 1}, {"batch_size": 4}),
        ({"batch_size": 3}, {"batch_size": 2}),
        ({"precision": "bfloat16"}, {"precision": "float32"}),
        ({"precision": "float32"}, {"precision": "bfloat16"}),
    ],
)
def test_under_other_settings_the_same_pixels(
    ends: Ends, tiny: ModelFile, tmp_path: Path, first: dict[str, Any], then: dict[str, Any]
) -> None:
    work = Generate("1", a_request(width=64, height=64, count=4, steps=6), tiny)
    before, numerics = drawn(a_server(ends, tmp_path, **first), ends, work)
    server = a_server(ends, tmp_path, **then)
    other, others = drawn(server, ends, work)
    assert drawn(server, ends, again(work, numerics)) == (before, numerics)
    # and what that took is nothing to whatever is drawn next
    assert drawn(server, ends, work) == (other, others)
    assert others != numerics


def overflowing(module: Any, _inputs: Any, outputs: Any) -> Any:
    is_decoder = type(module).__name__ == "Decoder"
    return outputs * torch.inf if is_decoder and outputs.dtype == torch.bfloat16 else outputs


def test_a_vae_that_has_overflowed_since_decodes_what_it_decoded_before(
    ends: Ends, tiny: ModelFile, tmp_path: Path
) -> None:
    server = a_server(ends, tmp_path, precision="bfloat16")
    work = Generate("1", a_request(width=64, height=64), tiny)
    before, numerics = drawn(server, ends, work)
    hook = torch.nn.modules.module.register_module_forward_hook(overflowing)
    try:
        wide, in_float32 = drawn(server, ends, work)
    finally:
        hook.remove()
    assert (numerics.vae_precision, in_float32.vae_precision) == ("bfloat16", "float32")
    assert drawn(server, ends, work) == (wide, in_float32)
    assert drawn(server, ends, again(work, numerics)) == (before, numerics)
    fresh = a_server(ends, tmp_path, precision="bfloat16")
    assert drawn(fresh, ends, again(work, in_float32)) == (wide, in_float32)


def test_a_vae_that_overflows_is_decoded_with_once_and_not_twice_in_the_next_job(
    ends: Ends, tiny: ModelFile, tmp_path: Path
) -> None:
    server = a_server(ends, tmp_path, precision="bfloat16")
    decoded: list[torch.dtype] = []

    def counting(module: Any, inputs: Any, outputs: Any) -> Any:
        if type(module).__name__ == "Decoder":
            decoded.append(outputs.dtype)
        return overflowing(module, inputs, outputs)

    hook = torch.nn.modules.module.register_module_forward_hook(counting)
    try:
        for seed in (1, 2):
            drawn(server, ends, Generate("1", a_request(width=64, height=64, seed=seed), tiny))
    finally:
        hook.remove()
    assert decoded == [torch.bfloat16, torch.float32, torch.float32]


def test_one_at_a_time_each_of_four_is_that_seed_alone(
    ends: Ends, tiny: ModelFile, tmp_path: Path
) -> None:
    server = a_server(ends, tmp_path, batch_size=1)
    asked = a_request(width=64, height=64, seed=7, sampler="Euler a", count=4)
    four, _ = drawn(server, ends, Generate("1", asked, tiny))
    alone = [
        drawn(server, ends, Generate("1", asked.with_(seed=seed, count=1), tiny))[0][0]
        for seed in range(7, 11)
    ]
    assert four == alone
    assert len(set(four)) == 4


def test_how_many_threads_there_were_is_told(ends: Ends, tiny: ModelFile, tmp_path: Path) -> None:
    work = Generate("1", a_request(width=64, height=64), tiny)
    found = []
    for threads in (2, 1):
        server = a_server(ends, tmp_path, cpu_threads=threads)
        found.append(drawn(server, ends, work)[1])
    assert [numerics.threads for numerics in found] == [2, 1]
    # what was drawn by two is drawn again by one, and says so
    assert drawn(server, ends, again(work, found[0]))[1] == found[1]


def without_end(module: Any, _inputs: Any, outputs: Any) -> Any:
    """A hook: the denoiser gives infinities in float16."""
    if type(module).__name__ != "UNet2DConditionModel" or outputs[0].dtype != torch.float16:
        return outputs
    return (outputs[0] * torch.inf,)


def test_a_denoiser_that_has_overflowed_since_draws_what_it_drew_before(
    ends: Ends, tiny: ModelFile, tmp_path: Path
) -> None:
    server = a_server(ends, tmp_path, precision="float16")
    work = Generate("1", a_request(width=64, height=64), tiny)
    before, numerics = drawn(server, ends, work)
    hook = torch.nn.modules.module.register_module_forward_hook(without_end)
    try:
        wide, in_float32 = drawn(server, ends, work)
    finally:
        hook.remove()
    assert (numerics.precision, in_float32.precision) == ("float16", "float32")
    assert drawn(server, ends, work) == (wide, in_float32)
    assert drawn(server, ends, again(work, numerics)) == (before, numerics)
