"""LoRAs are in the weights while they are wanted, and leave no trace."""

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import accelerate
import pytest
import torch
from diffusers.hooks import apply_group_offloading

from generation.runtime import lora_file, merging
from generation.runtime.lora_deltas import LowRank
from generation.runtime.lora_file import LoraFile
from generation.runtime.lora_file import NamedTensors as Tensors
from generation.runtime.merging import Merger
from tests.fixtures import loras
from tests.fixtures.loras import Networks


@pytest.fixture
def networks() -> Networks:
    return loras.sd1()


def test_the_denoiser_and_the_text_encoders_have_strengths_of_their_own(
    tmp_path: Path, networks: Networks
) -> None:
    before = loras.weights_of(networks)
    a, pairs = loras.lora_for(tmp_path, networks)
    merger = Merger()
    for denoiser, text in ((0.3, -0.8), (-1.5, 1.0), (2.0, 0.0), (0.0, 1.0), (1.0, 1.0)):
        merger.apply(networks, [loras.use(a.path, denoiser, text)])
        wanted = loras.expected(before, pairs, {"unet": denoiser, "text_encoder": text})
        assert loras.has(networks, wanted)


def test_one_after_the_other_is_to_the_last_bit_what_each_is_alone(
    tmp_path: Path, networks: Networks
) -> None:
    a, _ = loras.lora_for(tmp_path, networks, "a", 1)
    b, _ = loras.lora_for(tmp_path, networks, "b", 2)
    before = loras.weights_of(networks)
    merger = Merger()
    each = {"a": a, "b": b, "-": loras.use(a.path, -1.0)}
    seen: dict[str, Tensors] = {}
    for job in ("a", "b", "", "a", "ab", "b", "", "ba", "a", "-", "ab", ""):
        merger.apply(networks, [each[letter] for letter in job])
        weights = loras.weights_of(networks)
        # the order does not matter
        assert loras.equal(seen.setdefault("".join(sorted(job)), weights), weights)
    assert loras.equal(seen[""], before)
    assert len(seen) == 5
    for one in seen:
        assert all(one == other or not loras.equal(seen[one], seen[other]) for other in seen)


def test_strength_zero_is_the_original(tmp_path: Path, networks: Networks) -> None:
    before = loras.weights_of(networks)
    a, _ = loras.lora_for(tmp_path, networks)
    merger = Merger()
    (report,) = merger.apply(networks, [loras.use(a.path, 0.0)])
    assert report.applied == report.layers > 40
    assert loras.equal(loras.weights_of(networks), before)
    merger.apply(networks, [a])
    merger.apply(networks, [loras.use(a.path, 0.0)])
    assert loras.equal(loras.weights_of(networks), before)
    # and what cancels out
    merger.apply(networks, [a, loras.use(a.path, -1.0)])
    assert loras.equal(loras.weights_of(networks), before)


def test_the_same_lora_twice_is_once_with_both_strengths(
    tmp_path: Path, networks: Networks
) -> None:
    a, _ = loras.lora_for(tmp_path, networks)
    merger = Merger()
    merger.apply(networks, [a])
    once = loras.weights_of(networks)
    reports = merger.apply(networks, [loras.use(a.path, 0.75), loras.use(a.path, 0.25)])
    assert len(reports) == 2
    assert loras.equal(loras.weights_of(networks), once)


def test_several_add_up_even_where_they_read_the_weights(
    tmp_path: Path, networks: Networks
) -> None:
    """Each is computed from the original, so that no order is the right one."""
    name = "mid_block.attentions.0.proj_in"
    weight = networks["unet"].get_submodule(name).get_parameter("weight")
    files = []
    for number, end in enumerate(("dora_scale", "w", "lora_up.weight")):
        tensors = loras.kohya(loras.pairs({name: weight}, number))
        flat = f"lora_unet_{name.replace('.', '_')}"
        if end == "dora_scale":
            tensors[f"{flat}.dora_scale"] = torch.rand(1, 64)
        if end == "w":
            tensors = {f"{flat}.weight": torch.randn(64), f"{flat}.on_input": torch.tensor(1)}
        files.append(loras.use(loras.save(tensors, tmp_path / f"{end}.safetensors"), 0.5))
    before = weight.detach().clone()
    alone = []
    for each in files:
        Merger().apply(networks, [each])
        alone.append(weight.detach() - before)
        weight.data.copy_(before)
    Merger().apply(networks, files)
    torch.testing.assert_close(weight.detach(), before + sum(alone), rtol=1e-4, atol=1e-5)


def test_the_same_set_again_touches_nothing(
    tmp_path: Path, networks: Networks, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, _ = loras.lora_for(tmp_path, networks, "a", 1)
    unet = loras.pairs(loras.layers(networks["unet"], ("to_q",)), 2)
    b = loras.use(loras.save(loras.kohya(unet), tmp_path / "b.safetensors"))
    read: list[str] = []

    def counting(path: Path, name: str) -> LoraFile:
        read.append(name)
        return original(path, name)

    original = lora_file.read
    monkeypatch.setattr(lora_file, "read", counting)
    merger = Merger()
    first = merger.apply(networks, [a])
    versions = versions_of(networks)
    assert merger.apply(networks, [a]) == first
    assert versions_of(networks) == versions
    # of another set only the layers that change are written
    merger.apply(networks, [a, b])
    written = {name for name, version in versions_of(networks).items() if versions[name] != version}
    assert written == {f"unet.{name}.weight" for name in unet}
    assert read == ["a", "b"]
    # nor does the order matter
    versions = versions_of(networks)
    assert [report.name for report in merger.apply(networks, [b, a])] == ["b", "a"]
    assert versions_of(networks) == versions
    assert read == ["a", "b"]


def test_a_large_file_does_not_stay_in_memory(
    tmp_path: Path, networks: Networks, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, _ = loras.lora_for(tmp_path, networks, "a", 1)
    b, _ = loras.lora_for(tmp_path, networks, "b", 2)
    weights = []
    for most in (0, merging.FILE_MAX):
        monkeypatch.setattr(merging, "FILE_MAX", most)
        merger = Merger()
        merger.apply(networks, [a])
        assert bool(merger._files) == bool(most)
        merger.apply(networks, [a, b])
        weights.append(loras.weights_of(networks))
        merger.free()
    assert loras.equal(*weights)


def versions_of(networks: Networks) -> dict[str, int]:
    """How often each parameter was written."""
    return {
        f"{network}.{name}": parameter._version
        for network, module in networks.items()
        for name, parameter in module.named_parameters()
    }


def test_a_file_that_was_replaced_is_read_anew(tmp_path: Path, networks: Networks) -> None:
    a, _ = loras.lora_for(tmp_path, networks, "a", 1)
    b, _ = loras.lora_for(tmp_path, networks, "b", 2)
    merger = Merger()
    merger.apply(networks, [b])
    wanted = loras.weights_of(networks)
    merger.apply(networks, [a])
    b.path.replace(a.path)
    merger.apply(networks, [a])
    assert loras.equal(loras.weights_of(networks), wanted)


def test_one_set_in_two_models(tmp_path: Path) -> None:
    one, other = loras.sd1(0), loras.sd1(7)
    a, pairs = loras.lora_for(tmp_path, one)
    before = loras.weights_of(one), loras.weights_of(other)
    merger = Merger()
    merger.apply(one, [a])
    merger.apply(other, [a])
    for networks, was in zip((one, other), before, strict=True):
        wanted = loras.expected(was, pairs, dict.fromkeys(networks, 1.0))
        assert loras.has(networks, wanted)
    merger.apply(other, [])
    assert loras.equal(loras.weights_of(other), before[1])
    merger.free()
    assert loras.equal(loras.weights_of(one), before[0])
    assert merger.kept_bytes == 0


def test_what_is_merged_can_be_told_apart(tmp_path: Path, networks: Networks) -> None:
    """Prompts that were encoded with one set are no use to another."""
    a, _ = loras.lora_for(tmp_path, networks, "a", 1)
    merger, encoder = Merger(), networks["text_encoder"]
    plain = merger.merged(encoder)
    merger.apply(networks, [loras.use(a.path, 1.0, 0.0)])
    assert merger.merged(encoder) == plain == frozenset()
    assert merger.merged(networks["unet"])
    merger.apply(networks, [a])
    full = merger.merged(encoder)
    merger.apply(networks, [loras.use(a.path, 1.0, 0.5)])
    assert len({plain, full, merger.merged(encoder)}) == 3


def test_originals_are_forgotten_after_some_jobs_without_a_lora(
    tmp_path: Path, networks: Networks
) -> None:
    a, pairs = loras.lora_for(tmp_path, networks)
    before = loras.weights_of(networks)
    size = sum(before[f"{net}.{name}.weight"].nbytes for net in pairs for name in pairs[net])
    merger = Merger(kept_for=3)
    for _ in range(2):
        merger.apply(networks, [a])
        assert merger.kept_bytes == size
        kept = []
        for _ in range(4):
            merger.apply(networks, [])
            kept.append(merger.kept_bytes)
        assert kept == [size, size, 0, 0]
        assert loras.equal(loras.weights_of(networks), before)
    merger.apply(networks, [a])
    for _ in range(10):
        merger.apply(networks, [a])
    assert merger.kept_bytes == size


def test_a_network_takes_its_originals_with_it(tmp_path: Path) -> None:
    networks = loras.sd1()
    a, _ = loras.lora_for(tmp_path, networks)
    merger = Merger()
    merger.apply(networks, [a])
    assert merger.kept_bytes
    networks.clear()
    gc.collect()
    assert merger.kept_bytes == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_precisions_are_summed_in_float32_and_cast_once(
    tmp_path: Path, networks: Networks, dtype: torch.dtype
) -> None:
    a, pairs = loras.lora_for(tmp_path, networks, "a", 1)
    b, more = loras.lora_for(tmp_path, networks, "b", 2)
    for network in networks.values():
        network.to(dtype)
    before = loras.weights_of(networks)
    merger = Merger()
    merger.apply(networks, [a, b])
    weights = loras.weights_of(networks)
    wide = {name: weight.float() for name, weight in before.items()}
    wanted = loras.expected(wide, pairs, dict.fromkeys(networks, 1.0))
    wanted = loras.expected(wanted, more, dict.fromkeys(networks, 1.0))
    exact = 0
    for name, weight in weights.items():
        assert weight.dtype == dtype
        torch.testing.assert_close(weight.float(), wanted[name].to(dtype).float())
        exact += int(torch.equal(weight, wanted[name].to(dtype)))
    assert exact > len(weights) // 2
    merger.apply(networks, [])
    assert loras.equal(loras.weights_of(networks), before)


def test_channels_last(tmp_path: Path, networks: Networks) -> None:
    a, pairs = loras.lora_for(tmp_path, networks)
    before = loras.weights_of(networks)
    networks["unet"].to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    merger = Merger()
    merger.apply(networks, [a])
    assert loras.has(networks, loras.expected(before, pairs, dict.fromkeys(networks, 1.0)))
    conv = networks["unet"].get_parameter("mid_block.resnets.0.conv1.weight")
    assert conv.is_contiguous(memory_format=torch.channels_last)
    merger.apply(networks, [])
    assert loras.equal(loras.weights_of(networks), before)


def answer(networks: Networks) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn((1, 4, 16, 16), generator=generator)
    words = torch.randn((1, 5, 32), generator=generator)
    with torch.no_grad():
        found: torch.Tensor = networks["unet"](latents, 500, encoder_hidden_states=words).sample
    return found


def sequentially(unet: torch.nn.Module) -> None:
    accelerate.cpu_offload(unet, torch.device("cpu"))


def in_groups(unet: torch.nn.Module) -> None:
    cpu = torch.device("cpu")
    apply_group_offloading(unet, cpu, cpu, offload_type="leaf_level")


@pytest.mark.parametrize("offload", [sequentially, in_groups])
def test_offloaded_weights(
    tmp_path: Path, networks: Networks, offload: Callable[[torch.nn.Module], None]
) -> None:
    a, _ = loras.lora_for(tmp_path, networks)
    plain = answer(networks)
    merger = Merger()
    merger.apply(networks, [a])
    merged = answer(networks)
    assert not torch.equal(plain, merged)
    merger.free()
    offload(networks["unet"])
    torch.testing.assert_close(answer(networks), plain)
    for _ in range(2):
        merger.apply(networks, [a])
        for _ in range(2):
            torch.testing.assert_close(answer(networks), merged)
        merger.apply(networks, [])
        assert torch.equal(answer(networks), plain)


def test_weights_that_are_nowhere_are_no_matter_of_the_lora(tmp_path: Path) -> None:
    a, _ = loras.lora_for(tmp_path, loras.sd1())
    with torch.device("meta"):
        networks = loras.sd1()
    with pytest.raises(RuntimeError, match="not in memory"):
        Merger().apply(networks, [a])


def test_a_compiled_network_is_the_one_that_was_compiled(
    tmp_path: Path, networks: Networks
) -> None:
    a, pairs = loras.lora_for(tmp_path, networks)
    before = loras.weights_of(networks)
    compiled: Any = torch.compile(networks["unet"], backend="eager")
    merger = Merger()
    merger.apply(networks | {"unet": compiled}, [a])
    assert loras.has(networks, loras.expected(before, pairs, dict.fromkeys(networks, 1.0)))
    assert merger.merged(compiled) == merger.merged(networks["unet"]) != frozenset()
    merger.apply(networks, [])
    assert loras.equal(loras.weights_of(networks), before)


def test_biases_and_norms_go_back_too(tmp_path: Path, networks: Networks) -> None:
    before = loras.weights_of(networks)
    linear, norm = "lora_unet_mid_block_attentions_0_proj_in", "lora_unet_mid_block_resnets_0_norm1"
    tensors = {
        f"{linear}.diff_b": torch.randn(64),
        f"{norm}.w_norm": torch.randn(64),
        f"{norm}.b_norm": torch.randn(64),
        # a layer that has no bias takes none
        "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q.diff": torch.zeros(
            64, 64
        ),
    }
    file = loras.save(tensors, tmp_path / "bias.safetensors")
    merger = Merger()
    (report,) = merger.apply(networks, [loras.use(file, 0.5)])
    assert report.unused == ()
    weights = loras.weights_of(networks)
    for name, tensor in (
        ("mid_block.attentions.0.proj_in.bias", tensors[f"{linear}.diff_b"]),
        ("mid_block.resnets.0.norm1.weight", tensors[f"{norm}.w_norm"]),
        ("mid_block.resnets.0.norm1.bias", tensors[f"{norm}.b_norm"]),
    ):
        torch.testing.assert_close(weights[f"unet.{name}"], before[f"unet.{name}"] + tensor / 2)
    merger.apply(networks, [])
    assert loras.equal(loras.weights_of(networks), before)


@pytest.mark.parametrize("fails_at", [0, 1, 30])
def test_what_fails_on_the_way_is_taken_back(
    tmp_path: Path, networks: Networks, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    a, _ = loras.lora_for(tmp_path, networks, "a", 1)
    b, _ = loras.lora_for(tmp_path, networks, "b", 2)
    before = loras.weights_of(networks)
    merger = Merger()
    merger.apply(networks, [a])
    whole, calls = LowRank.add_to, 0

    def failing(self: LowRank, total: torch.Tensor, *others: Any) -> None:
        nonlocal calls
        if calls == fails_at:
            total.fill_(7.0)
            raise torch.OutOfMemoryError("no more")
        calls += 1
        whole(self, total, *others)

    with monkeypatch.context() as patched:
        patched.setattr(LowRank, "add_to", failing)
        with pytest.raises(torch.OutOfMemoryError):
            merger.apply(networks, [b])
    assert loras.equal(loras.weights_of(networks), before)
    merger.apply(networks, [b])
    assert not loras.equal(loras.weights_of(networks), before)
    merger.apply(networks, [])
    assert loras.equal(loras.weights_of(networks), before)
