"""A SQLite file that one process writes and nothing breaks: what the ledger is kept in.

In: a folder and a schema. Out: a connection with a lock, transactions, and errors in plain words.

Conventions: WAL mode, fully synchronous: what was committed survives SIGKILL, and power loss as far as the
disk keeps its word; readers may look at any time. The lock is the system's own, so it goes with the process.
The folder lies on a disk of this machine: neither WAL nor locks work across a network.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from hafm.errors import OutputError
from hafm.locks import locked_folder

__all__ = ["Database", "damaged"]


class Database:
    """A database, open for writing.

    Args:
        path: of the file; its folder is made if missing.
        schema: SQL that makes an empty one.

    Raises:
        UsageError: another process writes to it.
        OutputError: it is damaged, or cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     database = Database(Path(folder) / "a.sqlite", schema="CREATE TABLE a (b)")
    ...     with database.transaction():
    ...         _ = database.execute("INSERT INTO a VALUES (1)")
    ...     print(database.all("SELECT b FROM a"))
    ...     database.close()
    [(1,)]
    """

    def __init__(self, path: Path, *, schema: str) -> None:
        self.path = path
        self._lock = ExitStack()
        self._lock.enter_context(locked_folder(path.parent, name=path.with_suffix(".lock").name))
        with ExitStack() as undo:
            undo.callback(self._lock.close)
            with self._errors():
                # Transactions are begun and ended here, never by the module behind our back.
                self._connection = sqlite3.connect(path, isolation_level=None, timeout=30)
                undo.callback(self._connection.close)
                self._open(schema)
            undo.pop_all()

    def _open(self, schema: str) -> None:
        self.execute("PRAGMA journal_mode = WAL")
        self.execute("PRAGMA synchronous = FULL")
        if self.one("SELECT count(*) FROM sqlite_schema") == (0,):
            with self.transaction():
                for statement in filter(str.strip, schema.split(";")):
                    self.execute(statement)
        (verdict,) = self.one("PRAGMA quick_check(1)")
        if verdict != "ok":
            raise damaged(self.path, str(verdict))

    def close(self) -> None:
        """Lets others write."""
        with self._lock, self._errors():
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of the block or nothing, and then an `OutputError`."""
        with self._errors():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                # A full disk may have rolled back by itself.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def execute(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Runs a statement; how many rows it changed."""
        with self._errors():
            return self._connection.execute(sql, values).rowcount

    def execute_each(self, sql: str, rows: Iterator[Sequence[Any] | Mapping[str, Any]]) -> None:
        with self._errors():
            self._connection.executemany(sql, rows)

    def one(self, sql: str, values: Sequence[Any] = ()) -> tuple[Any, ...]:
        """The first row of an answer that has one."""
        return self.all(sql, values)[0]

    def all(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._errors():
            return self._connection.execute(sql, values).fetchall()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.IntegrityError:
            raise  # a mistake of ours
        except sqlite3.DatabaseError as error:
            name = getattr(error, "sqlite_errorname", "")
            if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
                raise damaged(self.path, str(error)) from error
            if name == "SQLITE_FULL":
                raise OutputError(f"cannot write '{self.path}': the disk is full") from error
            raise OutputError(
                f"cannot use '{self.path}' ({error}); is its disk full, gone, or read-only?"
            ) from error


def damaged(path: Path, why: str) -> OutputError:
    """The error of a database that holds something else than what was written."""
    return OutputError(
        f"'{path}' is damaged ({why}); put a copy of its folder in place, or remove the folder and prepare "
        "again"
    )
