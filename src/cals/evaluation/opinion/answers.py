"""What raters answered: checked word by word, a line each in a file a rater, never the same answer twice."""

import json
import os
import re
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cals.data.shards import writing
from cals.errors import DataError
from cals.evaluation.opinion.study import QUESTIONS, SCALE, Study
from cals.files import why

MOST_RATERS = 10_000
_RATER = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one rater said of one video."""

    study: str
    rater: str
    """Drawn by the rater's browser; stands for nobody."""
    number: int
    """Of the rater's plan."""
    trial: int
    """Place in the plan, from 0; with the rater it makes the answer's id."""
    video: str
    scores: dict[str, int]
    """Question -> 1 to 5."""

    @property
    def id(self) -> str:
        return f"{self.rater}-{self.trial}"


def check_answer(document: object, study: Study) -> Answer:
    """An answer out of a stranger's JSON, with nothing else that it may hold; DataError unless it fits the study."""
    try:
        answer = Answer(**{name: document[name] for name in Answer.__dataclass_fields__})  # type: ignore[index]
        number, trial = _whole(answer.number, len(study.plans)), answer.trial
        shown = study.names[study.plans[number][_whole(trial, len(study.stimuli))]]
        scores = {question.key: answer.scores[question.key] for question in QUESTIONS}
        fits = answer.study == study.id and answer.video == shown and is_rater(answer.rater)
        if not fits or len(answer.scores) > len(scores):
            raise ValueError("another study, video or rater")
        if not all(type(score) is int and score in SCALE for score in scores.values()):
            raise ValueError(f"scores {scores}")
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"answer: expected one of study {study.id}, found something else: {error}") from error
    return answer


def _whole(value: object, below: int) -> int:
    if type(value) is not int or not 0 <= value < below:
        raise ValueError(f"{value!r} where a number from 0 to {below - 1} belongs")
    return value


def is_rater(name: object) -> bool:
    """Whether a rater can be called so, and a file with it."""
    return isinstance(name, str) and _RATER.fullmatch(name) is not None


def read_answers(paths: Iterable[Path], study: Study) -> tuple[list[Answer], int]:
    """The answers in some files, each once, and how many lines could not be used.

    Raises DataError when a file cannot be read, or belongs to another study.
    """
    found: dict[str, Answer] = {}
    damaged = 0
    for path in paths:
        for document in _documents(path):
            if document is None:
                damaged += 1
            elif document.get("study") != study.id:
                raise DataError(
                    f"{path}: expected answers of study {study.id}, found {str(document.get('study'))[:40]!r}; "
                    "name the files of this study"
                )
            elif "trial" in document:
                try:
                    answer = check_answer(document, study)
                except DataError:
                    damaged += 1
                else:
                    found.setdefault(answer.id, answer)
    return list(found.values()), damaged


def _documents(path: Path) -> list[dict[str, Any] | None]:
    """A file's lines; None for one that holds no object, as a power cut may leave it."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise DataError(f"{path}: expected a file of answers, found {why(error)}; name another") from error
    return [_object(line) for line in lines if line.strip()]


def _object(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


class AnswerBook:
    """The files of a running study, a rater each, whose first line says which plan the rater got.

    Safe to use from several threads, but by one server at a time. Raises DataError when a file cannot be written.
    """

    def __init__(self, folder: Path, study: Study) -> None:
        self._folder, self._study = folder, study
        self._lock = threading.Lock()
        self._numbers: dict[str, int] = {}
        self._trials: dict[str, set[int]] = {}
        with writing(folder):
            folder.mkdir(exist_ok=True)
        for path in sorted(folder.glob("*.jsonl")):
            self._read(path)

    def _read(self, path: Path) -> None:
        if not is_rater(path.stem):
            return
        with writing(path), path.open("ab") as file:
            if file.tell() and not path.read_bytes().endswith(b"\n"):
                file.write(b"\n")  # a power cut left half a line
        documents = [document for document in _documents(path) if document is not None]
        answers, _ = read_answers([path], self._study)
        numbers = [document["number"] for document in documents if type(document.get("number")) is int]
        if numbers:
            self._numbers[path.stem] = numbers[0] % len(self._study.plans)
        self._trials[path.stem] = {answer.trial for answer in answers}

    def enter(self, rater: str, number: int | None = None) -> int:
        """The number of a rater's plan: of those that fewest raters have the first; the same again for the same one.

        A rater whose file is gone brings the `number` along.
        """
        with self._lock:
            if rater not in self._numbers:
                if len(self._numbers) >= MOST_RATERS:
                    raise DataError(f"raters: expected at most {MOST_RATERS}, found one more; look who is calling")
                if number is None or not 0 <= number < len(self._study.plans):
                    taken = Counter(self._numbers.values())
                    number = min(range(len(self._study.plans)), key=lambda one: (taken[one], one))
                self._append(rater, [{"study": self._study.id, "rater": rater, "number": number}])
                self._numbers[rater] = number
            return self._numbers[rater]

    def add(self, answers: Sequence[Answer]) -> list[str]:
        """Keep what is not there yet; returns the ids of all of them, which are safe on disk now."""
        with self._lock:
            fresh: dict[str, dict[int, Answer]] = {}
            for answer in answers:
                if self._numbers.get(answer.rater) != answer.number:
                    raise DataError(f"answer: expected one of a rater with plan {answer.number}, found another")
                if answer.trial not in self._trials.get(answer.rater, ()):
                    fresh.setdefault(answer.rater, {}).setdefault(answer.trial, answer)
            for rater, by_trial in fresh.items():
                self._append(rater, [asdict(answer) for answer in by_trial.values()])
                self._trials.setdefault(rater, set()).update(by_trial)
            return [answer.id for answer in answers]

    def count(self) -> tuple[int, int]:
        """Raters who came, and those who answered everything."""
        with self._lock:
            done = sum(len(trials) == len(self._study.stimuli) for trials in self._trials.values())
            return len(self._numbers), done

    def _append(self, rater: str, documents: Sequence[dict[str, Any]]) -> None:
        """Whole lines or none."""
        path = self._folder / f"{rater}.jsonl"
        data = "".join(json.dumps(document) + "\n" for document in documents).encode()
        with writing(path), path.open("ab", buffering=0) as file:
            before = file.tell()
            try:
                if file.write(data) < len(data):
                    raise OSError("room for a part of it only")
                os.fsync(file.fileno())
            except OSError:
                file.truncate(before)
                raise
