"""Files that were told wrongly once, by a few of their tensors, whatever they are called."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.generation.test_catalog import scan, write

ODD: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "data" / "odd_files.json").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("renamed", [False, True])
async def test_odd_files_are_told(name: str, renamed: bool, tmp_path: Path) -> None:
    odd = ODD[name]
    file = tmp_path / ("sd15 sdxl flux vae.safetensors" if renamed else name)
    write(file, odd["tensors"], **odd["metadata"])
    found = await scan(tmp_path)
    kind, family, more = odd["told_as"]
    if found.all:
        (model,) = found.all
        assert (str(model.kind), model.family, model.variant) == (kind, family, more)
        assert found.problems == ()
    else:
        (problem,) = found.problems
        assert problem.code == kind
        assert more in problem.params["what"]
