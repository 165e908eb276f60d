"""spandrel, imported without torchvision.

Two of its architectures (LaMa and RestoreFormer) import three names of torchvision, whose builds
must match torch's to the version; nothing else of it is used. While spandrel is imported, an empty
module stands in where torchvision is not installed.
"""

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any

NAMES = ("normalize", "rotate", "InterpolationMode")


def spandrel() -> Any:
    """The module `spandrel`. Raises ModuleNotFoundError where it is not installed."""
    if importlib.util.find_spec("torchvision") is not None:
        return importlib.import_module("spandrel")
    stand_ins = _stand_ins()
    sys.modules.update(stand_ins)
    try:
        return importlib.import_module("spandrel")
    finally:
        for name in stand_ins:
            del sys.modules[name]


def _stand_ins() -> dict[str, ModuleType]:
    path = ("torchvision", "torchvision.transforms", "torchvision.transforms.functional")
    modules = {name: ModuleType(name) for name in path}
    for name in NAMES:
        setattr(modules[path[-1]], name, None)
    return modules
