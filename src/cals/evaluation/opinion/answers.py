"""Answers of raters: validated, a line each in a file for every rater, without duplicates."""

import json
import os
import re
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cals.data.shards import convert_write_errors
from cals.errors import DataError
from cals.evaluation.opinion.study import QUESTIONS, SCALE, Study
from cals.files import describe_os_error

MAX_RATERS = 10_000
_RATER = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Scores that one rater gave one video."""

    study: str
    rater: str
    """Random id from the rater's browser; it identifies nobody."""
    number: int
    """Number of the rater's plan."""
    trial: int
    """Index in the plan; with the rater it makes the answer's id."""
    video: str
    scores: dict[str, int]
    """Question -> 1 to 5."""

    @property
    def id(self) -> str:
        return f"{self.rater}-{self.trial}"


def check_answer(document: object, study: Study) -> Answer:
    """Build an answer from untrusted JSON, without its other contents; DataError unless it fits the study."""
    try:
        answer = Answer(**{name: document[name] for name in Answer.__dataclass_fields__})  # type: ignore[index]
        number, trial = _check_index(answer.number, len(study.plans)), answer.trial
        expected = study.names[study.plans[number][_check_index(trial, len(study.stimuli))]]
        scores = {question.key: answer.scores[question.key] for question in QUESTIONS}
        fits = answer.study == study.id and answer.video == expected and is_rater(answer.rater)
        if not fits or len(answer.scores) > len(scores):
            raise ValueError("another study, video or rater")
        if not all(type(score) is int and score in SCALE for score in scores.values()):
            raise ValueError(f"scores {scores}")
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"answer: expected one of study {study.id}, found something else: {error}") from error
    return answer


def _check_index(value: object, below: int) -> int:
    if type(value) is not int or not 0 <= value < below:
        raise ValueError(f"{value!r} where a number from 0 to {below - 1} belongs")
    return value


def is_rater(name: object) -> bool:
    """Return whether the name is a rater's id, and so safe as a file name."""
    return isinstance(name, str) and _RATER.fullmatch(name) is not None


def read_answers(paths: Iterable[Path], study: Study) -> tuple[list[Answer], int]:
    """Read the answers of files, each once; returns the number of unusable lines too.

    Raises DataError when a file cannot be read, or belongs to another study.
    """
    answers: dict[str, Answer] = {}
    damaged = 0
    for path in paths:
        for document in _read_lines(path):
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
                    answers.setdefault(answer.id, answer)
    return list(answers.values()), damaged


def _read_lines(path: Path) -> list[dict[str, Any] | None]:
    """Read the lines of a file; None for a line that is no object, as a power cut may leave it."""
    try:
        lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except OSError as error:
        raise DataError(
            f"{path}: expected a file of answers, found {describe_os_error(error)}; name another"
        ) from error
    return [_parse_object(line) for line in lines if line.strip()]


def _parse_object(line: str) -> dict[str, Any] | None:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


class AnswerBook:
    """Files of a running study, one for each rater, whose first line has the number of the rater's plan.

    Safe to use from several threads, but by one server at a time. Raises DataError when a file cannot be written.
    """

    def __init__(self, folder: Path, study: Study) -> None:
        self._folder, self._study = folder, study
        self._lock = threading.Lock()
        self._numbers: dict[str, int] = {}
        self._trials: dict[str, set[int]] = {}
        with convert_write_errors(folder):
            folder.mkdir(exist_ok=True)
        for path in sorted(folder.glob("*.jsonl")):
            self._read(path)

    def _read(self, path: Path) -> None:
        if not is_rater(path.stem):
            return
        with convert_write_errors(path), path.open("ab") as file:
            if file.tell() and not path.read_bytes().endswith(b"\n"):
                file.write(b"\n")  # a power cut left half a line
        documents = [document for document in _read_lines(path) if document is not None]
        answers, _ = read_answers([path], self._study)
        numbers = [document["number"] for document in documents if type(document.get("number")) is int]
        if numbers:
            self._numbers[path.stem] = numbers[0] % len(self._study.plans)
        self._trials[path.stem] = {answer.trial for answer in answers}

    def enter(self, rater: str, number: int | None = None) -> int:
        """Return the number of a rater's plan, the first of those that fewest raters have; later calls return the same.

        A rater whose file is lost passes the earlier `number`.
        """
        with self._lock:
            if rater not in self._numbers:
                if len(self._numbers) >= MAX_RATERS:
                    raise DataError(f"raters: expected at most {MAX_RATERS}, found one more; look who is calling")
                if number is None or not 0 <= number < len(self._study.plans):
                    counts = Counter(self._numbers.values())
                    number = min(range(len(self._study.plans)), key=lambda one: (counts[one], one))
                self._append(rater, [{"study": self._study.id, "rater": rater, "number": number}])
                self._numbers[rater] = number
            return self._numbers[rater]

    def add(self, answers: Sequence[Answer]) -> list[str]:
        """Write new answers; returns the ids of all answers, which are on disk now."""
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
        """Return the number of raters, and of those who answered everything."""
        with self._lock:
            finished = sum(len(trials) == len(self._study.stimuli) for trials in self._trials.values())
            return len(self._numbers), finished

    def _append(self, rater: str, documents: Sequence[dict[str, Any]]) -> None:
        """Append whole lines or none."""
        path = self._folder / f"{rater}.jsonl"
        data = "".join(json.dumps(document) + "\n" for document in documents).encode()
        with convert_write_errors(path), path.open("ab", buffering=0) as file:
            end = file.tell()
            try:
                if file.write(data) < len(data):
                    raise OSError("room for a part of it only")
                os.fsync(file.fileno())
            except OSError:
                file.truncate(end)
                raise
