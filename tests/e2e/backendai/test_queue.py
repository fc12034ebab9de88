"""Three clients at one session: one queue, and nobody sees what is another's."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.e2e.backendai.client import LIMIT_S, Sdk, merged_text, printed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.e2e.backendai.client import Account, Session
    from tests.e2e.backendai.gate import Gate


@pytest.fixture(scope="module")
def clients(
    sdk: Sdk, account: Account, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Sdk]]:
    with (
        Sdk(account, tmp_path_factory.mktemp("sdk")) as second,
        Sdk(account, tmp_path_factory.mktemp("sdk")) as third,
    ):
        yield [sdk, second, third]


def test_runs_of_three_clients_go_in_the_order_they_came_in(
    clients: list[Sdk], session: Session, gate: Callable[[str], Gate], tmp_path: Path
) -> None:
    order = tmp_path / "order"
    held = gate("held")
    first = session.stream(held.python)
    held.wait()
    streams = []
    for n in range(6):
        of_client = clients[n % 3].create(session.name)
        if n % 2:
            stream = of_client.stream(
                mode="batch",
                build=f"printf b{n}. >>{order}; echo build {n}",
                exec=f"printf 'who {n}? '; read -r a; printf e{n}. >>{order}; echo \"{n}=$a\"",
            )
        else:
            code = f"a = input('who {n}? '); _ = open({str(order)!r}, 'a').write('q{n}.')"
            stream = of_client.stream(f"{code}; print(f'{n}={{a}}')")
        assert ("continued", []) == (stream.frame()["status"], stream.last["console"])
        streams.append(stream)
    held.open()
    first.to_the_end()
    for n, stream in enumerate(streams):
        stream.until("waiting-input").send(f"client {n}")
        stream.to_the_end()
        built = f"build {n}\n" if n % 2 else ""
        assert f"{built}who {n}? {n}=client {n}\n" == merged_text(stream.answers)
        assert 0 == stream.exit_code
    assert "q0.b1.e1.q2.b3.e3.q4.b5.e5." == order.read_text()


def test_three_clients_that_call_as_they_like_get_what_is_theirs(
    clients: list[Sdk], session: Session
) -> None:
    def work(who: int) -> list[str]:
        mine = clients[who].create(session.name)
        return [said(mine, who, n) for n in range(4)]

    def said(mine: Session, who: int, n: int) -> str:
        if n % 2:
            talk = mine.batch(build=f"echo build {who}", exec=f"read -r a; echo {who} $a")
        else:
            talk = mine.query(f"print('query {who}'); print({who}, input())")
        talk.to_the_prompt()
        talk.give(f"of {who}.{n}").to_the_end()
        return merged_text(talk.answers)

    with ThreadPoolExecutor(3) as pool:
        told = list(pool.map(work, range(3)))
    assert [
        [f"{'build' if n % 2 else 'query'} {who}\n{who} of {who}.{n}\n" for n in range(4)]
        for who in range(3)
    ] == told


def test_a_call_for_a_queued_run_is_answered_in_time(
    session: Session, gate: Callable[[str], Gate]
) -> None:
    held = gate("held")
    busy = session.begin("execute", "busy", held.python, mode="query")
    held.wait()
    queued = session.execute("queued", "print('mine')", "query")
    assert ("continued", []) == (queued["status"], queued["console"])
    held.open()
    answers = [queued]
    while answers[-1]["status"] != "finished":
        answers.append(session.execute("queued", "", "continue"))
    assert "mine\n" == "".join(map(printed, answers))
    assert "continued" == busy.result(LIMIT_S)["status"]
