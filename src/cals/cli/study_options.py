"""Options shared by `cals context`, `cals masked` and `cals noisy`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from cals.cli.progress import show_progress

if TYPE_CHECKING:
    from cals.evaluation.studies.common import StudyConfig, StudyReport
    from cals.inference.lipsync import LipSync


@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """A model, a corpus, and how they are measured."""

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """A name from `cals models list`, or a checkpoint folder."""
    corpus: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="CORPUS")]
    """A folder made by `cals prepare` or `cals synthetic`."""
    out: Path
    """The folder for the results; started again with the same one, the study goes on where it stopped."""
    splits: Path | None = None
    """JSON file with the clip names of each part; default: all clips of the corpus."""
    parts: tuple[str, ...] = ("val_seen", "val_unseen")
    """Parts of the splits to use."""
    clips: int | None = None
    """At most so many clips per part, evenly spaced; default: all."""
    measure: Literal["picture", "mesh"] = "picture"
    """`picture`: draw the faces and track them anew; `mesh`: take the mesh that the model says, for models that have
    one: cheap, and for drawn faces that no tracker finds."""
    seed: int = 0
    """Seed of the bootstrap."""
    face_models: Path | None = None
    """Folder with the two face networks, for machines without a network."""
    device: str = "cpu"
    """Where the models run, as torch names it."""
    batch: int = 16
    """Frames rendered at once."""
    force: bool = False
    """Overwrite earlier results, and unfinished work with other settings."""

    def load_lips(self, model: str | None = None) -> "LipSync":
        """Load a model, by default the one that is studied."""
        from cals.inference.lipsync import LipSync

        return LipSync(model or self.model, face_models=self.face_models, device=self.device, batch=self.batch)

    def run(
        self,
        title: str,
        measure: Callable[..., "StudyReport"],
        config: "StudyConfig",
        files: Sequence[str],
        **more: Any,
    ) -> None:
        """Measure the model by a study, print the summary and name the files; `more` are the study's own arguments."""
        lips = self.load_lips()
        with show_progress(f"{title} {lips.model.name}", "clips") as progress:
            report = measure(
                lips,
                corpus=self.corpus,
                out=self.out,
                config=config,
                splits=self.splits,
                face_models=self.face_models,
                force=self.force,
                progress=progress,
                **more,
            )
        print(report.format_summary())
        print(f"{self.out}: {', '.join(files)}")

    def get_config_options(self) -> dict[str, Any]:
        """Return the options that every study's config takes."""
        return {
            "parts": self.parts,
            "clips": self.clips,
            "measure": self.measure,
            "seed": self.seed,
        }


@dataclass(frozen=True, kw_only=True)
class MaskingOptions(StudyOptions):
    """Options of studies that mask the sound of Audio-to-Lip."""

    a2l: Path | None = None
    """Checkpoint folder of the Audio-to-Lip that the model was trained from, to take in place of its own, which may
    have forgotten what hidden sound is."""
