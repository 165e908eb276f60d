"""How a UNet is called with what steers it: the same as its networks called by hand."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import ControlNetModel, ControlNetUnionModel, T2IAdapter, UNet2DConditionModel

from generation.runtime.networks.control import Control
from generation.runtime.networks.unet import UNet
from generation.runtime.tiling import Tile
from tests.fixtures import sdxl

WHOLE = Tile(0, 0, 64, 64)


class Networks:
    """A tiny XL's UNet, a ControlNet and a union for it, and one call of them."""

    def __init__(self, root: Path) -> None:
        base = sdxl.tiny_sdxl(root / "base")
        self.unet: Any = UNet2DConditionModel.from_pretrained(base / "unet")
        net = sdxl.tiny_xl_controlnet(root / "net", base)
        self.net: Any = ControlNetModel.from_pretrained(net)
        union = sdxl.tiny_controlnet_union(root / "union", base)
        self.union: Any = ControlNetUnionModel.from_pretrained(union)
        generator = torch.Generator("cpu").manual_seed(0)

        def drawn(*shape: int) -> torch.Tensor:
            return torch.randn(shape, generator=generator)

        self.latents, self.cross = drawn(2, 4, 8, 8), drawn(2, 7, sdxl.CONTEXT)
        self.pooled, self.sizes = drawn(2, sdxl.WIDTH_2), torch.full((2, 6), 64.0)
        self.hints = [drawn(1, 3, 64, 64).sigmoid() for _ in range(2)]
        self.timestep = torch.tensor(500.0)
        self.told = {
            "encoder_hidden_states": self.cross,
            "added_cond_kwargs": {"text_embeds": self.pooled, "time_ids": self.sizes},
        }

    def predicted(self, *controls: Control, done: float = 0.0) -> torch.Tensor:
        network = UNet(self.unet, controls)
        network.done = done
        with torch.no_grad():
            return network.predict(
                self.latents, self.timestep, self.cross, self.pooled, self.sizes, None, WHOLE
            )

    def by_hand(self, *steered: Any) -> torch.Tensor:
        """The UNet with what its ControlNets answered, added up."""
        down = [sum(each) for each in zip(*(one[0] for one in steered), strict=True)]
        middle = sum(one[1] for one in steered)
        with torch.no_grad():
            answer: torch.Tensor = self.unet(
                self.latents,
                self.timestep,
                down_block_additional_residuals=down if steered else None,
                mid_block_additional_residual=middle if steered else None,
                **self.told,
            ).sample
        return answer

    def steered_by_union(self, hint: int, kind: int, scale: float) -> Any:
        one_hot = torch.eye(6)[kind]
        with torch.no_grad():
            return self.union(
                self.latents,
                self.timestep,
                controlnet_cond=[self.hints[hint].expand(2, -1, -1, -1)],
                control_type=torch.stack((one_hot, one_hot)),
                control_type_idx=[kind],
                conditioning_scale=scale,
                return_dict=False,
                **self.told,
            )

    def steered_by_net(self, hint: int, scale: float) -> Any:
        with torch.no_grad():
            return self.net(
                self.latents,
                self.timestep,
                controlnet_cond=self.hints[hint].expand(2, -1, -1, -1),
                conditioning_scale=scale,
                return_dict=False,
                **self.told,
            )


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Networks]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Networks(tmp_path_factory.mktemp("networks"))
    torch.set_num_threads(before)


@pytest.mark.parametrize("kind", [1, 5])
def test_a_union_is_told_its_kind(networks: Networks, kind: int) -> None:
    found = networks.predicted(Control(networks.union, networks.hints[0], 0.8, kind))
    wanted = networks.by_hand(networks.steered_by_union(0, kind, 0.8))
    assert (found - wanted).abs().max() < 1e-5
    other = networks.by_hand(networks.steered_by_union(0, (kind + 1) % 6, 0.8))
    assert (found - other).abs().max() > 1e-3


def test_of_several_each_has_its_own_picture_kind_and_scale(networks: Networks) -> None:
    found = networks.predicted(
        Control(networks.union, networks.hints[0], 0.8, 1),
        Control(networks.net, networks.hints[1], 0.3),
        Control(networks.union, networks.hints[1], 0.5, 4),
    )
    wanted = networks.by_hand(
        networks.steered_by_union(0, 1, 0.8),
        networks.steered_by_net(1, 0.3),
        networks.steered_by_union(1, 4, 0.5),
    )
    assert (found - wanted).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("done", "acting"), [(0.0, "b"), (0.1, "b"), (0.25, "ab"), (0.45, "ab"), (0.5, "a"), (0.9, "a")]
)
def test_they_act_over_their_part_of_the_steps(
    networks: Networks, done: float, acting: str
) -> None:
    controls = {
        "a": Control(networks.union, networks.hints[0], 0.8, 1, start=0.25),
        "b": Control(networks.net, networks.hints[1], 0.3, end=0.5),
    }
    found = networks.predicted(*controls.values(), done=done)
    wanted = networks.predicted(*(controls[name]._replace(start=0, end=1) for name in acting))
    assert torch.equal(found, wanted)
    assert not torch.equal(found, networks.predicted())


def test_adapters_do_too(tmp_path: Path, networks: Networks) -> None:
    adapter = T2IAdapter.from_pretrained(sdxl.tiny_t2i_adapter(tmp_path / "adapter"))
    always = Control(adapter, networks.hints[0], 1.0)
    late = always._replace(start=0.5)
    network = UNet(networks.unet, [late])
    answers = []
    for done in (0.0, 0.5, 0.0):
        network.done = done
        with torch.no_grad():
            answers.append(
                network.predict(
                    networks.latents,
                    networks.timestep,
                    networks.cross,
                    networks.pooled,
                    networks.sizes,
                    None,
                    WHOLE,
                )
            )
    assert torch.equal(answers[0], networks.predicted())
    assert torch.equal(answers[1], networks.predicted(always))
    assert torch.equal(answers[2], answers[0])


@pytest.mark.parametrize("mode", ["prompt", "control"])
def test_a_mode_is_a1111s_soft_injection(networks: Networks, mode: Any) -> None:
    """Each answer is weaker by 0.825 than that of the next layer; where the control picture is more
    important, what is not wanted sees none of it.
    """
    network = UNet(networks.unet, [Control(networks.net, networks.hints[0], 0.7, mode=mode)])
    network.unwanted = (False, True)
    with torch.no_grad():
        found = network.predict(
            networks.latents, networks.timestep, networks.cross, networks.pooled, networks.sizes,
            None, WHOLE,
        )  # fmt: skip
    down, middle = networks.steered_by_net(0, 0.7)
    answers = [*down, middle]
    kept = torch.tensor([1.0, 0.0 if mode == "control" else 1.0]).view(2, 1, 1, 1)
    softened = [answer * kept * 0.825 ** (12 - i) for i, answer in enumerate(answers)]
    wanted = networks.by_hand((softened[:-1], softened[-1]))
    assert (found - wanted).abs().max() < 1e-5
    plain = networks.by_hand((down, middle))
    assert (found - plain).abs().max() > 1e-4


def test_what_is_soft_is_diffusers_guess_mode_where_there_are_thirteen_answers() -> None:
    """A ControlNet of Stable Diffusion 1 has twelve beside that in the middle; diffusers weakens
    them from a tenth to one in even steps.
    """
    control = Control(None, torch.zeros(1), 1.0, mode="prompt")
    assert control.weights(13) == pytest.approx(torch.logspace(-1, 0, 13).tolist(), rel=0.01)
    assert control.weights(10)[-1] == pytest.approx(0.825**3)
    assert control.weights(4, adapter=True) == [0.25, 0.62, 0.825, 1.0]
    assert control._replace(mode="balanced").weights(13) == [1.0] * 13


def test_without_what_is_not_wanted_it_acts_everywhere(networks: Networks) -> None:
    control = Control(networks.net, networks.hints[0], 0.7, mode="control")
    assert control.shown((False,), networks.latents) is None
    marks = control.shown((False, True), networks.latents.repeat(2, 1, 1, 1))
    assert marks is not None
    assert marks.flatten().tolist() == [1, 1, 0, 0]


def test_adapters_have_modes(tmp_path: Path, networks: Networks) -> None:
    adapter = T2IAdapter.from_pretrained(sdxl.tiny_t2i_adapter(tmp_path / "adapter"))
    answers = {}
    for mode in ("balanced", "prompt", "control"):
        control = Control(adapter, networks.hints[0], 1.0, mode=mode)
        network = UNet(networks.unet, [control])
        network.unwanted = (False, True)
        with torch.no_grad():
            answers[mode] = network.predict(
                networks.latents, networks.timestep, networks.cross, networks.pooled,
                networks.sizes, None, WHOLE,
            )  # fmt: skip
    plain = networks.predicted()
    assert torch.equal(answers["control"][1], plain[1])
    assert torch.equal(answers["control"][0], answers["prompt"][0])
    assert not torch.allclose(answers["prompt"], answers["balanced"])
