"""Puts into a wheel what a checkout has beside the packages: bot/shipped.py finds it there.

Not into an editable installation, which has the checkout itself.
"""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CustomBuildHook(BuildHookInterface[Any]):
    """`packed` of pyproject.toml: files and folders, by their paths."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name them to the builder; `version` is "standard" or "editable"."""
        if version == "editable":
            return
        for path in self.config["packed"]:
            found = Path(self.root, path)
            if not found.exists():
                raise FileNotFoundError(f"{path} belongs into the wheel, and is not there")
            build_data["force_include"][str(found)] = f"bot/packed/{path}"
