"""`fork_server/wire.py`: what two processes tell each other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_gateway.fork_server.wire import (
    Answer,
    Exited,
    Fault,
    Forked,
    ForkRequest,
    answer_line,
    read_answer,
    read_request,
    request_line,
)

#: As `os.environ` has them: what is no UTF-8 comes as a lone surrogate.
texts = st.binary(max_size=8).map(lambda raw: raw.decode(errors="surrogateescape"))


@given(command=st.lists(texts), env=st.dictionaries(texts, texts), cwd=texts)
def test_a_request_arrives_as_it_was_sent(
    command: list[str], env: dict[str, str], cwd: str
) -> None:
    line = request_line(ForkRequest(command=command, env=env, cwd=cwd))
    assert (line.count(b"\n"), line[-1:]) == (1, b"\n")
    assert ForkRequest(command=tuple(command), env=env, cwd=cwd) == read_request(line)


@pytest.mark.parametrize("answer", [Forked(1), Fault("No such folder."), Exited(-9)])
def test_an_answer_arrives_as_it_was_sent(answer: Answer) -> None:
    assert answer == read_answer(answer_line(answer))


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b"\xff",
        b"{}",
        b'{"fork": {"command": [1], "env": {}, "cwd": "/"}}',
        b'{"fork": {"command": [], "env": {"A": null}, "cwd": "/"}}',
        b'{"pid": "1"}',
    ],
)
def test_anything_else_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match="This is no"):
        read_request(line)
    with pytest.raises(ValueError, match="This is no"):
        read_answer(line)
