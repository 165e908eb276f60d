"""What a prompt says at which step.

`[from:to:when]` says `from` up to step `when` and `to` after it, `[to:when]` nothing and then `to`,
`[from::when]` `from` and then nothing; `when` is a step or, below 1, a fraction of the steps.
`[a|b]` says `a` at the first step, `b` at the second, and so on; of several things between two
bars, forms or words, the first alone, as in A1111 before 1.5, which the known answers are of.
Source: A1111's wiki, "Prompt editing", and what its parser answers (tests/data).
"""

from collections.abc import Sequence

from generation.prompts.attention import plain_text
from generation.prompts.composition import composed
from generation.prompts.forms import Form, all_forms, read


def schedule(
    prompt: str,
    steps: int,
    hires_steps: int | None = None,
    *,
    hires_follows: bool = False,
    old: bool = False,
) -> list[tuple[int, str]]:
    """What a prompt without tags or AND says, as (until that step, text), in order; the last is
    until the last step. Steps count from 1; what ends at 0 or before is never drawn.

    With `hires_steps` that of a second pass of so many steps: there whole numbers count on from
    the first pass's steps, and of numbers with a point 0 to 1 are fractions of the first pass and
    1 to 2 of the second. Where one `hires_follows` they are so in the first pass, too; without
    one, what is not below 1 is a step. With `old`, as A1111 before 1.6 and its setting "old prompt
    editing timelines", a second pass says what the first did, over its own steps.
    """
    last = steps if hires_steps is None else hires_steps
    items = read(prompt)
    if items is None:
        return [(last, prompt)]
    forms = all_forms(items)
    passed = steps if hires_steps is not None and not old else 0
    both = (passed > 0 or hires_follows) and not old
    ends = {
        form.when: _step(form.when, last, passed, both) for form in forms if form.when is not None
    }
    untils = {last, *(end for end in ends.values() if end > 0 or not both)}
    if any(form.turns for form in forms):
        untils.update(range(1, last + 1))
    return [(until, _said(items, until, ends)) for until in sorted(untils)]


def drawn_texts(prompt: str, steps: int, hires_steps: int | None = None) -> list[str]:
    """Every text that the encoder reads for a prompt without tags, each once, without weights."""
    found: dict[str, None] = {}
    for part, _ in composed(prompt):
        entries = schedule(part, steps, hires_follows=hires_steps is not None)
        if hires_steps is not None:
            entries += schedule(part, steps, hires_steps)
        for _, text in entries:
            found[plain_text(text)] = None
    return list(found)


def _step(when: str, steps: int, passed: int, both: bool) -> int:
    """The last step before a change; `passed` are the steps of a pass before, and `both` says
    whether numbers count through two passes.
    """
    value = float(when)
    if both:
        value = (value - (passed > 0)) * steps if "." in when else value - passed
    elif value < 1:
        value *= steps
    return int(max(-1e6, min(float(steps), value)))


def _said(items: Sequence[str | Form], step: int, ends: dict[str, int]) -> str:
    said: list[str] = []
    rest = list(items[::-1])
    while rest:
        item = rest.pop()
        if isinstance(item, str):
            said.append(item)
        elif item.when is not None:
            rest += item.parts[step > ends[item.when]][::-1]
        elif item.turns:
            rest += item.parts[(step - 1) % len(item.parts)][:1]
        else:
            rest += item.parts[0][::-1]
    return "".join(said)
