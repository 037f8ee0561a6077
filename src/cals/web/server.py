"""Server of the page: Gradio behind the guard, with uploads in a folder that goes at the end."""

import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

from cals.errors import ConfigError
from cals.files import describe_os_error
from cals.web.config import ModelConfig, WebConfig

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before gradio is imported

try:
    import fastapi
    import gradio as gr
    import uvicorn
except ImportError as error:
    raise ConfigError(
        "web: expected gradio, found it is not installed; install it with: pip install 'cals[web]'"
    ) from error

from cals.web.engine import Engine
from cals.web.guard import Guard
from cals.web.page import HEAD, STYLE, build_page, build_theme
from cals.web.sessions import Sessions


def build_app(engine: Engine, sessions: Sessions) -> Guard:
    """Build the ASGI app; `sessions` lie in the folder where Gradio puts uploads."""
    config = engine.config
    os.environ["GRADIO_TEMP_DIR"] = str(sessions.root)
    app = gr.mount_gradio_app(
        fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None),
        build_page(engine, sessions),
        "",
        footer_links=[],
        run_history=False,
        max_file_size=config.max_mb << 20,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=build_theme(),
        css_paths=[STYLE],
        head=HEAD,
    )
    return Guard(app, config)


def serve_page(config: WebConfig, model: ModelConfig, report: Callable[[str], None]) -> None:
    """Serve the page until Ctrl-C; `report` gets its address once it listens.

    Raises ConfigError where it cannot listen, and what `LipSync` raises.
    """
    listener = _listen(config)
    with listener, tempfile.TemporaryDirectory(prefix="cals-web-") as root:
        engine, sessions = Engine(config, model), Sessions(Path(root).resolve())
        app = build_app(engine, sessions)
        host = f"[{config.host}]" if ":" in config.host else config.host
        query = "" if config.token is None else f"?token={config.token}"
        report(f"http://{host}:{listener.getsockname()[1]}/{query}")
        settings = uvicorn.Config(
            app, log_level="warning", access_log=False, timeout_graceful_shutdown=2, server_header=False, ws="none"
        )
        try:
            uvicorn.Server(settings).run(sockets=[listener])
        finally:
            sessions.close_all()


def _listen(config: WebConfig) -> socket.socket:
    """Listen at once, so that a taken port is told before models load."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((config.host, config.port))
        listener.listen(64)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"{config.host}:{config.port}: expected a place to listen, found {describe_os_error(error)}; try another "
            "--port"
        ) from error
    return listener
