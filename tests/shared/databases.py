"""A store's folder with an empty database in it, made once and copied.

To make the tables takes longer than most tests that need some. How they are made is tested in
`tests/fake/test_store_files.py`, which copies nothing.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from kernel_gateway.store.database import DATABASE, writing_engine
from kernel_gateway.store.migrate import migrate
from kernel_gateway.store.settings import StoreSettings


def with_database(folder: Path) -> Path:
    """The folder, made if need be; a database that is there stays. Not for the loop's thread."""
    folder.mkdir(parents=True, exist_ok=True)
    database = folder / DATABASE
    if not database.exists():
        database.write_bytes(_empty())
    return folder


@cache
def _empty() -> bytes:
    with TemporaryDirectory() as folder:
        engine = writing_engine(StoreSettings(folder=Path(folder)))
        migrate(engine)
        engine.dispose()  # the last one that goes writes everything into the one file
        return Path(folder, DATABASE).read_bytes()
