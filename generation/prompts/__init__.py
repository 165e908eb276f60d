"""A1111's prompt language. A prompt is read in its order: tags are taken out (`tags`), what is left
is split at AND (`composition`), each part changes with the steps (`schedule`), and each text counts
as its brackets say (`attention`).
"""

from generation.prompts.attention import attention, plain_text, spaced_weights
from generation.prompts.checks import check_prompt, check_weights
from generation.prompts.composition import composed
from generation.prompts.schedule import drawn_texts, schedule
from generation.prompts.tags import Tag, tag_spans, take_tags, written_tag

__all__ = [
    "Tag",
    "attention",
    "check_prompt",
    "check_weights",
    "composed",
    "drawn_texts",
    "plain_text",
    "schedule",
    "spaced_weights",
    "tag_spans",
    "take_tags",
    "written_tag",
]
