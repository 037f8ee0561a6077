"""Import of the phonetic front-end's checkpoint from a published Whisper file."""

import dataclasses
import hashlib
import logging
from pathlib import Path

from cals import hub
from cals.checkpoint import Checkpoint
from cals.errors import CheckpointError
from cals.files import describe_os_error
from cals.models.interop.ctranslate import load_whisper_encoder
from cals.models.whisper import KIND, WhisperConfig
from cals.training.release import check_output_folder, write_release

logger = logging.getLogger(__name__)


def import_front_end(source: Path | None, out: Path, *, force: bool = False) -> Path:
    """Write the lower half of Whisper tiny.en's encoder in half precision to `out`; returns `out`.

    `source` is a CTranslate2 `model.bin`; None is that of `hub.WHISPER`, downloaded if necessary. Another conversion is
    accepted, with a warning, if its sizes fit. With `force` an older checkpoint at `out` is replaced; its card and
    licence are kept. Raises CheckpointError.
    """
    place = out.resolve()
    check_output_folder(place, [] if source is None else [source], force=force)
    path = hub.download_files((hub.WHISPER_FILE,))[0] if source is None else source
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"{path}: expected a CTranslate2 model.bin, found {describe_os_error(error)}; name the file"
        ) from error
    config = WhisperConfig()
    weights = load_whisper_encoder(data, config)
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 != hub.WHISPER_FILE.sha256:
        logger.warning(
            "%s: sha256 is %s, not %s of the known file; its sizes are right, but they do not tell tiny.en from tiny, "
            "nor from a fine-tuned one; models that were trained with the shipped weights refuse others",
            *(path, sha256, hub.WHISPER_FILE.sha256),
        )
    write_release(place, Checkpoint(kind=KIND, config=dataclasses.asdict(config), weights=weights))
    return out
