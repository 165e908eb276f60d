"""What comes with the program, and the folder in which its owner's things lie.

In a checkout both are the checkout. Installed from a wheel, what comes with it lies in the package,
and the owner's things lie beside the config.toml that is used: `models/`, `data/`, `.env`.
"""

from pathlib import Path
from typing import Final

PROJECT: Final = Path(__file__).resolve().parent.parent
"""The folder that `bot` lies in: of a checkout, or `site-packages`."""
_PACKED: Final = Path(__file__).resolve().parent / "packed"
INSTALLED: Final = _PACKED.is_dir()
"""Whether this is no checkout: the wheel alone has that folder (pyproject.toml)."""
SHIPPED: Final = _PACKED if INSTALLED else PROJECT
SHIPPED_MODELS: Final = SHIPPED / "models"
"""The demo model and what belongs to it."""
TEMPLATE: Final = SHIPPED / "config.toml"
"""Every setting with its default and what it does."""
CONFIG: Final = Path("config.toml") if INSTALLED else PROJECT / "config.toml"
"""Where nobody names another: of an installed program the working folder's."""


def models_folder(config: Path) -> Path:
    """The owner's own models folder, by the settings' file."""
    return config.parent / "models" if INSTALLED else SHIPPED_MODELS
