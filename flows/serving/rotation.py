"""The model that answers now. When the alias moves, the new one is loaded beside the old one, and takes over between two
requests: what the old one has begun it ends."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from data_contracts.refs import ChampionRef
from flows.serving.heap import settle_heap
from flows.serving.predictor import Predictor
from tasks.errors import CrossmodalError

log = logging.getLogger("crossmodal.serve")


class _InUse:
    """A model and the number of requests that use it."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self.users = 0
        self.retired = False


class Rotation:
    """The current model; safe among threads."""

    def __init__(self, predictor: Predictor) -> None:
        self._lock = threading.Lock()
        self._current = _InUse(predictor)

    @property
    def predictor(self) -> Predictor:
        """The current one, to look at; who predicts with it takes it by `use`."""
        return self._current.predictor

    @contextmanager
    def use(self) -> Iterator[Predictor]:
        """The current one, which stays until the end of the block."""
        with self._lock:
            held = self._current
            held.users += 1
        try:
            yield held.predictor
        finally:
            with self._lock:
                held.users -= 1
                unused = held.retired and not held.users
            if unused:
                _end(held.predictor)

    def replace(self, predictor: Predictor) -> None:
        """From now on this one answers; the previous one ends with its last request."""
        with self._lock:
            previous, self._current = self._current, _InUse(predictor)
            previous.retired = True
            unused = not previous.users
        if unused:
            _end(previous.predictor)


def _end(predictor: Predictor) -> None:
    """Its processes end, in a thread: they may have to be waited for, and requests may not."""
    threading.Thread(target=_retire, args=(predictor.close,), name="retire", daemon=True).start()


def _retire(close: Callable[[], object]) -> None:
    close()
    settle_heap()


class AliasWatch:
    """Polls the alias, in a thread of its own, and replaces the model when it has moved."""

    def __init__(
        self,
        rotation: Rotation,
        find: Callable[[], ChampionRef],
        load: Callable[[ChampionRef], Predictor],
        poll_interval_s: float,
        swapped: Callable[[bool], None],
    ) -> None:
        """`swapped` is called after each try to load another version: whether it went well."""
        self._rotation, self._find, self._load, self._poll_interval_s = rotation, find, load, poll_interval_s
        self._swapped = swapped
        self._last_error = ""
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alias", daemon=True)

    def start(self) -> None:
        """The thread runs."""
        self._thread.start()

    def close(self) -> None:
        """The thread has ended."""
        self._stopped.set()
        self._thread.join()

    def poll(self) -> None:
        """The model of the alias answers; where it cannot be found or loaded the old one stays, and the log says why."""
        try:
            found = self._find()
            if found.version == self._rotation.predictor.version:
                self._last_error = ""
                return
            predictor = self._load(found)
            predictor.warm_up()
        except CrossmodalError as error:
            if str(error) != self._last_error:  # once, and not at every poll
                log.warning("version %s stays: %s", self._rotation.predictor.version, error)
            self._last_error = str(error)
            self._swapped(False)
            return
        self._last_error = ""
        previous = self._rotation.predictor.version
        self._rotation.replace(predictor)
        self._swapped(True)
        log.warning("version %s answers now, instead of %s", found.version, previous)

    def _run(self) -> None:
        while not self._stopped.wait(self._poll_interval_s):
            try:
                self.poll()
            except Exception:
                log.exception("version %s stays", self._rotation.predictor.version)
                self._swapped(False)
