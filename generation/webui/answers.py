"""Whether a webui has drawn what it was told, by its own account.

It draws on without a LoRA that it does not find, and with another checkpoint or schedule in the
place of one that has gone.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from generation.messages import Generate
from generation.webui import settings
from generation.webui.expressing import theirs
from generation.webui.names import WebuiNames

_LORAS: Final = re.compile(r'Lora hashes: "?([^"\n]*)')
_SHORT: Final = re.compile(r"[0-9a-f]{10}")
"""A checkpoint's hash, as A1111 cuts it."""
LORA_HASHES: Final = "lora_add_hashes_to_infotext"


def otherwise(
    work: Generate,
    index: int,
    names: WebuiNames,
    info: Mapping[str, Any],
    hashes: Mapping[str, str],
) -> str:
    """What picture `index` was drawn with otherwise than was asked for; "" where nothing was."""
    request = work.request
    if int(info.get("seed", -1)) != request.seeds[index]:
        return "seed"
    if info.get("sampler_name") != theirs(request, names)[0]:
        return "sampler"
    short = str(info.get("sd_model_hash") or "")
    own = hashes.get(f"checkpoint:{request.model}", "")
    # what a refiner or a hires pass has loaded last is named, too
    if len(work.checkpoints) == 1 and _SHORT.fullmatch(short) and own and own[:10] != short:
        return f"checkpoint {work.checkpoint.shown}"
    if work.vae is not None and not names.forge:
        told = str(info.get("sd_vae_name") or "")
        if told != names.of(work.vae).name:
            return f"VAE {work.vae.shown}"
    return _lora_left_out(work, names, info)


def _lora_left_out(work: Generate, names: WebuiNames, info: Mapping[str, Any]) -> str:
    if LORA_HASHES not in names.pinned(settings.SAME):
        return ""
    texts = info.get("infotexts") or [""]
    found = _LORAS.search(str(texts[0]))
    told = {part.partition(":")[0].strip() for part in (found[1] if found else "").split(",")}
    for file in work.loras:
        # the webui leaves these signs out of its list
        if names.of(file).name.replace(",", "").replace(":", "").strip() not in told:
            return f"LoRA {file.shown}"
    return ""
