"""The checkpoints and LoRAs that a server keeps for roles, as its managers name them."""

from collections.abc import Mapping
from typing import Any

from bot.features.settings import panel
from bot.features.settings.panel import Setting
from generation.catalog import Catalog
from generation.models import ModelKind
from generation.name_search import nearest
from generation.refusal import Refused

KINDS = (ModelKind.CHECKPOINT, ModelKind.LORA)


def known(name: str, catalog: Catalog) -> str:
    """The name as the catalogue has it. Raises Refused for one that is of no checkpoint or LoRA."""
    found = (catalog.find(kind, name) for kind in KINDS)
    model = next((model for model in found if model is not None), None)
    if model is not None:
        return model.name
    names = [model.name for model in (*catalog.checkpoints, *catalog.loras)]
    alike = nearest(name, names)
    if not alike:
        raise Refused("reserved_none", name=name[:80])
    raise Refused("reserved_unknown", name=name[:80], nearest=alike[0])


def named(setting: Setting, values: Mapping[str, Any], catalog: Catalog) -> Mapping[str, Any]:
    """What was entered of a setting, with names of models as the catalogue has them. Raises
    Refused.
    """
    if setting.kind != "names_by_role":
        return values
    entered = panel.listed(setting, values)
    return {**values, "value": "\n".join(known(name, catalog) for name in entered)}
