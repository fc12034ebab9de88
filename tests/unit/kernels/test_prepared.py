"""What is run in an ipykernel by the text of a file, and which kernels can be asked afterwards."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from kernel_gateway.kernels.inside import IS_QUIET
from kernel_gateway.kernels.prepared import preparable, preparation_by, quiet_expression
from kernel_gateway.messaging.facts import KernelInfo
from kernel_gateway.messaging.message import MsgId

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_prepares_the_kernel_silently_and_leaves_no_name(tmp_path: Path) -> None:
    file = tmp_path / "file.py"
    file.write_text(
        "'''It's \"quoted\".'''\ndef prepare(kernel): kernel.said = [__name__, __doc__]"
    )
    request = preparation_by(str(file))(MsgId("one"))
    assert ("one", "execute_request") == (request.msg_id, request.msg_type)
    content = request.content
    assert (True, False, False) == tuple(
        content[name] for name in ("silent", "store_history", "allow_stdin")
    )
    kernel = SimpleNamespace()
    names = {"get_ipython": lambda: SimpleNamespace(kernel=kernel)}
    there = {*names, "__builtins__"}
    exec(str(content["code"]), names)
    assert (["", 'It\'s "quoted".'], there) == (kernel.said, set(names))


@pytest.mark.parametrize(
    ("implementation", "expression"), [("ipython", IS_QUIET), ("xeus-python", None)]
)
def test_only_a_kernel_that_was_prepared_is_asked_whether_it_is_quiet(
    implementation: str, expression: str | None
) -> None:
    info = KernelInfo(implementation=implementation, protocol_version="5.4")
    assert (expression is not None, expression) == (preparable(info), quiet_expression(info))
    assert quiet_expression(None) is None
