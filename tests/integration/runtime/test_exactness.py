"""The engine beside A1111's recipe, on tiny models: what needs nothing that is fetched.

All samplers, true widths and ComfyUI are measured by `benchmarks.exactness`; docs/exactness.md.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import exactness
from benchmarks.exactness_a1111 import Webui
from benchmarks.exactness_engine import Engine
from benchmarks.exactness_models import make_models

pytestmark = pytest.mark.slow

STEPS = 5
SAMPLERS = ("LCM", "DDIM", "DDIM CFG++", "PLMS")
CASES = re.compile(", (text|image)$|weights|BREAK|^prompt schedule( of|$)|negative|clip")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Threads of networks this small wait for each other."""
    usual = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(usual)


@pytest.fixture(scope="module", params=["tiny", "tiny-xl"])
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Engine, Webui, Path]:
    folder = tmp_path_factory.mktemp(request.param)
    make_models(request.param, folder)
    engine = Engine(folder, 64, STEPS)
    return engine, Webui(folder / "models" / "model", None), folder


def test_pictures_are_those_of_a1111s_recipe(
    both: tuple[Engine, Webui, Path],
) -> None:
    engine, webui, folder = both
    apart: dict[str, float] = {}
    for case in exactness.cases(engine, STEPS, SAMPLERS, comfyui=False):
        if not CASES.search(case.name):
            continue
        changes: dict[str, Any] = case.changes
        if changes.get("sampler") not in SAMPLERS:
            changes = {**changes, "sampler": "DDIM", "steps": STEPS}
        ours = engine.draw(engine.request(changes))[0]
        told = case._replace(changes=changes)
        theirs = exactness.as_a1111(webui, engine.request, engine.image, folder, told)
        apart[case.name] = float(np.abs(theirs.astype(int) - ours).mean())
    assert max(apart.values()) <= 0.1, {name: mean for name, mean in apart.items() if mean > 0.1}
