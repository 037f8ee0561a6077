"""A stand-in for the module `ray`, as far as `cals.workers` uses it: actors are threads of this process."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import wait as wait_futures
from contextlib import suppress
from types import SimpleNamespace
from typing import Any


class RayError(Exception):
    """The base of Ray's errors."""


NAMES = (
    "RayActorError",
    "WorkerCrashedError",
    "NodeDiedError",
    "OutOfMemoryError",
    "ObjectLostError",
    "RaySystemError",
)


class Ref:
    """A result that may be there."""

    def __init__(self) -> None:
        self._future: Future[Any] = Future()

    def future(self) -> "Future[Any]":
        return self._future


class FakeRay:
    """The module; `room` is the number of processors that the cluster still has for actors."""

    def __init__(self, room: int) -> None:
        self.exceptions = SimpleNamespace(**{name: type(name, (RayError,), {}) for name in NAMES})
        self.processors, self.room = room, room
        self.actors: list[FakeActor] = []

    def is_initialized(self) -> bool:
        return False

    def init(self, **settings: Any) -> None:
        self.settings = settings

    def shutdown(self) -> None:
        pass

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": float(self.processors)}

    def remote(self, **options: Any) -> Callable[[type], Any]:
        def build(kind: type, *arguments: Any) -> FakeActor:
            self.actors.append(FakeActor(self, kind, arguments))
            return self.actors[-1]

        return lambda kind: SimpleNamespace(remote=lambda *arguments: build(kind, *arguments))

    def wait(self, refs: list[Ref], timeout: float) -> tuple[list[Ref], list[Ref]]:
        done = wait_futures([ref.future() for ref in refs], min(timeout, 0.05)).done
        return [ref for ref in refs if ref.future() in done], [ref for ref in refs if ref.future() not in done]

    def get(self, ref: Ref) -> Any:
        return ref.future().result()

    def kill(self, actor: "FakeActor") -> None:
        actor.die()


class FakeActor:
    """An actor that begins when there is room, and runs its calls one after another."""

    def __init__(self, ray: FakeRay, kind: type, arguments: tuple[Any, ...]) -> None:
        self._ray, self._kind, self._arguments = ray, kind, arguments
        self._refs, self._lock = list[Ref](), threading.RLock()
        self._worker: Any = None
        self._has_room, self.is_dead = False, False
        self.run = SimpleNamespace(remote=lambda job: self._call("run", job))
        self.answer = SimpleNamespace(remote=lambda: self._call("answer"))

    def _call(self, name: str, *arguments: Any) -> Ref:
        ref = Ref()
        self._refs.append(ref)
        threading.Thread(target=self._work, args=(ref, name, arguments), daemon=True).start()
        return ref

    def _work(self, ref: Ref, name: str, arguments: tuple[Any, ...]) -> None:
        while not self._begin() and not self.is_dead:
            threading.Event().wait(0.01)
        if self.is_dead:
            self._end(ref, self._ray.exceptions.RayActorError("the actor is dead"))
            return
        try:
            self._end(ref, None, getattr(self._worker, name)(*arguments))
        except Exception as error:
            self._end(ref, error)

    def _begin(self) -> bool:
        with self._lock:
            if self._worker is None and self._ray.room > 0 and not self.is_dead:
                self._ray.room -= 1
                self._has_room = True
                try:
                    self._worker = self._kind(*self._arguments)
                except Exception:  # such as a library that a node lacks
                    self.die()
            return self._worker is not None and not self.is_dead

    @staticmethod
    def _end(ref: Ref, error: Exception | None, result: Any = None) -> None:
        with suppress(Exception):  # it died meanwhile
            ref.future().set_result(result) if error is None else ref.future().set_exception(error)

    def die(self, *, with_node: bool = False) -> None:
        """End the actor; its processor is free again, unless the node dies with it."""
        with self._lock:
            if self._has_room and not self.is_dead and not with_node:
                self._ray.room += 1
            self.is_dead = True
        for ref in self._refs:
            self._end(ref, self._ray.exceptions.RayActorError("the actor died"))
