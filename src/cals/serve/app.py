"""The HTTP routes."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import asdict
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

import cals
from cals.serve.config import RequestError, refuse
from cals.serve.guard import Application, Guard, build_error_response, build_size_error
from cals.serve.multipart import Form, read_form
from cals.serve.page import build_request_schema, render_page
from cals.serve.requests import FORM_FIELDS
from cals.serve.service import JobView, Service
from cals.serve.store import STATES, create_id

_log = logging.getLogger(__name__)

_MAX_JSON_BYTES = 1 << 16
_CHUNK_TIMEOUT_S = 60
"""Time that a client may send nothing in the middle of a request."""
_DISCARD_BYTES, _DISCARD_S = 1 << 25, 5
"""How much of a request that is too large is read and thrown away, and for how long."""
_EVENT_STEP_S = 0.25
_KEEP_ALIVE_S = 15
_TYPES = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/quicktime",
    ".mkv": "video/x-matroska",
    ".webm": "video/webm",
}


def build_app(service: Service) -> Application:
    """Build the application over a service that is or will be entered."""
    app = FastAPI(
        title="cals",
        version=cals.__version__,
        description="Make a face speak: a video or photo and a speech to a video whose lips say it.",
        docs_url=None,
        redoc_url=None,
    )
    _add_job_routes(app, service)
    _add_file_routes(app, service)
    _add_plain_routes(app, service)
    _add_error_handlers(app)
    return Guard(app, service.config, service.metrics)


def _add_job_routes(app: FastAPI, service: Service) -> None:
    created: dict[int | str, dict[str, Any]] = {
        200: {"model": JobView, "description": "The job that the same Idempotency-Key made before"}
    }

    @app.post("/v1/jobs", status_code=202, responses=created, openapi_extra=build_request_schema())
    async def submit(request: Request, response: Response) -> JobView:
        """Queue a job. Files are sent, or named below the server's folder of inputs."""
        key = request.headers.get("idempotency-key")
        if key is not None and not (0 < len(key) <= 200 and key.isprintable()):
            raise refuse("Idempotency-Key: expected 1 to 200 characters, found others; use a UUID")
        await run_in_threadpool(service.check_room)
        job_id = create_id()
        folder = await run_in_threadpool(service.folders.create, job_id)
        is_new = False
        try:
            form = await _read_request(request, service, folder)
            job, is_new = await run_in_threadpool(service.submit, job_id, form, key)
        finally:
            if not is_new:
                service.folders.remove(job_id)
        response.status_code = HTTPStatus.ACCEPTED if is_new else HTTPStatus.OK
        response.headers["Location"] = f"/v1/jobs/{job.id}"
        return service.describe(job)

    @app.get("/v1/jobs")
    def list_jobs(state: str | None = None, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> list[JobView]:
        """List the latest jobs, the newest first."""
        if state is not None and state not in STATES:
            raise refuse(f"state: expected one of {', '.join(STATES)}, found {state[:40]!r}; choose one")
        return [service.describe(job) for job in service.store.list_jobs(state, limit)]

    @app.get("/v1/jobs/{job_id}")
    def show(job_id: str) -> JobView:
        """Tell the state of a job."""
        return service.describe(service.find(job_id))

    @app.post("/v1/jobs/{job_id}/cancel", status_code=202)
    def cancel(job_id: str) -> JobView:
        """Cancel a job; one that has ended stays as it is."""
        return service.describe(service.cancel(job_id))

    @app.delete("/v1/jobs/{job_id}", status_code=204)
    def remove(job_id: str) -> None:
        """Cancel a job, and remove its files and all that is known of it."""
        service.remove(job_id)


def _add_file_routes(app: FastAPI, service: Service) -> None:
    private = {"Cache-Control": "private, no-store"}

    @app.get("/v1/jobs/{job_id}/events", response_class=StreamingResponse)
    def follow(job_id: str) -> StreamingResponse:
        """Follow a job by server-sent events: `job` with its state at each change, until it has ended."""
        service.find(job_id)
        return StreamingResponse(
            _iterate_events(service, job_id), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )

    @app.get("/v1/jobs/{job_id}/result", response_class=FileResponse)
    def fetch(job_id: str) -> FileResponse:
        """Fetch the video; parts of it by the header Range."""
        path = service.locate_result(job_id)
        return FileResponse(path, media_type=_TYPES[path.suffix], filename=f"{job_id}{path.suffix}", headers=private)

    @app.get("/v1/jobs/{job_id}/report", response_class=Response)
    def fetch_report(job_id: str) -> Response:
        """Fetch what happened to every frame, where the job was sent with report=true."""
        text = service.locate_result(job_id, "report").read_text(encoding="utf-8")
        return Response(service.clean(text), media_type="application/json", headers=private)


def _add_plain_routes(app: FastAPI, service: Service) -> None:
    @app.get("/healthz")
    def check_health() -> dict[str, str]:
        """Tell that the server runs and its database can be read."""
        service.store.count_states()
        return {"status": "ok", "version": cals.__version__}

    @app.get("/metrics", response_class=Response)
    def show_metrics() -> Response:
        """Show counters in Prometheus' text format."""
        return Response(service.metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/docs", response_class=HTMLResponse, include_in_schema=False)
    def show_page() -> HTMLResponse:
        return HTMLResponse(render_page(app.openapi()))


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(RequestError)
    async def handle_request_error(request: Request, error: RequestError) -> JSONResponse:
        return build_error_response(error)

    @app.exception_handler(RequestValidationError)
    async def handle_invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        name = str(first["loc"][-1])
        return build_error_response(refuse(f"{name}: expected another value, found {first['msg']}; see /docs"))

    @app.exception_handler(HTTPException)
    async def handle_http(request: Request, error: HTTPException) -> JSONResponse:
        text = f"request: expected a known path and method, found none ({error.detail}); see /docs"
        return build_error_response(RequestError(HTTPStatus(error.status_code), text))

    @app.exception_handler(Exception)
    async def handle_internal_error(request: Request, error: Exception) -> JSONResponse:
        _log.error("%s: an error that cals should have foreseen", request.url.path, exc_info=error)
        text = "server: expected to answer, found an error that cals should have foreseen; see its log"
        return build_error_response(RequestError(HTTPStatus.INTERNAL_SERVER_ERROR, text))


async def _read_request(request: Request, service: Service, folder: Path) -> Form:
    """Read the fields of a request; files go to `folder`."""
    content_type = request.headers.get("content-type", "")
    chunks = _iterate_body(request, service)
    if content_type.partition(";")[0].strip().lower() != "application/json":
        return await read_form(chunks, content_type, folder, FORM_FIELDS)
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > _MAX_JSON_BYTES:
            raise RequestError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"request: expected at most {_MAX_JSON_BYTES} bytes of JSON, found more; send files as curl -F does",
            )
    try:
        values = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise refuse(f"request: expected a JSON object, found {type(error).__name__}; correct it") from error
    if not isinstance(values, dict):
        raise refuse(f"request: expected a JSON object, found {type(values).__name__}; correct it")
    return Form(fields=values)


async def _iterate_body(request: Request, service: Service) -> AsyncIterator[bytes]:
    """Yield the body within the limits of size and patience, whatever its headers claim."""
    size, stream, limit = 0, aiter(request.stream()), service.config.limits.max_upload_bytes
    length = request.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length[:20]) > limit:
        if "expect" not in request.headers:
            await _discard(stream)
        raise build_size_error(service.config)
    while True:
        try:
            chunk = await asyncio.wait_for(anext(stream, None), _CHUNK_TIMEOUT_S)
        except TimeoutError as error:
            raise RequestError(
                HTTPStatus.REQUEST_TIMEOUT, f"request: expected it whole, found silence for {_CHUNK_TIMEOUT_S} s"
            ) from error
        if chunk is None:
            return
        size += len(chunk)
        service.metrics.count_upload(len(chunk))
        if size > limit:
            await _discard(stream)
            raise build_size_error(service.config)
        yield chunk


async def _discard(stream: AsyncIterator[bytes]) -> None:
    """Read some more of a body, since most clients look for an answer only after they have sent it."""
    size = 0
    with suppress(TimeoutError, ClientDisconnect):
        async with asyncio.timeout(_DISCARD_S):
            async for chunk in stream:
                size += len(chunk)
                if size > _DISCARD_BYTES:
                    return


async def _iterate_events(service: Service, job_id: str) -> AsyncIterator[str]:
    last, silent_s = "", 0.0
    while not service.closing.is_set():
        job = await run_in_threadpool(service.store.find, job_id)
        if job is None:
            yield "event: removed\ndata: {}\n\n"
            return
        text = json.dumps(asdict(await run_in_threadpool(service.describe, job)))
        if text != last:
            yield f"event: job\ndata: {text}\n\n"
            last, silent_s = text, 0.0
        if job.has_ended:
            return
        await asyncio.sleep(_EVENT_STEP_S)
        silent_s += _EVENT_STEP_S
        if silent_s > _KEEP_ALIVE_S:
            yield ": still there\n\n"
            silent_s = 0.0
