"""The model that answers now. When the alias moves, the new one is loaded beside the old one, and takes over between two
requests: what the old one has begun it ends."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from data_contracts.refs import ChampionRef
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
        self._now = _InUse(predictor)

    @property
    def predictor(self) -> Predictor:
        """The current one, to look at; who predicts with it takes it by `use`."""
        return self._now.predictor

    @contextmanager
    def use(self) -> Iterator[Predictor]:
        """The current one, which stays until the end of the block."""
        with self._lock:
            held = self._now
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
        """From now on this one answers; the former one ends with its last request."""
        with self._lock:
            former, self._now = self._now, _InUse(predictor)
            former.retired = True
            unused = not former.users
        if unused:
            _end(former.predictor)


def _end(predictor: Predictor) -> None:
    """Its processes end, in a thread: they may have to be waited for, and requests may not."""
    threading.Thread(target=predictor.close, name="retire", daemon=True).start()


class AliasWatch:
    """Looks at the alias now and then, in a thread of its own, and replaces the model when it has moved."""

    def __init__(
        self,
        rotation: Rotation,
        find: Callable[[], ChampionRef],
        load: Callable[[ChampionRef], Predictor],
        every_s: float,
        swapped: Callable[[bool], None],
    ) -> None:
        """`swapped` is told of each try to load another version: whether it went well."""
        self._rotation, self._find, self._load, self._every_s = rotation, find, load, every_s
        self._swapped = swapped
        self._told = ""
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alias", daemon=True)

    def start(self) -> None:
        """It looks."""
        self._thread.start()

    def close(self) -> None:
        """It looks no more."""
        self._ending.set()
        self._thread.join()

    def look(self) -> None:
        """The model of the alias answers; where it cannot be found or loaded the old one goes on, and the log says why."""
        try:
            found = self._find()
            if found.version == self._rotation.predictor.version:
                return
            predictor = self._load(found)
            predictor.warm_up()
        except CrossmodalError as error:
            if str(error) != self._told:  # once, and not at every look
                log.warning("version %s stays: %s", self._rotation.predictor.version, error)
            self._told = str(error)
            self._swapped(False)
            return
        self._told = ""
        former = self._rotation.predictor.version
        self._rotation.replace(predictor)
        self._swapped(True)
        log.warning("version %s answers now, instead of %s", found.version, former)

    def _run(self) -> None:
        while not self._ending.wait(self._every_s):
            try:
                self.look()
            except Exception:
                log.exception("version %s stays", self._rotation.predictor.version)
                self._swapped(False)
