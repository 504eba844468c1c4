"""Work ahead: the next pieces are read and parsed while the last one is checked and written.

for part in ahead(importer.parse(sources, request)): ...
"""

import queue
import threading
from collections.abc import Iterator
from typing import TypeVar

Item = TypeVar("Item")

_PIECES = 2


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The same items, made in another thread, at most a few before they are asked for; what goes wrong there is raised here."""
    made: queue.Queue[tuple[Item | None, BaseException | None]] = queue.Queue(maxsize=_PIECES)
    stopped = threading.Event()

    def put(item: Item | None, error: BaseException | None) -> None:
        while not stopped.is_set():
            try:
                made.put((item, error), timeout=0.1)
            except queue.Full:
                continue
            return

    def make() -> None:
        try:
            for item in items:
                put(item, None)
                if stopped.is_set():
                    return
            put(None, None)
        except BaseException as error:  # raised again where the items are used
            put(None, error)

    worker = threading.Thread(target=make, name="import", daemon=True)
    worker.start()
    try:
        while True:
            item, error = made.get()
            if error is not None:
                raise error
            if item is None:
                return
            yield item
    finally:
        stopped.set()
        worker.join()
