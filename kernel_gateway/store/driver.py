"""The writer's connection: the text of each statement is made once, the driver does the rest.

SQLAlchemy looks a statement up anew each time it is executed, binds its values and wraps its
result. For the small statements of a run that is five times what SQLite needs for them, and a run
waits for two commits. What is written never changes its form: so SQLAlchemy writes each text once,
in the dialect of the database, and from then on the driver is given it directly.

Knows SQLAlchemy's compiler and the standard interface of drivers (PEP 249). Must not know any
table.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy.sql.compiler import SQLCompiler

from kernel_gateway.store.database import (
    BEGIN_WRITING,
    FREE_PAGES,
    GIVE_PAGE_BACK,
    SHRINK_FILE,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import ClauseElement, Engine
    from sqlalchemy.engine.interfaces import DBAPICursor
    from sqlalchemy.pool import PoolProxiedConnection


class _Text(NamedTuple):
    text: str
    constants: Mapping[str, Any]  # values that stand in the statement itself


class _Opened(NamedTuple):
    connection: PoolProxiedConnection
    cursor: DBAPICursor

    @classmethod
    def of(cls, engine: Engine) -> _Opened:
        connection = engine.raw_connection()
        return cls(connection, connection.cursor())


class Driver:
    """Opened by the first transaction; `close` it in the thread that has used it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # Named parameters, as they are called in the statements; drivers take them as a mapping.
        self._dialect = type(engine.dialect)(paramstyle="named")  # type: ignore[call-arg]
        self._texts: dict[ClauseElement, _Text] = {}
        self._opened: _Opened | None = None

    def close(self) -> None:
        """What was not committed is not there. The next transaction opens another connection."""
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.cursor.close()  # else its statement keeps the file open
            opened.connection.close()
            self._engine.dispose()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        opened = self._opened = self._opened or _Opened.of(self._engine)
        opened.cursor.execute(BEGIN_WRITING)
        try:
            yield
            opened.connection.commit()
        except BaseException:
            opened.connection.rollback()
            raise

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        self.execute_text("SAVEPOINT unit")
        try:
            yield
        except BaseException:
            with suppress(Exception):  # a full disk has taken the whole transaction back already
                self.execute_text("ROLLBACK TO SAVEPOINT unit")
            raise
        self.execute_text("RELEASE SAVEPOINT unit")

    def change(self, statement: ClauseElement, values: Mapping[str, Any]) -> int:
        """How many rows it has changed."""
        return self._execute(statement, values).rowcount

    def rows(self, statement: ClauseElement, values: Mapping[str, Any]) -> Sequence[Any]:
        """What it finds or returns: a tuple a row."""
        return self._execute(statement, values).fetchall()

    def execute_text(self, text: str, values: Sequence[Any] = ()) -> None:
        """A text in the driver's own style of parameters."""
        self._cursor.execute(text, values)

    def give_back(self, pages: int, *, keep: int) -> int:
        """Free pages back to the disk, not all at once and not all. How many have gone."""
        free = self._free_pages()
        if free <= keep:
            return 0
        for _ in range(min(pages, free - keep)):
            self._cursor.execute(GIVE_PAGE_BACK)
        return free - self._free_pages()

    def shrink(self) -> None:
        """Behind a transaction: the file itself loses what was given back, when nobody reads."""
        assert self._opened is not None
        with suppress(Exception):  # what was committed is; and the next checkpoint does it as well
            self._opened.cursor.execute(SHRINK_FILE).fetchall()

    def _free_pages(self) -> int:
        self._cursor.execute(FREE_PAGES)
        ((number,),) = self._cursor.fetchall()
        return int(number)

    @property
    def _cursor(self) -> DBAPICursor:
        assert self._opened is not None, "within a transaction only"
        return self._opened.cursor

    def _execute(self, statement: ClauseElement, values: Mapping[str, Any]) -> DBAPICursor:
        made = self._texts.get(statement) or self._made(statement)
        cursor = self._cursor
        cursor.execute(made.text, {**made.constants, **values})
        return cursor

    def _made(self, statement: ClauseElement) -> _Text:
        compiled = statement.compile(dialect=self._dialect)
        assert isinstance(compiled, SQLCompiler)
        binds = compiled.binds.items()
        constants = {name: bind.value for name, bind in binds if not bind.required}
        made = self._texts[statement] = _Text(str(compiled), constants)
        return made
