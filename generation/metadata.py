"""What a picture carries inside its file: A1111's infotext, and our own request to replay."""

import struct
import zlib
from typing import Final

import msgspec

from generation.request import GenerationRequest

PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
OWN_CHUNK: Final = "darkroom"
INFOTEXT_CHUNK: Final = "parameters"


class About(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that made one picture. `hashes` are SHA-256 by `kind:name`."""

    request: GenerationRequest
    index: int
    seed: int
    variation_seed: int | None = None
    hashes: dict[str, str] = {}
    versions: dict[str, str] = {}


def infotext(about: About) -> str:
    """The text that A1111, ComfyUI's front end and Civitai read.

    Three parts, a line each: prompt, `Negative prompt: …`, and comma-separated parameters.
    """
    request = about.request
    lines = [_with_loras(request)]
    if request.negative_prompt:
        lines.append(f"Negative prompt: {request.negative_prompt}")
    lines.append(", ".join(f"{name}: {value}" for name, value in _parameters(about)))
    return "\n".join(lines)


def embed(png: bytes, about: About) -> bytes:
    """The same PNG with the chunks `parameters` and `darkroom` behind its header."""
    header_end = len(PNG_SIGNATURE) + 25  # IHDR: length, name, 13 bytes, CRC
    if not png.startswith(PNG_SIGNATURE) or png[12:16] != b"IHDR":
        raise ValueError("not a PNG")
    chunks = _text_chunk(INFOTEXT_CHUNK, infotext(about))
    chunks += _text_chunk(OWN_CHUNK, msgspec.json.encode(about).decode())
    return png[:header_end] + chunks + png[header_end:]


def _with_loras(request: GenerationRequest) -> str:
    """A1111 names LoRAs inside the prompt."""
    return request.prompt + "".join(f" <lora:{use.name}:{use.weight:g}>" for use in request.loras)


def _parameters(about: About) -> list[tuple[str, str]]:
    request = about.request
    karras = request.sampler.endswith(" Karras")
    found = [
        ("Steps", str(request.steps)),
        ("Sampler", request.sampler.removesuffix(" Karras")),
        ("Schedule type", "Karras" if karras else "Automatic"),
        ("CFG scale", f"{request.guidance_scale:g}"),
        ("Seed", str(about.seed)),
        ("Size", f"{request.width}x{request.height}"),
    ]
    checkpoint = about.hashes.get(f"checkpoint:{request.model}")
    if checkpoint:
        found.append(("Model hash", checkpoint[:10]))
    found.append(("Model", _quoted(request.model)))
    if request.vae is not None:
        vae = about.hashes.get(f"vae:{request.vae}")
        if vae:
            found.append(("VAE hash", vae[:10]))
        found.append(("VAE", _quoted(request.vae)))
    if about.variation_seed is not None:
        found.append(("Variation seed", str(about.variation_seed)))
        found.append(("Variation seed strength", f"{request.variation_strength:g}"))
    if request.lineage:
        earlier = ", ".join(f"{step.seed}: {step.strength:g}" for step in request.lineage)
        found.append(("Variation of", _quoted(earlier)))
    if request.clip_skip > 1:
        found.append(("Clip skip", str(request.clip_skip)))
    if request.init_picture is not None:
        found.append(("Denoising strength", f"{request.denoising_strength:g}"))
    for number, use in enumerate(request.controls):
        value = f"Model: {use.name}, Weight: {use.scale:g}"
        found.append((f"ControlNet {number}", _quoted(value)))
    loras = {use.name: about.hashes.get(f"lora:{use.name}", "") for use in request.loras}
    if any(loras.values()):
        value = ", ".join(f"{name}: {sha256[:12]}" for name, sha256 in loras.items() if sha256)
        found.append(("Lora hashes", _quoted(value)))
    found.append(("Version", f"darkroom {about.versions.get('darkroom', '')}".strip()))
    return found


def _quoted(value: str) -> str:
    """A value with a comma, colon or line break is a JSON string, as A1111 writes it."""
    if any(mark in value for mark in ",:\n"):
        return msgspec.json.encode(value).decode()
    return value


def _text_chunk(keyword: str, text: str) -> bytes:
    """tEXt where Latin-1 holds the text, as the PNG specification wants it, else iTXt (UTF-8)."""
    try:
        name, data = b"tEXt", keyword.encode("latin-1") + b"\0" + text.encode("latin-1")
    except UnicodeEncodeError:
        name, data = b"iTXt", keyword.encode("latin-1") + b"\0\0\0\0\0" + text.encode()
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
