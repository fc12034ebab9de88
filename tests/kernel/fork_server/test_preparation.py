"""`fork_server/preparation.py`: what imports may do in a fork server, and what they may not."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.kernel.fork_server.served import LIMIT_S

if TYPE_CHECKING:
    from pathlib import Path

#: The gateway's imports are left out, which take their time.
PROGRAM = """
import sys
from kernel_gateway.fork_server import preparation
preparation.OF_KERNELS = ("absent_in_this_version",)
before = sys.argv[1:]
try:
    preparation.prepare(["preloaded"])
    print(preparation.own_variables())
except preparation.Unfit as fault:
    print(fault)
"""
THREAD = """
import threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
"""
#: As OpenBLAS does; and another that a fork would wait for.
CAREFUL_THREAD = """
import os, threading
told = threading.Event()
thread = threading.Thread(target=told.wait)
thread.start()
def end():
    told.set()
    thread.join()
os.register_at_fork(before=end)
"""
VARIABLES = "import os; os.environ['MADE'] = 'here'; seen = os.environ['JPY_PARENT_PID']"


def prepared(folder: Path, module: str, **env: str) -> str:
    (folder / "preloaded.py").write_text(module)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={"PATH": os.defpath, "PYTHONPATH": str(folder), "LC_ALL": "C.UTF-8", **env},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.strip()


def test_threads_make_it_unfit(tmp_path: Path) -> None:
    told = prepared(tmp_path, THREAD)
    assert told == "Imports have started threads, which a fork loses: there are 2."


def test_threads_that_end_before_a_fork_do_not(tmp_path: Path) -> None:
    assert "{}" == prepared(tmp_path, CAREFUL_THREAD)


@pytest.mark.parametrize(
    "opening",
    ["open('/dev/zero')", "__import__('socket').socket()", "__import__('os').pipe()"],
)
def test_open_files_make_it_unfit(tmp_path: Path, opening: str) -> None:
    told = prepared(tmp_path, f"kept = {opening}")
    assert told.startswith("Imports have opened what kernels would share: ")


def test_what_imports_set_is_kept_and_what_is_set_for_imports_is_not(tmp_path: Path) -> None:
    assert str({"MADE": "here"}) == prepared(tmp_path, VARIABLES, GIVEN="1", JPY_PARENT_PID="7")


def test_a_locale_that_python_has_chosen_is_kept(tmp_path: Path) -> None:
    assert str({"LC_CTYPE": "C.UTF-8"}) == prepared(tmp_path, "", LC_ALL="", LANG="C")


def test_a_backend_for_pictures_that_is_given_stays(tmp_path: Path) -> None:
    module = "import os; os.environ['SEEN'] = os.environ['MPLBACKEND']"
    assert str({"SEEN": "agg"}) == prepared(tmp_path, module, MPLBACKEND="agg")
