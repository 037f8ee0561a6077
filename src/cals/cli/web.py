"""`cals web`: the page in a browser."""

from pathlib import Path
from typing import Literal

from cals import hub


def web(
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    token: str | None = None,
    max_mb: int = 500,
    max_minutes: float = 10.0,
    model: str = hub.DEFAULT_MODEL,
    face_models: Path | None = None,
    device: str = "cpu",
    batch: int = 8,
    precision: Literal["auto", "fp32", "bf16"] = "auto",
) -> None:
    """Open the page for people who never use a terminal: drop a face and a speech, get a video. Ctrl-C ends it.

    Needs `cals[web]`. Only this machine can reach it, unless --host and --token are given.

    Args:
        host: Where to listen: 0.0.0.0 for the whole network, which needs --token.
        port: Where to listen; 0 takes a free one.
        token: Secret of 12 letters and digits or more, which a browser shows once by the address that is printed.
        max_mb: Largest upload in megabytes.
        max_minutes: Longest video or speech.
        model: A name from `cals models list`, or a checkpoint folder.
        face_models: Folder with the two face networks, for machines without a network.
        device: Where the model runs, as torch names it.
        batch: Frames drawn at once.
        precision: What mouths are drawn in; `auto` is bf16 where that is faster, else fp32.
    """
    from cals.web.config import ModelConfig, WebConfig

    config = WebConfig(host=host, port=port, token=token, max_mb=max_mb, max_minutes=max_minutes)
    from cals.web.server import serve_page

    models = ModelConfig(model=model, face_models=face_models, device=device, batch=batch, precision=precision)
    try:
        serve_page(config, models, lambda address: print(f"cals web: {address} (Ctrl-C ends it)", flush=True))
    except KeyboardInterrupt:
        print("cals web: ended, all its files are removed")
