"""Errors over HTTP, as RFC 9457 has them: application/problem+json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus

from fastapi import Response

from data_contracts.refs import Frozen
from flows.serving.prediction import Refusal

MEDIA_TYPE = "application/problem+json"


class ProblemBody(Frozen):
    """Why a request was not answered."""

    type: str = "about:blank"
    title: str
    """The status in words."""
    status: int
    code: str
    """For programs: body-too-large, rows-refused, overloaded."""
    detail: str
    request_id: str
    errors: tuple[Refusal, ...] = ()
    """Of rows that cannot be used: which one, which input, why."""


class HttpProblem(Exception):
    """Ends a request with this status."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        errors: Sequence[Refusal] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail
        self.errors, self.headers = tuple(errors), dict(headers or {})

    def response(self, request_id: str) -> Response:
        """The answer that tells it."""
        body = ProblemBody(
            title=HTTPStatus(self.status).phrase,
            status=self.status,
            code=self.code,
            detail=self.detail,
            request_id=request_id,
            errors=self.errors,
        )
        return Response(body.model_dump_json(), self.status, {**self.headers, "Cache-Control": "no-store"}, MEDIA_TYPE)
