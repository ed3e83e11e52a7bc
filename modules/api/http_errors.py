"""face: the one place where errors become HTTP answers.

Domain errors carry their status; the body is {error, detail, body, errors, field}, as clients know it. Requests that do
not fit their schema keep FastAPI's own answer, {"detail": [...]}.
"""

from __future__ import annotations

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import HTTPException, RequestValidationError
from fastapi.responses import JSONResponse

from modules import hook_records
from modules.errors import OutOfMemory, WebuiError

logger = logging.getLogger(__name__)


def domain_error(request: Request, error: WebuiError) -> JSONResponse:
    """Answers a request that can't be carried out, for a reason the program knows."""
    if error.http_status >= 500:
        logger.error("%s %s: %s", request.method, request.url.path, error)
    body = {"error": type(error).__name__, "detail": str(error), "body": "", "errors": str(error)}
    content = body | ({"field": error.field} if error.field else {})
    return JSONResponse(status_code=error.http_status, content=content, headers=error.headers)


def http_exception(request: Request, error: HTTPException) -> JSONResponse:
    """Answers an error raised by a route itself, extensions' routes included."""
    body = {"error": "HTTPException", "detail": error.detail, "body": "", "errors": ""}
    return JSONResponse(status_code=error.status_code, content=body, headers=error.headers)


def schema_error(request: Request, error: RequestValidationError) -> JSONResponse:
    """Answers a request that does not fit its schema. Its values are not sent back: they may be images, or no JSON."""
    rows = [{key: row[key] for key in ("loc", "msg", "type")} for row in error.errors()]
    return JSONResponse(status_code=422, content={"detail": rows})


def out_of_memory(request: Request, error: MemoryError) -> JSONResponse:
    """Answers that the machine's memory is too small for the request."""
    return domain_error(request, OutOfMemory("Out of memory: ask for a smaller image or batch."))


def unexpected_error(request: Request, error: Exception) -> JSONResponse:
    """Answers an error nobody foresaw: the log has its traceback, the client its kind and message. If it came out of an
    extension, the tab Extensions names it.
    """
    if failure := hook_records.records.fail_in_extension(f"route {request.url.path}", error):
        logger.error("%s", failure)
    body = {"error": type(error).__name__, "detail": "", "body": "", "errors": str(error)}
    return JSONResponse(status_code=500, content=body)


def install(app: FastAPI) -> None:
    """Makes all routes of `app` answer errors this way."""
    app.add_exception_handler(WebuiError, domain_error)
    app.add_exception_handler(HTTPException, http_exception)
    app.add_exception_handler(RequestValidationError, schema_error)
    app.add_exception_handler(MemoryError, out_of_memory)
    app.add_exception_handler(Exception, unexpected_error)
