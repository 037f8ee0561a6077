"""The C2PA library: loaded when it is needed, and set up so that it stays off the network and small in memory."""

from functools import cache
from typing import Any

from cals.errors import ConfigError

MISSING = "found none that loads; pip install 'cals[c2pa]'"
_SETTINGS: dict[str, Any] = {
    "builder": {"thumbnail": {"enabled": False}},
    # Manifests of inputs may name servers; nobody is to learn from a job that somebody has the file.
    "verify": {"verify_after_sign": False, "remote_manifest_fetch": False, "ocsp_fetch": False},
    # One hash of all frames takes a buffer of 256 MB, and a second one for the copy; hashes of 1 MB each take none.
    "core": {
        "backing_store_memory_threshold_in_mb": 16,
        "merkle_tree_chunk_size_in_kb": 1024,
        "merkle_tree_max_proofs": 0,
    },
}


@cache
def load_c2pa() -> Any:
    """Return the module `c2pa`, None where it is not installed or its library does not fit this system."""
    try:
        import c2pa
    except (ImportError, OSError, RuntimeError):
        return None
    return c2pa


def require_c2pa(purpose: str) -> Any:
    """Return the module `c2pa`; ConfigError that names the extra where there is none."""
    library = load_c2pa()
    if library is None:
        raise ConfigError(f"{purpose}: expected the package c2pa-python, {MISSING}")
    return library


def build_context(library: Any, anchors: str = "") -> Any:
    """Build the settings of one use; `anchors` are root certificates to trust, PEM."""
    trust = {"trust": {"user_anchors": anchors}} if anchors else {}
    return library.Context(library.Settings.from_dict(_SETTINGS | trust))
