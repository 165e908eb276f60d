"""The words of a request, held against a server's blocklist."""

from bot.access import blocklist
from generation.hires import second_pass, second_steps
from generation.prompts import drawn_texts
from generation.refusal import Refused
from generation.request import GenerationRequest


def check_drawn(entries: tuple[str, ...], request: GenerationRequest, name: str) -> None:
    """Refuse a request that draws what the entries name, or a preset of that name; blocks, for
    others' expressions may take long.
    """
    prompts = [request.prompt]
    if request.guidance_scale < 1:
        # there the negative prompt is drawn too
        prompts.append(request.negative_prompt)
    if request.hires is not None:
        passed = second_pass(request)
        prompts.append(passed.prompt)
        if passed.guidance_scale < 1:
            prompts.append(passed.negative_prompt)
    words = blocklist.compiled(entries)
    # brackets part a word only for the eye, and some words come together at a later step alone
    after = second_steps(request) if request.hires is not None else None
    drawn = [text for prompt in prompts for text in drawn_texts(prompt, request.steps, after)]
    for text in dict.fromkeys([*prompts, *drawn]):
        words.check(text)
    try:
        words.check(name)
    except Refused as refused:
        if refused.code != "blocked_words":
            raise
        raise Refused("preset_name_blocked") from None
