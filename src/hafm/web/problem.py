"""What cannot be done, as HTTP says it: `{"error": {"kind", "message"}}` and a status.

In: errors of ours, of the framework, of the gate. Out: answers of one form.
"""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from hafm.errors import HafmError
from hafm.web.gate import TooLargeError, TooSlowError

__all__ = ["Problem", "add_errors", "first_complaint"]


class Problem(Exception):
    """A request that cannot be met.

    Args:
        kind: for programs.
        message: for people.
        retry_seconds: when to come back; None for never.
    """

    def __init__(self, status: int, kind: str, message: str, *, retry_seconds: float | None = None) -> None:
        super().__init__(message)
        self.status, self.kind, self.message, self.retry_seconds = status, kind, message, retry_seconds

    @classmethod
    def of(cls, error: HafmError) -> "Problem":
        """An error that the user can put right."""
        return cls(422, type(error).__name__, str(error))


def add_errors(app: FastAPI) -> None:
    """Answers in one form, whatever went wrong."""

    def answer(status: int, kind: str, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
        return JSONResponse({"error": {"kind": kind, "message": message}}, status, headers)

    @app.exception_handler(Problem)
    async def problem(request: Request, error: Problem) -> JSONResponse:
        headers = None
        if error.retry_seconds is not None:
            headers = {"retry-after": str(max(1, round(error.retry_seconds)))}
        return answer(error.status, error.kind, error.message, headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return answer(422, "UsageError", first_complaint(error.errors()))

    @app.exception_handler(StarletteHTTPException)
    async def http(request: Request, error: StarletteHTTPException) -> JSONResponse:
        return answer(error.status_code, "Refused", str(error.detail), dict(error.headers or {}))

    async def body(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, TooLargeError | TooSlowError), "it is handled here alone"
        return answer(error.status, "Refused", error.text, {"connection": "close"})

    app.add_exception_handler(TooLargeError, body)
    app.add_exception_handler(TooSlowError, body)


def first_complaint(errors: Any) -> str:
    """What pydantic says first, in one line."""
    first = errors[0]
    place = ".".join(str(part) for part in first["loc"] if part != "body")
    return f"{place or 'the body'}: {first['msg']}"[:500]
