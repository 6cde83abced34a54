"""A case file's database in a process of its own, so that rows are written while the next layer is read.

What is sent goes one way, in order, through a short queue: where writing is slower than reading, reading waits. The process
ends when it is told to, when what it was told to do fails, or when its other end is gone. It answers once, at the end.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import signal
import traceback
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from queue import Queue
from threading import Thread

from forensics.case.database import CaseDatabase, Item
from parsers.errors import CaseError

WAITING = 16  # parcels; one of entries has about four megabytes


class DatabaseProcess:
    """Has the database at a path written by another process; errors are OSError and sqlite3.Error, as if it were written here."""

    def __init__(self, path: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_write_all, args=(theirs, path), name="case file", daemon=True)
        # Ctrl-C goes to all processes of a terminal; this one ends when we do, and has nothing to say about it.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        theirs.close()
        self._parcels: Queue[Sequence[Item] | None] = Queue(WAITING)
        self._is_gone = self._is_ended = False
        self._failure: Exception | None = None
        self._sender = Thread(target=self._send, name="case file", daemon=True)
        self._sender.start()

    def write(self, items: Sequence[Item]) -> None:
        """Write some items, in their order, some time; what went wrong with earlier ones is raised."""
        if self._is_ended:
            raise ValueError("nothing can be written after the end")
        if self._is_gone:
            self._answer()
        self._parcels.put(items)

    def end(self) -> None:
        """Tell that nothing more will be sent, so that indexes and views are added to what was."""
        if not self._is_ended:
            self._is_ended = True
            self._parcels.put(None)

    def complete(self) -> int:
        """Wait until the file is complete and closed. Answers how many gaps were added. The process may live on for a while."""
        self.end()
        self._sender.join()
        return self._answer()

    def abandon(self) -> None:
        """End the process, wherever it is."""
        self._process.kill()
        self._process.join()
        self.end()
        self._sender.join()
        self._connection.close()

    def _send(self) -> None:
        """Send parcels until the last; once nobody takes them any more, they are thrown away, so that nobody waits in vain."""
        parcel: Sequence[Item] | None = ()
        while parcel is not None:
            parcel = self._parcels.get()
            if not self._is_gone:
                try:
                    self._connection.send(parcel)
                except OSError:
                    self._is_gone = True
                except Exception as error:  # noqa: BLE001 # a thread has nobody to raise it to; the next `write` does
                    self._is_gone, self._failure = True, error

    def _answer(self) -> int:
        if self._failure is not None:
            raise self._failure
        try:
            answer: int | Exception = self._connection.recv()
        except (EOFError, OSError):
            raise CaseError("the process that writes the case file has ended before its time; is there enough memory?") from None
        if isinstance(answer, Exception):
            raise answer
        return answer


def _write_all(connection: Connection, path: Path) -> None:
    """What the other process does. Of a file that nobody waits for any more, nothing is left."""
    answer: int | Exception
    gc.disable()  # rows have no cycles
    try:
        database = CaseDatabase(path)
        try:
            while (items := connection.recv()) is not None:
                database.write(items)
            database.complete()
            database.close()
            answer = database.gaps
        finally:
            database.abandon()
    except EOFError:
        path.unlink(missing_ok=True)
        return
    except Exception as error:  # noqa: BLE001 # whatever it is, the one who waits raises it
        error.add_note(traceback.format_exc())
        answer = error
    with contextlib.suppress(OSError):
        connection.send(answer)
        # most of it can be on the disk before the rest is written
        with path.open("rb") as written:
            os.fsync(written.fileno())
