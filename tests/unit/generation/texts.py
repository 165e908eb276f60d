"""Texts and requests of every kind, for tests that write something and read it again."""

from typing import get_args

import msgspec
from hypothesis import strategies as st

from generation.families.control import KINDS
from generation.preprocessors import PREPROCESSORS
from generation.request import GenerationRequest
from generation.request_fields import LORAS_MAX, SEED_MAX, FaceChoice
from generation.request_parts import ControlUse, LoraUse
from generation.samplers import SAMPLERS

SIGNS = "a ：:，,“”\"'\\\n\r\t <>(){}[]=#|é灯💡\u2028\x85\x0b%;0.5-"
"""Full-width and other signs that some reader splits at."""

spoken = st.text(alphabet=SIGNS, max_size=30) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30
)
"""Any text that can be kept."""
names = spoken.filter(bool)


def requests() -> st.SearchStrategy[GenerationRequest]:
    """Whole requests whose texts and numbers are of every kind."""
    weights = st.floats(-4, 4)
    uses = st.builds(LoraUse, names, weights, st.none() | weights).filter(
        lambda use: use.te_weight != use.weight
    )
    shares = st.floats(0, 1)
    controls = st.builds(
        ControlUse,
        names,
        st.just("0" * 64),
        st.floats(0, 2),
        st.none() | st.sampled_from(sorted(KINDS)),
        shares,
        shares,
        st.sampled_from(sorted(PREPROCESSORS)),
        st.booleans(),
        st.just(0) | st.integers(64, 2048),
        mode=st.sampled_from(["balanced", "prompt", "control"]),
        fit=st.sampled_from(["crop", "stretch", "fill"]),
    ).filter(lambda use: PREPROCESSORS[use.preprocessor].sized or not use.resolution)
    return st.builds(
        GenerationRequest,
        prompt=spoken.filter(lambda text: bool(text.strip())),
        negative_prompt=spoken,
        model=names,
        vae=st.none() | names,
        refiner=st.none() | names,
        width=st.integers(8, 256).map(lambda side: side * 8),
        height=st.integers(8, 256).map(lambda side: side * 8),
        steps=st.integers(1, 150),
        guidance_scale=st.floats(0, 30),
        sampler=st.sampled_from(sorted(SAMPLERS)),
        seed=st.integers(0, SEED_MAX),
        variation_seed=st.none() | st.integers(0, SEED_MAX),
        variation_strength=st.floats(0, 1),
        clip_skip=st.integers(1, 12),
        faces=st.sampled_from(get_args(FaceChoice)),
        face_model=names,
        face_strength=shares,
        face_fidelity=shares,
        count=st.integers(1, 10),
        controls=st.lists(controls, max_size=3).map(tuple),
        loras=st.lists(uses, max_size=LORAS_MAX, unique_by=lambda use: use.name).map(tuple),
    ).map(_named)


def _named(request: GenerationRequest) -> GenerationRequest:
    """What restores faces is said only where some are."""
    if request.faces != "none":
        return request
    return msgspec.structs.replace(request, face_model=None)
