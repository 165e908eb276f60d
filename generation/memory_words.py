"""A plan of memory in words, for logs, `doctor` and docs; people's sentences are named alike."""

from typing import Final

from generation.memory_plan import GIB, NoRoom, Plan, Role

WORDS: Final[dict[str, str]] = {
    "plan_device": "all on the card",
    "plan_memory": "all in main memory",
    "plan_text_aside": "text encoders step aside",
    "plan_text_anew": "text encoders read anew from disk",
    "plan_text_blocks": "text encoders streamed by blocks",
    "plan_text_leaves": "text encoders streamed by layers",
    "plan_vae_aside": "VAE steps aside",
    "plan_denoiser_aside": "each part on the card only while it works",
    "plan_denoiser_blocks": "denoiser streamed by blocks",
    "plan_denoiser_leaves": "denoiser streamed by layers",
    "plan_helpers_leave": "what sees or mends pictures is unloaded once it has worked",
    "plan_tiled": "VAE in tiles",
    "plan_batch": "one picture at a time",
}
"""By code, in the order in which they are said."""


def codes(plan: Plan) -> tuple[str, ...]:
    """What sets it apart from having everything on the device; codes of WORDS, in their order."""
    found = set()
    places: dict[Role, set[str]] = {}
    for one in plan.placings:
        places.setdefault(one.part.role, set()).add("anew" if one.rest == "disk" else one.place)
    denoiser = places.get("denoiser", set()) | places.get("refiner", set())
    for place in ("leaves", "blocks", "aside"):
        if place in denoiser:
            found.add(f"plan_denoiser_{place}")
            break
    for place in ("leaves", "blocks", "anew", "aside"):
        if place in places.get("text", set()):
            found.add(f"plan_text_{place}")
    if {"plan_text_blocks", "plan_text_leaves", "plan_text_anew"} & found:
        found.discard("plan_text_aside")
    if "aside" in places.get("vae", set()):
        found.add("plan_vae_aside")
    if {"plan_text_aside", "plan_vae_aside", "plan_denoiser_aside"} <= found:
        found -= {"plan_text_aside", "plan_vae_aside"}
    elif "plan_denoiser_aside" in found:
        found.discard("plan_vae_aside")
    if not found:
        found.add("plan_memory" if plan.room.one_memory else "plan_device")
    if plan.helpers_leave:
        found.add("plan_helpers_leave")
    if plan.tiled:
        found.add("plan_tiled")
    if plan.batch == 1 < min(plan.task.batch, plan.task.count):
        found.add("plan_batch")
    return tuple(code for code in WORDS if code in found)


def in_words(plan: Plan | NoRoom) -> str:
    """What was chosen, such as "text encoders step aside; VAE in tiles"."""
    if isinstance(plan, NoRoom):
        where = "of the card's memory" if plan.what == "device" else "of main memory"
        return f"needs {gib(plan.needed)} {where}, {gib(plan.there)} are there"
    return "; ".join(WORDS[code] for code in codes(plan))


def why(plan: Plan) -> str:
    """By what it was chosen, in figures."""
    there = f"needs {gib(plan.peak)} of {gib(plan.room.device)} that are free"
    resting = f", {gib(plan.ram)} of main memory" if plan.ram else ""
    gone = ", ".join((*plan.to_ram, *plan.unloaded))
    return f"{there}{resting}" + (f"; makes room: {gone}" if gone else "")


def gib(size: int) -> str:
    """A size as people read it."""
    return f"{size / GIB:.1f} GiB"
