"""What a service says when it does not do what was asked."""

import re

from starlette.responses import JSONResponse

_OPERATORS = re.compile(r",? or (?:pass|raise) `max_pixels(?:=\d+)?`|Pass `max_pixels=\d+`\.?")
"""Remedies of the library that a service's user does not have."""


class RefusedError(Exception):
    """A request that is not done.

    Attributes:
        status: HTTP's.
        detail: What, the rule, what came, the remedy.
        headers: Of the answer.
    """

    def __init__(self, status: int, detail: str, **headers: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def answer(self, request_id: str) -> JSONResponse:
        """As JSON."""
        content = {"detail": self.detail, "request_id": request_id}
        return JSONResponse(content, self.status, self.headers)


def for_users(message: str) -> str:
    """A message of the library, without what the operator alone can do."""
    return _OPERATORS.sub("", message)
