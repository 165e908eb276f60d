"""What follows a control picture, as people write it: `NAME:SCALE:kind=depth:start=0.2:end=0.8`.

A ControlNet Union is told which kind of picture it is handed; any ControlNet may act over a part of
the steps alone.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

from generation.catalog import Catalog
from generation.families.control import KINDS, follows, kinds_of
from generation.models import ModelFile, ModelKind
from generation.name_search import choice_of, nearest
from generation.refusal import Refused
from generation.request import ControlUse
from generation.request_options import exact, options

NAMED: Final = re.compile(
    r"(?:[:：]\s*+(?:kind|start|end)\s*+=\s*+[^:：=\x22]*+){1,3}\Z", re.IGNORECASE
)
"""What stands behind a name and its scale, at the end of a text."""
SHARES: Final = ("start", "end")
SHORT: Final = 80
"""Characters of a name that leave room for a kind in the hundred of Discord's choices."""
_PART: Final = re.compile(r"\s*(?P<key>[^=]*?)\s*=\s*(?P<value>[^=]*?)\s*")


def of(
    asked: str, picture: str, scale: float | None, catalog: Catalog, usual: float = 1.0
) -> ControlUse:
    """A ControlNet as the catalogue names it, and what is written behind its name. Raises Refused.

    `scale` is that of the option `control_scale`, where it was given; without any it is `usual`.
    """
    parts = asked.split(":")
    ends = range(len(parts), 0, -1)
    names = (":".join(parts[:end]) for end in ends)
    name = next((n for n in names if _find(n, catalog) is not None), None)
    if name is None:
        found = NAMED.search(asked)
        name, written = asked if found is None else asked[: found.start()], []
    else:
        written = parts[len(name.split(":")) :]
    if written and "=" not in written[0]:
        option = options()["control_scale"]
        own = float(option.parse(written.pop(0)))
        option.check(own)
        if scale is not None and scale != own:
            raise Refused("control_scale_twice", name=name[:80])
        scale = own
    net = reader(name, catalog)
    told = settings(written, asked)
    return ControlUse(net.name, picture, usual if scale is None else scale, **told)


def reader(name: str, catalog: Catalog) -> ModelFile:
    """What reads a control picture by that name: a ControlNet, or a checkpoint or LoRA that follows
    one itself. Raises Refused.
    """
    return _find(name, catalog) or catalog.get(ModelKind.CONTROLNET, name)


def _find(name: str, catalog: Catalog) -> ModelFile | None:
    net = catalog.find(ModelKind.CONTROLNET, name)
    if net is not None:
        return net
    others = (catalog.find(kind, name) for kind in (ModelKind.CHECKPOINT, ModelKind.LORA))
    return next((model for model in others if model is not None and follows(model)), None)


def settings(written: Sequence[str], shown: str) -> dict[str, Any]:
    """The fields of a ControlUse that `kind=depth`, `start=0.2` and `end=0.8` give; `shown` is the
    whole as it was written. Raises Refused.
    """
    found: dict[str, Any] = {}
    for part in written:
        told = _PART.fullmatch(part)
        key = told["key"].casefold() if told is not None else ""
        if told is None or key not in ("kind", *SHARES) or key in found:
            raise Refused("control_parts", text=shown[:80])
        found[key] = told["value"].casefold() if key == "kind" else _share(told["value"])
    if "kind" in found and found["kind"] not in KINDS:
        [alike] = nearest(found["kind"], KINDS)
        raise Refused("control_kind_unknown", kind=found["kind"][:40], nearest=alike)
    return found


def written(use: ControlUse) -> str:
    """What stands behind the name and the scale; "" where nothing does."""
    found = [f":kind={use.kind}"] if use.kind is not None else []
    if use.start > 0:
        found.append(f":start={exact(use.start)}")
    if use.end < 1:
        found.append(f":end={exact(use.end)}")
    return "".join(found)


def check(use: ControlUse, net: ModelFile) -> None:
    """Refuse a kind of picture that the ControlNet is not told, a part of the steps that is none,
    and anything of what follows its picture as it was trained to.
    """
    kinds = kinds_of(net)
    if use.kind is not None and not kinds:
        raise Refused("control_kind_alone", name=net.name, kind=use.kind[:40])
    if use.kind is not None and use.kind not in kinds:
        raise Refused("control_kind", name=net.name, kind=use.kind[:40], kinds=", ".join(kinds))
    if follows(net) and (use.scale, use.start, use.end) != (1, 0, 1):
        raise Refused("control_as_trained", name=net.name)
    if use.start >= use.end:
        raise Refused("control_span", start=use.start, end=use.end)


def untold(uses: Iterable[ControlUse], catalog: Catalog) -> list[ModelFile]:
    """The unions among them that nobody told the kind of the picture."""
    nets = (catalog.find(ModelKind.CONTROLNET, use.name) for use in uses if use.kind is None)
    return [net for net in nets if net is not None and kinds_of(net)]


def names(net: ModelFile) -> list[str]:
    """What completion offers: its name, that of a union with each kind behind it."""
    short = choice_of(net.name, SHORT)
    return [net.name, *(f"{short}:kind={kind}" for kind in kinds_of(net))]


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise Refused("control_share", value=text[:40])
    return share
