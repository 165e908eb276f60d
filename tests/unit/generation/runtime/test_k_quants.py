"""Pictures of a Flux.1 whose rows are long enough for GGUF's K-quants."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from generation.runtime import checkpoints
from generation.runtime.quantised import unpacked_bytes
from tests.fixtures import flux, quantised
from tests.unit.generation.runtime.test_quantised_flux import Parts
from tests.unit.generation.runtime.test_quantised_pictures import Pixels, apart, listed

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),
]
FORMATS = {"Q2_K": 22.0, "Q3_K": 14.0, "Q4_K": 5.5, "Q5_K": 2.6, "Q6_K": 1.3}
"""How far a picture may be from the whole model's, of 255."""


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    """Eight heads of 32, so that each matrix of its blocks has rows of some times 256."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flux, "HEADS", 8)
        made = Parts(tmp_path_factory.mktemp("wide"))
        patch.setattr(checkpoints, "CONFIGS", made.configs)
        yield made


@pytest.fixture(scope="module")
def whole(parts: Parts) -> Pixels:
    """The picture of the model that is not quantised."""
    return parts.drawn(parts.model())


@pytest.mark.parametrize(("kind", "bound"), FORMATS.items())
def test_a_k_quant_draws_nearly_the_same(
    kind: str, bound: float, parts: Parts, whole: Pixels, tmp_path: Path
) -> None:
    file = quantised.gguf_of(parts.file, tmp_path / "model.gguf", kind, "flux")
    assert listed(file).quantisation == kind
    model = parts.model(file)
    found = parts.drawn(model)
    assert 0 < apart(found, whole) < bound
    denoiser = parts.benches["keep"].server._parts.checkpoint(model).denoiser
    packings = {layer.packing.name for layer in denoiser.modules() if hasattr(layer, "packing")}
    assert packings == {kind}
    assert unpacked_bytes(denoiser) > 0
