"""Whether memory allows a model with its parts."""

from pathlib import Path
from types import SimpleNamespace

import msgspec
import psutil
import pytest

from generation.memory_outlook import Outlook
from generation.memory_plan import GIB
from generation.messages import Memory, Ready, RuntimeSettings
from generation.models import ModelKind
from tests.unit.generation.catalogs import a_model

PARTS = {"clip_l": 0.23, "vae": 0.16}


@pytest.mark.parametrize(
    ("device", "ram", "memory", "flux", "t5", "allowed"),
    [
        (8, 60, "auto", 11.1, 9.1, False),
        (8, 60, "auto", 11.1, 4.6, True),
        (24, 60, "auto", 22.2, 9.1, True),
        (12, 60, "auto", 11.1, 9.1, True),
        # the denoiser would have to be streamed by layers to leave it the card
        (12, 29, "auto", 22.2, 9.1, False),
        (12, 29, "auto", 22.2, 4.6, True),
        # it would have to be read anew from disk
        (12, 8, "auto", 6.0, 9.1, False),
        # nothing waits in main memory
        (24, 4, "auto", 11.1, 9.1, True),
        (24, 60, "high", 22.2, 4.6, False),
        (24, 60, "high", 11.1, 9.1, True),
        (24, 60, "medium", 22.2, 9.1, True),
        (24, 4, "medium", 11.1, 9.1, False),
        (0, 24, "auto", 11.1, 9.1, True),
        (0, 18, "auto", 11.1, 9.1, False),
    ],
)
def test_text_encoders_may_be_as_precise_as_this(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    device: float,
    ram: float,
    memory: Memory,
    flux: float,
    t5: float,
    allowed: bool,
) -> None:
    """On a card of so many GiB, or without one in main memory."""
    there = SimpleNamespace(available=int((ram + 1) * GIB), total=int((ram + 1) * GIB))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: there)
    ready = Ready(
        device="cuda:0" if device else "cpu",
        device_name="a card",
        memory_total=int(device * GIB),
        precision="bfloat16",
        versions={},
        memory_free=int(device * GIB),
    )
    sizes = {**PARTS, "t5xxl": t5}
    parts = {
        name: a_model(name, kind=ModelKind.TEXT_ENCODER, family=name, size=int(size * GIB))
        for name, size in sizes.items()
    }
    model = msgspec.structs.replace(
        a_model("flux", family="flux", size=int(flux * GIB)), parts=parts
    )
    allows = Outlook(RuntimeSettings(memory=memory), ready, tmp_path).allows()
    assert allows(model) is allowed
