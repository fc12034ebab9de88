"""Much output: it arrives complete, or cut with a word of how much is missing."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from tests.e2e.main_job.gateway import Gate, console
from tests.shared.processes import stop

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.main_job.gateway import Client, Kernel, Server

MIB = 2**20
LINE_BYTES = 4 * MIB
NOTICE = "[**** LOG LINE TRUNCATED AT 4 MiB ****]"
ANSWER_CHARS = 524_288


async def test_200_000_printed_lines_arrive_complete(shared: Kernel, client: Client) -> None:
    talk = await shared.run("for number in range(200_000): print(number)")
    expected = "".join(f"{number}\n" for number in range(200_000))
    assert 0 == talk.exit_code
    assert expected == talk.text()
    assert expected == await client.text(talk.run_id)
    assert max(len(console(answer)) for answer in talk.answers) <= ANSWER_CHARS


async def test_one_print_of_20_mib_in_many_lines_arrives_complete(
    shared: Kernel, client: Client
) -> None:
    talk = await shared.run(f"print('\\n'.join('x' * 1023 for _ in range({20 * 1024})))")
    expected = ("x" * 1023 + "\n") * (20 * 1024)
    assert 20 * MIB == len(expected)
    assert expected == talk.text()
    assert expected == await client.text(talk.run_id)
    standing = await talk.standing()
    assert (20 * MIB, 0) == (standing["log"]["bytes"], standing["log"]["dropped"])


async def test_one_line_of_20_mib_is_cut_and_what_is_missing_is_told(
    shared: Kernel, client: Client
) -> None:
    """Lines before and after it are whole."""
    talk = await shared.run(f"print('before'); print('x' * {20 * MIB}); print('after')")
    before, line, after, rest = talk.text().split("\n")
    assert ("before", "after", "") == (before, after, rest)
    kept = LINE_BYTES - len(NOTICE)
    assert "x" * kept + NOTICE == line
    lost = 20 * MIB - kept
    assert [lost] == [
        record["bytes"]
        for record in await client.records(talk.run_id)
        if record["kind"] == "dropped"
    ]
    assert lost == (await talk.standing())["log"]["dropped"]
    (notice,) = [item for answer in talk.answers for item in answer["console"] if item[0] == "log"]
    assert f"{lost} bytes of output dropped" in notice[1][3]
    assert talk.text() == await client.text(talk.run_id)


async def test_characters_of_many_bytes_are_never_torn(shared: Kernel, client: Client) -> None:
    talk = await shared.run("for number in range(40_000): print('aé漢🙂' * 10)")
    assert "aé漢🙂" * 10 == talk.text().splitlines()[-1]
    assert ("aé漢🙂" * 10 + "\n") * 40_000 == talk.text() == await client.text(talk.run_id)


async def test_both_streams_arrive_complete_each_in_its_order(
    shared: Kernel, client: Client
) -> None:
    talk = await shared.run(
        "import sys\n"
        "for number in range(5_000): print('out', number); print('err', number, file=sys.stderr)"
    )
    for stream, word in (("stdout", "out"), ("stderr", "err")):
        expected = "".join(f"{word} {number}\n" for number in range(5_000))
        assert expected == talk.text(stream)
        assert expected == await client.text(talk.run_id, stream)


async def test_flushed_prints_arrive_complete_when_the_reader_pauses(
    shared: Kernel, client: Client, tmp_path: Path
) -> None:
    """It is away from the first of them to the last."""
    end = Gate(tmp_path)
    talk = await shared.begin(
        f"for number in range(3_000): print('flushed', number, flush=True)\n{end.code}", wait=0.1
    )
    await end.open()
    await talk.to_the_end()
    expected = "".join(f"flushed {number}\n" for number in range(3_000))
    assert expected == talk.text()
    assert expected == await client.text(talk.run_id)


async def test_none_of_12_000_flushed_prints_is_lost_while_the_server_stands_still(
    shared: Kernel, server: Server, tmp_path: Path
) -> None:
    """As on a machine that has no time for it: the kernel prints all before a line is read."""
    begin, end = Gate(tmp_path, "begin"), Gate(tmp_path, "end")
    talk = await shared.begin(
        f"{begin.code}\n"
        "for number in range(12_000): print('flushed', number, flush=True)\n"
        f"{end.code}"
    )
    begun = await begin.held()
    stop(server.pid)
    try:
        begin.pass_(begun)
        await end.open()
    finally:
        server.process.send_signal(signal.SIGCONT)
    await talk.to_the_end()
    assert "".join(f"flushed {number}\n" for number in range(12_000)) == talk.text()
