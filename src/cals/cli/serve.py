"""`cals serve`: the HTTP API."""

import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from cals import hub
from cals.errors import ConfigError
from cals.serve.limits import ServeLimits

if TYPE_CHECKING:
    from cals.serve.config import ServeConfig

_EXTRA = ("fastapi", "starlette", "uvicorn", "prometheus_client", "python_multipart")


_LIMITS = ServeLimits()


def serve(
    *,
    data: Path = Path("cals-jobs"),
    inputs: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    names: tuple[str, ...] = (),
    origins: tuple[str, ...] = (),
    workers: int | None = None,
    ray: str | None = None,
    limits: Annotated[ServeLimits, tyro.conf.arg(name="")] = _LIMITS,
    model: str = hub.DEFAULT_MODEL,
    face_models: Path | None = None,
    device: str = "cpu",
    batch: int = 8,
    precision: Literal["auto", "fp32", "bf16"] = "auto",
    cache: Path | None = None,
    retries: int = 1,
    provenance: bool = True,
) -> None:
    """Serve jobs over HTTP; their queue survives a crash. Ctrl-C ends it. Needs `cals[serve]`.

    Use it only on people who agreed to it.

    Args:
        data: Folder of the server alone, for its database, uploads and results.
        inputs: Folder below which jobs may name files instead of sending them.
        host: Where to listen: 0.0.0.0 for the whole network, with a token.
        port: Port to listen on; 0 takes a free one.
        token: What clients send as `Authorization: Bearer`; by default that of the variable CALS_TOKEN.
        names: Names under which clients reach the server, beside the host, localhost and plain addresses.
        origins: Sites whose pages may send jobs, such as https://example.org.
        workers: Processes, each with a model of its own; 1 here by default, all processors of a cluster.
        ray: Address of a Ray cluster whose nodes see the same files, to work there; needs `cals[ray]`.
        limits: What one client may ask for.
        model: A name from `cals models list`, or a checkpoint folder.
        face_models: Folder with the two face networks, for machines without a network.
        device: Where the model runs, as torch names it.
        batch: Frames drawn at once.
        precision: What mouths are drawn in; `auto` is bf16 where that is faster, else fp32.
        cache: Folder that keeps the faces of videos, so that several speeches of one video track it once.
        retries: How often a job is tried again after its worker was killed, or a system error that may pass.
        provenance: Note in the files that the mouth is generated.
    """
    _check_extra()
    from cals.inference.batch import BatchConfig
    from cals.serve.config import ServeConfig

    jobs = BatchConfig(
        model=model,
        face_models=face_models,
        device=device,
        batch=batch,
        precision=precision,
        provenance=provenance,
        cache=None if cache is None else cache.absolute(),
        retries=retries,
    )
    config = ServeConfig(
        data=data,
        inputs=inputs,
        host=host,
        port=port,
        token=token or os.environ.get("CALS_TOKEN") or None,
        names=names,
        origins=origins,
        workers=(0 if ray else 1) if workers is None else workers,
        ray=ray,
        batch=jobs,
        limits=limits,
    )
    _run(config)


def _check_extra() -> None:
    """Raise ConfigError unless the libraries of the server are there."""
    for name in _EXTRA:
        try:
            import_module(name)
        except ImportError as error:
            raise ConfigError(
                f"serve: expected {name} to be installed, found none; pip install 'cals[serve]'"
            ) from error


def _run(config: "ServeConfig") -> None:
    from cals.serve.server import serve as run_server

    if config.is_public and config.token is None:
        raise ConfigError(
            f"token: expected one where others can reach {config.host}, found none; set CALS_TOKEN or --token"
        )
    try:
        run_server(config, lambda address: print(f"{address}/docs (Ctrl-C ends it)", flush=True))
    except KeyboardInterrupt:
        print(f"{config.data}: ended; jobs that wait go on with the next start")
