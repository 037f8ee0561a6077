"""Study on disk: its questions, the stimuli behind the blind names, and every rater's order."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from cals.errors import DataError
from cals.files import describe_os_error

FORMAT = 1
STUDY, KEY, SITE, ANSWERS = "study.json", "key.json", "site", "answers"
"""Contents of a study's folder; only `SITE` is served."""
SCALE = range(1, 6)
SYNC = "sync"
"""Question that catch trials are screened by."""
Plan = list[int]
"""Indices of a rater's stimuli, in the order of the trials."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """Question that is answered on `SCALE`, with labels for its ends."""

    key: str
    title: str
    text: str
    low: str
    high: str


QUESTIONS = (
    Question(
        key="quality",
        title="visual quality",
        text="How good is the picture of the face?",
        low="very bad",
        high="very good",
    ),
    Question(
        key=SYNC,
        title="lip-sync quality",
        text="How well do the lips fit what is heard?",
        low="not at all",
        high="perfectly",
    ),
    Question(
        key="realness",
        title="realness",
        text="How real does the person look?",
        low="clearly fake",
        high="like a real video",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Stimulus:
    """One video as a rater sees it."""

    role: Literal["trial", "practice", "catch"]
    method: str
    clip: str
    sound: str
    """Clip of the sound; another one in half of the catch trials."""

    def blind_name(self, seed: int, study: str) -> str:
        """Compute a name of 16 hexadecimal digits that reveals nothing without the seed, and is of that study alone."""
        text = "\0".join((str(seed), study, self.role, self.method, self.clip, self.sound))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study without its videos and answers."""

    id: str
    """Id that answers of this study carry."""
    seed: int
    methods: tuple[str, ...]
    clips: tuple[str, ...]
    stimuli: dict[str, Stimulus]
    """Blind name -> stimulus, in the order that plans index."""
    plans: tuple[Plan, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Blind names in the order that plans index."""
        return tuple(self.stimuli)

    @property
    def practice(self) -> int:
        """Number of practice trials."""
        return sum(one.role == "practice" for one in self.stimuli.values())

    def find_stimulus(self, number: int, trial: int) -> Stimulus:
        """Return the stimulus of a trial, from 0, in plan `number`."""
        return self.stimuli[self.names[self.plans[number][trial]]]

    def write(self, folder: Path) -> None:
        """Write `STUDY`, and `KEY`, which raters must not see."""
        facts = {
            "format": FORMAT,
            "id": self.id,
            "seed": self.seed,
            "methods": self.methods,
            "clips": self.clips,
            "questions": [asdict(question) for question in QUESTIONS],
            "plans": self.plans,
        }
        key = {name: asdict(stimulus) for name, stimulus in self.stimuli.items()}
        for name, document in ((STUDY, facts), (KEY, key)):
            (folder / name).write_text(json.dumps(document) + "\n", encoding="utf-8")

    def build_page_document(self) -> dict[str, Any]:
        """Return the JSON of the page, without the key."""
        return {
            "id": self.id,
            "practice": self.practice,
            "questions": [asdict(question) for question in QUESTIONS],
            "scale": list(SCALE),
            "videos": self.names,
            "plans": self.plans,
        }


def read_study(folder: Path) -> Study:
    """Read a study that `Study.write` wrote; DataError when there is none, or it is invalid."""
    try:
        facts = json.loads((folder / STUDY).read_text(encoding="utf-8"))
        key = json.loads((folder / KEY).read_text(encoding="utf-8"))
        if facts["format"] != FORMAT:
            raise ValueError(f"format {facts['format']} instead of {FORMAT}")
        stimuli = {name: Stimulus(**values) for name, values in key.items()}
        plans = tuple(facts["plans"])
        if any(sorted(plan) != list(range(len(stimuli))) for plan in plans) or not plans:
            raise ValueError("orders of other videos than those of the key")
    except OSError as error:
        raise DataError(
            f"{folder}: expected a study made by `cals study make`, found {describe_os_error(error)} for "
            f"{STUDY} or {KEY}; name its folder"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{folder}: expected a study that can be read, found {error}; make it anew") from error
    return Study(
        id=facts["id"],
        seed=facts["seed"],
        methods=tuple(facts["methods"]),
        clips=tuple(facts["clips"]),
        stimuli=stimuli,
        plans=plans,
    )
