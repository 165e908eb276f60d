"""What happens where memory runs out all the same: the job is planned anew and drawn from there."""

import traceback
from typing import Final

import structlog

from generation.memory_plan import Phase
from generation.memory_words import WORDS, codes
from generation.messages import Generate
from generation.runtime.device import free_unused
from generation.runtime.enlargement import Enlarging
from generation.runtime.faults import JobError, is_out_of_memory
from generation.runtime.memory import MemoryWish, Planner, Rung, rung_of
from generation.runtime.parts import Parts
from generation.runtime.recipe import Drawing

log = structlog.get_logger(__name__)

RUNGS_MAX: Final = 10
"""So many times a job is tried: plans get cheaper with each, and a card has few."""


def draw(
    drawing: Drawing, work: Generate, most: int, parts: Parts, planner: Planner
) -> tuple[str, ...]:
    """Draw at most `most` pictures at once; returns what was changed after memory ran out, by codes
    of WORDS.

    First other models make room; then the cheapest plan follows that needs less where it ran out.
    What is drawn again begins as it was drawn. Raises JobError("out_of_memory") where no plan is
    left.
    """
    again = work.numerics
    wish = MemoryWish(1 if work.one_by_one else most)
    if again is not None:
        wish = MemoryWish(1 if work.one_by_one else again.batch_size, again.frugal)
    first: tuple[str, ...] | None = None
    tried: dict[Rung, Phase | None] = {}
    for _ in range(RUNGS_MAX):
        why = _attempt(drawing, wish._replace(tried=tried))
        plan = drawing.plan
        if why is None:
            assert plan is not None
            planner.went_well(work, plan, drawing.meter.peaks)
            spared = () if first is None else codes(plan)
            return tuple(code for code in spared if code not in (first or ()))
        free_unused()
        if parts.unload_others(drawing.own):
            log.warning("out of memory: once more, with the models of this job only")
            continue
        if plan is None:
            break
        first = first or codes(plan)
        if rung_of(plan) in tried:
            break
        tried[rung_of(plan)] = drawing.meter.phase
        if wish.tiled is not None:
            wish = MemoryWish(most)
        planner.ran_out(work, plan, drawing.meter.phase)
        log.warning("out of memory: planned anew", phase=drawing.meter.phase or "loading")
        # another is chosen when its parts are in place again
    error = JobError("out_of_memory")
    error.add_note(why or "")
    raise error


def enlarge(enlarging: Enlarging, parts: Parts) -> None:
    """Once more without the models of other jobs where memory runs out."""
    try:
        enlarging.draw()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    else:
        return
    log.warning("out of memory: once more, with nothing else loaded")
    parts.free()
    enlarging.draw()


def in_words(spared: tuple[str, ...]) -> str:
    """For the owner's log; "" where nothing was changed."""
    if not spared:
        return ""
    return f"memory ran out, and it was drawn so: {'; '.join(WORDS[code] for code in spared)}"


def _attempt(drawing: Drawing, wish: MemoryWish) -> str | None:
    """Draw; what was said where memory ran out. By then no frame holds a tensor any more."""
    try:
        drawing.draw(wish)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return "".join(traceback.format_exception(error))
    return None
