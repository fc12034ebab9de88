"""What a cell can see of its process, from environment to descriptors: the same, one by one.

`probe.py` says what is looked at. A forked kernel differs in this alone:

- it has imported more (what a cold one imports later), and its collector has more that is frozen;
- it has no JPY_PARENT_PID and no thread that looks for its parent: its end follows the server's;
- its parent is the fork server, and one frame at the bottom of its stack is of that program;
- its stdin is /dev/null, where a cold one has a pipe that nobody writes to.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

import kernel_gateway.fork_server
from tests.kernel.alike.conftest import FLAGGED, request_in, way_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.kernel.alike.conftest import Way

pytestmark = pytest.mark.asyncio(loop_scope="package")

PROBE = str(Path(__file__).with_name("probe.py"))
LOOK = f"scope = {{}}; exec(compile(open({PROBE!r}).read(), {PROBE!r}, 'exec'), scope)"


@pytest_asyncio.fixture(scope="module", loop_scope="package")
async def seen(cold: Way, forked: Way) -> AsyncIterator[dict[str, Any]]:
    """By each way: the first look of a kernel that nobody has touched."""
    kernels = {"cold": await cold.another(), "forked": await forked.another()}
    yield {
        name: await kernel.tells(f"{LOOK}\n[scope['MODULES'], scope['look']()]")
        for name, kernel in kernels.items()
    }
    for kernel in kernels.values():
        await kernel.started.kernel.kill()
        await kernel.started.kernel.wait_dead()


#: The line of the fork server's program in which a kernel lives: what no return can be without.
OURS = f"{Path(kernel_gateway.fork_server.__file__).with_name('__main__.py')}:<module>"

LOOKS = (
    "environment",
    "environment of libraries",
    "folders",
    "interpreter",
    "main",
    "streams",
    "words",
    "signals",
    "process",
    "descriptors",
    "stdin",
    "settings",
    "shell",
    "left of others",
)

#: Read by an interpreter at its start, or by what it imports.
AT_THE_START = {
    "LC_ALL": "C",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "5",
    "PYTHONIOENCODING": "latin-1",
    "PYTHONOPTIMIZE": "1",
    "PYTHONUNBUFFERED": "",
    "PYTHONUTF8": "0",
    "PYTHONWARNINGS": "error::UserWarning",
}


@pytest.mark.parametrize("name", LOOKS)
async def test_a_process_sees_the_same(seen: dict[str, Any], name: str) -> None:
    (_, expected), (_, found) = seen["cold"], seen["forked"]
    assert expected[name] == found[name]


async def test_the_frames_are_the_same_but_for_one(seen: dict[str, Any]) -> None:
    (_, expected), (_, found) = seen["cold"], seen["forked"]
    main, *start = reversed(expected["frames"])
    assert [main, start[0], OURS, *start[1:]] == [*reversed(found["frames"])]


async def test_nothing_is_looked_at_that_no_test_compares(seen: dict[str, Any]) -> None:
    assert {*LOOKS, "frames"} == set(seen["cold"][1])


async def test_all_modules_of_a_cold_kernel_are_there_and_none_of_the_gateway(
    seen: dict[str, Any],
) -> None:
    (expected, _), (found, _) = seen["cold"], seen["forked"]
    assert [] == sorted(set(expected) - set(found))
    assert [] == [name for name in found if name.partition(".")[0] == "kernel_gateway"]


async def test_another_start_is_another_start(folder: Path) -> None:
    """By a server of its own: with variables and options that are for the interpreter, encrypted
    sockets, and a history."""
    env = {**request_in(folder)["env"], **AT_THE_START}
    settings: dict[str, Any] = {
        "request": {"env": env, "spec_name": FLAGGED},
        "transport": "tcp",
        "transport_encryption": "required",
        "history": True,
    }
    seen = []
    for fork_server in (False, True):
        async with way_of(folder, fork_server=fork_server, **settings) as way:
            seen.append(await way.shared.tells(f"{LOOK}\nscope['look']()"))
    for one in seen:  # the thread of the history may be in the middle of opening, or of a write
        names = [name for name in one["descriptors"] if "/profile_default" in name]
        for name in names:
            del one["descriptors"][name]
    expected, found = seen
    assert expected.pop("frames")[:-2] == found.pop("frames")[:-3]
    assert expected == found
    assert "optimize=1" in found["interpreter"]["flags"]
    assert found["shell"]["history"]
