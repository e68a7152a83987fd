"""A request of a page that the server refuses: raised wherever that is found, answered by `app.py`."""

from __future__ import annotations


class Refused(Exception):  # noqa: N818 - an answer, not a failure
    """A request that is refused, with the status of HTTP that says so."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
