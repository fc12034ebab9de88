"""Whatever a kernel says arrives as JSON that a browser takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.e2e.jupyter.conftest import Connect
    from tests.e2e.main_job.gateway import Kernel

#: Past IPython, which would mend it: straight to the socket, signed as the kernel signs.
RAW = """
import json
from ipykernel.kernelapp import IPKernelApp

kernel = IPKernelApp.instance().kernel
parent = kernel.get_parent()

def send(content):
    session = kernel.session
    head = session.msg_header('stream')
    parts = [json.dumps(one, default=str).encode() for one in (head, parent['header'], {})]
    parts.append(content)
    frames = [b'kernel.stream', b'<IDS|MSG>', session.sign(parts), *parts]
    kernel.iopub_thread.send_multipart(frames)
"""


async def test_numbers_that_are_none_arrive_as_null(
    shared: Kernel, connect: Connect, framing: str
) -> None:
    channels = await connect(shared, framing=framing)
    cell = await channels.run(
        RAW + """send(b'{"name": "stdout", "text": "NaN", "not": [NaN, Infinity, -Infinity]}')"""
    )
    (shown,) = cell.of("stream")
    assert {"name": "stdout", "text": "NaN", "not": [None, None, None]} == shown.content


async def test_lone_surrogates_are_replaced(shared: Kernel, connect: Connect, framing: str) -> None:
    channels = await connect(shared, framing=framing)
    cell = await channels.run(
        RAW + r"""send(b'{"name": "stdout", "text": "one \\ud800 two \\ud83d\\ude00"}')"""
    )
    (shown,) = cell.of("stream")
    assert "one \N{REPLACEMENT CHARACTER} two \N{GRINNING FACE}" == shown.content["text"]


async def test_bytes_that_are_no_text_are_replaced(
    shared: Kernel, connect: Connect, framing: str
) -> None:
    channels = await connect(shared, framing=framing)
    cell = await channels.run(RAW + r"""send(b'{"name": "stdout", "text": "one \xff two"}')""")
    (shown,) = cell.of("stream")
    assert "one \N{REPLACEMENT CHARACTER} two" == shown.content["text"]


async def test_a_message_that_is_no_json_is_dropped_and_the_rest_arrives(
    shared: Kernel, connect: Connect, framing: str
) -> None:
    channels = await connect(shared, framing=framing)
    cell = await channels.run(RAW + "send(b'junk')\nprint('after it')")
    assert "after it\n" == cell.text()


async def test_all_characters_arrive_as_they_are(
    shared: Kernel, connect: Connect, framing: str
) -> None:
    text = "äöü ß \N{SNOWMAN} \N{GRINNING FACE} \u2028 \\ud800 \0 \x1b[31m NaN Infinity \"'\r"
    channels = await connect(shared, framing=framing)
    cell = await channels.run(f"print({text!r}, end='')")
    assert text == cell.text()
