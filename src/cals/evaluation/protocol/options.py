"""Options of an evaluation, the same ones for command line and Python; light to import."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """The models that score, what is scored beside the methods, and where."""

    sync: Path | None = None
    """Checkpoint folder of the sync encoders; default: those that ship (`quick`: none)."""
    syncnet: Path | None = None
    """The original SyncNet's file syncnet_v2.model, to judge LSE and offset by."""
    offsets: Path | None = None
    """With --drive rolled: JSON of clip names and the frames of 1/25 s by which their pictures are late; others are
    found."""
    dlib: Path | None = None
    """dlib's shape_predictor_68_face_landmarks.dat, for LMD by its points too (pip install dlib-bin)."""
    copy: bool = True
    """Judge the baseline that copies mouths too."""
    truth: bool = True
    """Show the real clips as a row, for what needs no comparison with them."""
    shown: int = 2
    """Pairs a part and kind that are shown side by side on the page."""
    workers: int | None = None
    """Processes; 1 here by default, all processors of a cluster."""
    ray: str | None = None
    """Address of a Ray cluster whose nodes see the same folders, to work there: `auto` where this machine belongs to
    one, `local` for one of this machine alone; needs `cals[ray]`."""
    face_models: Path | None = None
    """Folder with the two face networks, for machines without a network."""
    device: str = "cpu"
    """Where the models run, as torch names it."""
    batch: int = 8
    """Frames rendered at once."""
