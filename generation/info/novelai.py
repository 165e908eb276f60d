"""NovelAI's data, and its weights as A1111 writes them.

Braces count 1.05 times each and square brackets as much less; since its fourth version numbers do,
as `1.5::some words::`. Round brackets are text there. Source: NovelAI's documentation.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from generation.info import json_text
from generation.info.found import Info, NamedFile, Note, PictureSize, Said
from generation.metadata import INFOTEXT_MAX
from generation.models import ModelKind
from generation.request_options import exact

STEP: Final = 1.05
DEPTH_MAX: Final = 30
SAMPLERS: Final[Mapping[str, str]] = {
    "k_euler": "Euler",
    "k_euler_ancestral": "Euler a",
    "k_dpmpp_2s_ancestral": "DPM++ 2S a",
    "k_dpmpp_2m": "DPM++ 2M",
    "k_dpmpp_2m_sde": "DPM++ 2M SDE",
    "k_dpmpp_sde": "DPM++ SDE",
    "k_dpm_2": "DPM2",
    "k_dpm_2_ancestral": "DPM2 a",
    "k_lms": "LMS",
    "ddim": "DDIM",
    "ddim_v3": "DDIM",
    "plms": "PLMS",
}
SCHEDULES: Final[Mapping[str, str]] = {
    "native": "Uniform",
    "karras": "Karras",
    "exponential": "Exponential",
    "polyexponential": "Polyexponential",
}
QUIET: Final = frozenset(
    (
        *("prompt", "uc", "seed", "steps", "scale", "width", "height", "sampler", "signed_hash"),
        *("noise_schedule", "v4_prompt", "v4_negative_prompt", "n_samples", "request_type"),
        *("version", "legacy", "legacy_v3_extend", "stream", "params_version", "extra_noise_seed"),
    )
)
_WEIGHED: Final = re.compile(
    r"(?P<weight>-?\d{1,3}(?:\.\d{1,5})?)::(?P<words>[^:]{0,2000}?)(?:::|$)"
)
_BRACE: Final = re.compile(r"[{}\[\]]")


def read(texts: Mapping[str, str], _size: PictureSize) -> Info | None:
    """What its `Comment` says beside its `Description`."""
    table = json_text.table(texts.get("Comment"))
    own = "NovelAI" in texts.get("Software", "") or "NovelAI" in texts.get("Title", "")
    if table is None or not (own or {"uc", "sampler"} <= table.keys()):
        return None
    given: dict[str, Said] = {}
    for option, key in (("seed", "seed"), ("steps", "steps"), ("width", "width")):
        whole = json_text.whole(table.get(key))
        given |= {} if whole is None else {option: whole}
    height, scale = json_text.whole(table.get("height")), json_text.number(table.get("scale"))
    given |= {} if height is None else {"height": height}
    given |= {} if scale is None else {"guidance": float(scale)}
    sampler, schedule = (json_text.text(table.get(key)) for key in ("sampler", "noise_schedule"))
    if sampler:
        given["sampler"] = SAMPLERS.get(sampler, sampler[:100])
    if schedule:
        given["schedule"] = SCHEDULES.get(schedule, schedule[:100])
    prompt = _caption(table.get("v4_prompt")) or json_text.text(table.get("prompt"))
    negative = _caption(table.get("v4_negative_prompt")) or json_text.text(table.get("uc"))
    notes = [Note("info_other_noise", {"program": "NovelAI"})]
    if table.get("image") or "img2img" in json_text.text(table.get("request_type")).casefold():
        notes.append(Note("info_start_picture"))
    model = texts.get("Source", "")
    return Info(
        program="NovelAI",
        prompt=as_a1111(prompt or texts.get("Description", "")),
        negative_prompt=as_a1111(negative),
        given=given,
        files={"model": NamedFile(ModelKind.CHECKPOINT, model[:500])} if model else {},
        ignored=tuple(key[:50] for key in table if key not in QUIET and table[key])[:40],
        notes=tuple(notes),
        text=texts["Comment"],
    )


def as_a1111(text: str) -> str:
    """The text with its weights in A1111's form; brackets that are text stand escaped."""
    plain = re.sub(r"([()])", r"\\\1", text[:INFOTEXT_MAX])
    plain = _WEIGHED.sub(lambda found: f"({found['words'].strip()}:{found['weight']})", plain)
    pieces, opened = [""], [("", 0)]
    for piece in re.split(r"([{}\[\]])", plain):
        if piece in ("{", "[") and len(opened) <= DEPTH_MAX:
            opened.append((piece, len(pieces)))
            pieces.append("")
        elif piece in ("}", "]") and opened[-1][0] == {"}": "{", "]": "["}[piece]:
            kind, _ = opened.pop()
            inner = pieces.pop()
            weight = STEP if kind == "{" else 1 / STEP
            pieces[-1] += f"({inner}:{exact(round(weight, 4))})" if inner.strip() else inner
        else:
            pieces[-1] += _BRACE.sub("", piece)
    return "".join(pieces).strip()


def _caption(value: Any) -> str:
    """The base caption of its fourth version, and those of its characters behind it."""
    caption = value.get("caption") if isinstance(value, dict) else None
    if not isinstance(caption, dict):
        return ""
    several = caption.get("char_captions")
    captions = several if isinstance(several, list) else []
    texts = [json_text.text(caption.get("base_caption"))]
    texts += [json_text.text(c.get("char_caption")) for c in captions if isinstance(c, dict)]
    return ", ".join(text for text in texts if text.strip())
