"""The HTTP interface of a model: /v1/predict, /v1/model, probes, metrics, its OpenAPI document, and a page to try it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException

from data_contracts.refs import IN_CELLS, Frozen
from flows.hosting.guard import App
from flows.serving.bodies import PredictRequest
from flows.serving.entrance import Access, Entrance
from flows.serving.metrics import CONTENT_TYPE
from flows.serving.page import CONTENT_SECURITY_POLICY, PAGE
from flows.serving.problems import MEDIA_TYPE, HttpProblem, ProblemBody
from flows.serving.service import PredictResponse, Service
from tasks.modalities import MODALITIES

_NO_STORE = {"Cache-Control": "no-store"}
_STATUSES = {
    400: "The body is broken.",
    401: "The token is missing or wrong.",
    403: "The request comes from another origin.",
    408: "The body did not come in time.",
    413: "The body is too large.",
    415: "The body is neither JSON nor a form.",
    421: "The request names another server.",
    422: "Rows cannot be used; `errors` says which, and why.",
    429: "Too much is under way; try again after Retry-After seconds.",
    500: "The server failed; its log says why.",
    503: "The model cannot answer now.",
    504: "The answer took too long.",
}
_ALWAYS = (401, 403, 421, 500)


class ModelDescription(Frozen):
    """The model that answers now."""

    model: str
    version: str
    inputs: tuple[str, ...]
    """What a row may have; any may be left out."""
    outputs: tuple[str, ...]


class Health(Frozen):
    """Of a server, or of its model."""

    status: str


def make_app(
    service: Service, access: Access, version: str, start: Callable[[], None], stop: Callable[[], None]
) -> App:
    """The app behind its entrance; `start` and `stop` are called with the server's."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        """While the server runs."""
        start()
        yield
        stop()

    app = FastAPI(
        title="crossmodal serve", version=version, lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None
    )
    app.add_exception_handler(HttpProblem, _answer_problem)
    app.add_exception_handler(HTTPException, _answer_problem)
    app.add_exception_handler(Exception, _answer_problem)
    _add_routes(app, service)
    _add_probes(app, service)
    document = _openapi(app)
    app.add_api_route("/openapi.json", lambda: document, include_in_schema=False)
    routes = {route.path for route in app.routes if hasattr(route, "path")}

    def done(path: str, status: int, seconds: float) -> None:
        """Counts a request; paths that are none of ours are one."""
        route = path if path in routes else "other"
        service.metrics.requests.labels(route, str(status)).inc()
        service.metrics.seconds.labels(route).observe(seconds)

    return Entrance(app, access, done)


async def _answer_problem(request: Request, error: Exception) -> Response:
    """Every error as problem+json."""
    if isinstance(error, HTTPException):
        code = "not-found" if error.status_code == 404 else "bad-request"
        error = HttpProblem(error.status_code, code, str(error.detail), headers=error.headers)
    if not isinstance(error, HttpProblem):  # it is raised again, and the entrance writes it to the log
        error = HttpProblem(500, "internal-error", "the server's log says why, under this request id")
    return error.response(request.state.request_id)


def _add_routes(app: FastAPI, service: Service) -> None:
    content = {
        "application/json": {"schema": {"$ref": "#/components/schemas/PredictRequest"}},
        "multipart/form-data": {"schema": _FORM},
    }

    @app.post(
        "/v1/predict",
        response_model=PredictResponse,
        responses=_problems(*_STATUSES),
        openapi_extra={"requestBody": {"required": True, "content": content}, "parameters": [_EXPLAIN]},
    )
    async def predict(request: Request) -> Response:
        """Predict rows: several as JSON with media in base64, or one as a form with a file for each input."""
        answers = await service.predict(request)
        return Response(answers.model_dump_json(), media_type="application/json", headers=_NO_STORE)

    @app.get("/v1/model", responses=_problems(*_ALWAYS))
    async def model(response: Response) -> ModelDescription:
        """The model that answers now, what it reads and what it gives out."""
        from tasks.modeling.decision import output_names

        response.headers.update(_NO_STORE)
        predictor = service.rotation.predictor
        return ModelDescription(
            model=predictor.name,
            version=predictor.version,
            inputs=tuple(predictor.columns),
            outputs=tuple(output_names(predictor.card)),
        )

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        """A page to try the model by hand."""
        headers = {**_NO_STORE, "Content-Security-Policy": CONTENT_SECURITY_POLICY}
        return Response(PAGE, media_type="text/html", headers=headers)


def _add_probes(app: FastAPI, service: Service) -> None:
    @app.get("/healthz", responses=_problems(403, 421, 500))
    async def healthz() -> Health:
        """Answers while the server runs."""
        return Health(status="ok")

    @app.get("/readyz", responses=_problems(403, 421, 500, 503))
    async def readyz() -> Health:
        """Whether requests are taken: not while the server ends."""
        if not service.ready:
            raise HttpProblem(503, "ending", "the server ends")
        return Health(status="ready")

    text: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}

    @app.get("/metrics", responses={**text, **_problems(*_ALWAYS)}, response_class=Response)
    async def metrics() -> Response:
        """Figures for Prometheus."""
        predictor = service.rotation.predictor
        return Response(service.metrics.text(predictor.name, predictor.version), media_type=CONTENT_TYPE)


_EXPLAIN = {
    "name": "explain",
    "in": "query",
    "required": False,
    "schema": {"type": "boolean", "default": False},
    "description": "Of a form, what `explain` is in JSON: also what the answer rests on.",
}
_FORM = {
    "type": "object",
    "description": "One row: a field for each input. Pictures, sounds and clips are files; a text is a field or a file.",
    "properties": {
        name: {"type": "string"} if name in IN_CELLS else {"type": "string", "format": "binary"}
        for name, spec in MODALITIES.items()
        if spec.joined_columns() is None
    },
    "additionalProperties": True,
}


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemBody"}}}
    return {status: {"description": _STATUSES[status], "content": content} for status in statuses}


def _openapi(app: FastAPI) -> dict[str, Any]:
    """The document, with the bodies that no signature names."""
    document = get_openapi(title=app.title, version=app.version, routes=app.routes)
    models = [(PredictRequest, "validation"), (ProblemBody, "serialization")]
    _, own = models_json_schema(models, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
    document["components"]["schemas"] |= own["$defs"]
    document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    return document
