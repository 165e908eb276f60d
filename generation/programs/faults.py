"""How a program that draws for the bot fails."""

from generation.job import Failure


class ServerError(Exception):
    """It is away, or answers what it never does; the text says how.

    Where its owner can mend that, `failure` is the sentence that says so.
    """

    def __init__(self, text: str, failure: Failure | None = None) -> None:
        super().__init__(text)
        self.failure = failure


class EndedError(Exception):
    """What it was told came to no picture: a sentence of `bot/locales/` and what that names."""

    def __init__(self, code: str, params: dict[str, str] | None = None, detail: str = "") -> None:
        super().__init__(code, detail)
        self.code = code
        self.params = params or {}
        self.detail = detail
