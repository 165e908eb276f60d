"""Prompts with what A1111's own parser makes of them."""

import json
from pathlib import Path
from typing import Any, Final

DATA: Final = Path(__file__).parents[3] / "data" / "a1111_prompts.json"


def a1111_prompts() -> list[dict[str, Any]]:
    """Each a table of prompt, steps, attention and schedule."""
    found: list[dict[str, Any]] = json.loads(DATA.read_text(encoding="utf-8"))
    return found
