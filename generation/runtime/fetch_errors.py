"""What goes wrong when a model is fetched: one sentence each, that says what to do."""

import errno
from typing import Final

import httpx2
from huggingface_hub import constants
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from generation.hub import MAIN, HubModel, NotFetched
from generation.regular_files import printable

_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)
_REFUSED: Final = (httpx2.codes.UNAUTHORIZED, httpx2.codes.FORBIDDEN)


class NotFetchedError(Exception):
    """It can't be fetched; the text is a sentence that says what to do."""

    def __init__(self, why: str, *, lasting: bool = True) -> None:
        super().__init__(why)
        self.lasting = lasting


def hub_address() -> str:
    """The hub's address as it can be shown: without a password in it."""
    address = httpx2.URL(constants.ENDPOINT)
    port = f":{address.port}" if address.port else ""
    return f"{address.scheme}://{address.host}{port}{address.path.rstrip('/')}"


def no_hub() -> str:
    """Something else answers there."""
    return (
        f"{hub_address()} does not answer as the hub does. Correct [huggingface] endpoint, or the"
        " proxy that stands between."
    )


def sentence(wanted: HubModel, error: Exception, *, token: bool) -> NotFetched:
    """What an error means, and what to do: no text of a library, and nothing of the `token` that
    was or was not sent.
    """
    match error:
        case NotFetchedError():
            return NotFetched(str(error), error.lasting)
        case OfflineModeIsEnabled():
            return NotFetched("HF_HUB_OFFLINE is set, so nothing is fetched. Unset it.")
        case HfHubHTTPError():
            return _of_answer(wanted, error, token)
        case httpx2.UnsupportedProtocol() | httpx2.InvalidURL():
            return NotFetched(
                "[huggingface] endpoint is no address: write https://…, or leave it empty."
            )
        case httpx2.HTTPError():
            return NotFetched(
                f"{hub_address()} can't be reached ({type(error).__name__}). Check the network; for"
                " a mirror set [huggingface] endpoint.",
                lasting=False,
            )
        case OSError() if error.errno in _NO_ROOM:
            return NotFetched(
                "The disk of the cache is full. Free some room, or name another cache in"
                " [huggingface]; what is there is kept, and the next run goes on.",
                lasting=False,
            )
        case OSError():
            why = printable(error.strerror or type(error).__name__)
            return NotFetched(f"The cache can't be written: {why}. Correct [huggingface] cache.")
    return NotFetched(f"{no_hub()} ({type(error).__name__})", lasting=False)


def _of_answer(wanted: HubModel, error: HfHubHTTPError, token: bool) -> NotFetched:
    status = error.response.status_code
    hub, model = hub_address(), wanted.repository
    if isinstance(error, GatedRepoError):
        page = f"{hub}/{model}"
        then = (
            "as the owner of the token, and try again"
            if token
            else "make a token in your settings there, and set it as HF_TOKEN"
        )
        return NotFetched(f"{model} has a licence to be accepted: do that on {page}, {then}.")
    if isinstance(error, RevisionNotFoundError):
        revision = wanted.revision or MAIN
        return NotFetched(f"{model} has no branch, tag or commit {revision}. Correct it.")
    if isinstance(error, EntryNotFoundError):
        return NotFetched(f"{wanted} went from the hub while it was fetched. Try again.")
    if status in _REFUSED and token:
        return NotFetched(
            f"{hub} refuses the token for {model}. Make one in your settings there that may read"
            " it, and set it as HF_TOKEN, or as token in [huggingface]."
        )
    if isinstance(error, RepositoryNotFoundError) or status in (*_REFUSED, httpx2.codes.NOT_FOUND):
        hint = "." if token else "; a private one needs a token (HF_TOKEN)."
        return NotFetched(f"{hub} knows no model {model}. Correct the id{hint}")
    if status == httpx2.codes.TOO_MANY_REQUESTS:
        why = f"{hub} was asked too often. Wait some minutes, or set a token (HF_TOKEN)."
        return NotFetched(why, lasting=False)
    why = f"{hub} answers with error {status}. Try again later, or another mirror."
    return NotFetched(why, lasting=False)
