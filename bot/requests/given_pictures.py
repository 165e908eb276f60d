"""What is known of the pictures that came with a request."""

from collections.abc import Mapping
from typing import Any, Final

from generation.references import Sizes
from generation.request_options import options
from storage.jobs import JobStore

NO_PICTURE: Final = "0" * 64
"""Stands for the hash of a picture that nobody has looked at yet."""


async def sizes_of(given: Mapping[str, Any], jobs: JobStore) -> Sizes:
    """The sizes in pixels of the pictures that were given; of one that nobody has looked at yet, a
    square's. Raises Refused for one that is gone.
    """
    named: set[str] = set()
    for name, option in options().items():
        if option.picture and name in given:
            named.update((given[name],) if isinstance(given[name], str) else given[name])
    found = {sha256: await jobs.upload_size(sha256) for sha256 in named - {NO_PICTURE}}
    return {NO_PICTURE: (1, 1), **found}
