"""What is done inside each ipykernel before anything else: this file's text is run there, once.

Knows ipykernel from within, and that it may be of another version: what is not as it is known here
stays as it is. Must not import anything of ours, nor what a kernel has not imported itself, and
must not show: no name, no count, no line of history. It runs beside users' code, and in their
Python, which may be older than ours.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import operator
import os
import signal
import sys
import termios
import threading
from types import SimpleNamespace
from typing import Any

#: What `tell_quiet` answers to: an expression for a silent request.
IS_QUIET = "get_ipython().kernel._kernel_gateway_is_quiet()"


def keep_all_output(kernel: Any) -> None:
    """A kernel's own socket keeps 1,000 messages that we have not taken yet, and drops the next
    without a word: at 20,000 a second that is one turn of a busy processor. ipykernel, which has no
    option for it, is told to keep them all; they are bounded by its memory, as is what it prints.
    """
    thread = kernel.iopub_thread
    thread.schedule(lambda: setattr(thread.socket, "sndhwm", 0))


def keep_parents(kernel: Any) -> None:
    """In ipykernel, what threads print belongs to the request that came last, also when that was a
    silent one, of which nobody wants any output. A silent request is now the parent of what its own
    thread prints, and of nothing else."""
    everywhere = kernel.set_parent

    def set_parent(ident: Any, parent: Any, channel: str = "shell") -> Any:
        if parent["content"].get("silent") is not True:
            return everywhere(ident, parent, channel)
        kernel._shell_parent_ident.set(ident)
        kernel._shell_parent.set(parent)
        kernel.shell.set_thread_parent(parent)
        return None

    if hasattr(kernel.shell, "set_thread_parent"):
        kernel.set_parent = set_parent


def wait_for_nothing(kernel: Any) -> None:
    """ipykernel flushes four times a cell, and each flush waits for two turns of the thread that
    publishes, also when there is nothing to be published: a quarter of what a cell costs. Now what
    is printed, shown and said goes through one queue, in its order, and each event in it is done
    when its turn is over. So code that flushes waits until the queue is empty, and the kernel
    itself, right behind a cell, waits for nothing: its idle stands behind the text.
    """
    publisher = kernel.iopub_thread
    waiting = publisher._events
    publishing = publisher.io_loop.asyncio_loop
    execute, executing = kernel.do_execute, kernel.io_loop.asyncio_loop
    main = threading.get_ident()
    is_woken = has_turn = is_behind_cell = False

    def publish() -> None:
        nonlocal is_woken, has_turn
        is_woken, has_turn = False, True
        try:
            for _ in range(len(waiting)):  # what comes meanwhile has a turn of its own
                try:
                    waiting[0]()
                finally:
                    waiting.popleft()  # behind it: where none is waiting all is done
        finally:
            has_turn = False
            if waiting and not is_woken:  # one has failed
                is_woken = True
                publishing.call_soon(publish)

    def schedule(event: Any) -> None:
        """As before, without a ZeroMQ socket a thread to say no more than that there is one, and
        with one wake for all that comes before the thread has its turn."""
        nonlocal is_woken
        is_part = has_turn and threading.get_ident() == publisher.thread.ident
        if is_part or not publisher.thread.is_alive():
            event()
            return
        waiting.append(event)
        if not is_woken:
            is_woken = True
            try:
                publishing.call_soon_threadsafe(publish)
            except BaseException:  # Ctrl-C: whoever comes next wakes it
                is_woken = False
                raise

    def leave_cell() -> None:
        nonlocal is_behind_cell
        is_behind_cell = False

    async def do_execute(*args: Any, **named: Any) -> Any:
        nonlocal is_behind_cell
        try:
            return await execute(*args, **named)
        finally:
            if threading.get_ident() == main:
                executing.call_soon(leave_cell)  # when idle has been said
                is_behind_cell = True

    def lighten(stream: Any) -> None:
        patient, send = stream.flush, stream._flush

        def flush() -> None:
            has_text = bool(stream._buffers) or stream.echo is not None
            if is_behind_cell and threading.get_ident() == main:
                if has_text:
                    schedule(send)
            elif has_text or waiting:
                patient()

        stream.flush, stream._flush = flush, lambda: schedule(send)

    streams = [sys.stdout, sys.stderr]
    if all(getattr(stream, "pub_thread", None) is publisher for stream in streams):
        publisher.schedule = schedule
        kernel.do_execute = do_execute
        for stream in streams:
            lighten(stream)


def pass_on_unread(kernel: Any) -> None:
    """In ipykernel 7 one thread reads requests and another executes them, and both check and decode
    each: the first to know for which subshell it is. Nearly all are for none, and a look at the
    bytes tells; the check is left to who executes. While one is decoded as before, whatever comes
    behind it is, too, and so stays behind it.
    """
    channel = kernel.shell_channel_thread
    if sys.modules["ipykernel"].version_info[0] != 7:
        return
    decode = kernel.shell_channel_thread_main
    main = channel.manager.get_shell_channel_to_subshell_socket(None)
    decoding: list[None] = []

    def is_plain(frames: Any) -> bool:
        for delimiter, header in zip(frames, frames[2:], strict=False):
            if delimiter.bytes == b"<IDS|MSG>":
                return not any(word in header.bytes for word in _NOT_PLAIN)
        return False

    async def decoded(frames: Any) -> None:
        try:
            await decode(frames)
        finally:
            decoding.pop()

    def read(frames: Any) -> Any:
        if not decoding and is_plain(frames):
            return main.send_multipart(frames, copy=False)
        decoding.append(None)
        return decoded(frames)

    channel.io_loop.add_callback(kernel.shell_stream.on_recv, read, copy=False)


#: In a header: it is for a subshell, or perhaps, or it cannot be told from the bytes.
_NOT_PLAIN = (b"subshell_id", b'"comm_', b"\\")


def reply_past_the_socket(kernel: Any) -> None:
    """In ipykernel 7 who executes gives replies to who speaks with clients through a socket, for
    which that one has a stream of ZeroMQ: a thirtieth of a small cell. Now they are put into its
    loop. Requests come through the other socket as before: a toolkit's loop (`%gui`), in which the
    one of who executes stands still, looks for them there.
    """
    channel = kernel.shell_channel_thread
    if sys.modules["ipykernel"].version_info[0] != 7:
        return
    manager, speaking = channel.manager, channel.io_loop.asyncio_loop
    of_subshell = manager.get_subshell_to_shell_channel_socket
    send = manager._send_on_shell_channel

    def reply(frames: Any, **_: Any) -> None:
        try:
            speaking.call_soon_threadsafe(send, [*map(bytes, frames)])
        except BaseException:  # Ctrl-C: it may be there already, and nobody woken
            speaking.call_soon_threadsafe(bool)
            raise

    of_main = SimpleNamespace(send_multipart=reply)
    manager.get_subshell_to_shell_channel_socket = lambda subshell: (
        of_main if subshell is None else of_subshell(subshell)
    )


def ask_once(kernel: Any) -> None:
    """Before it executes a cell ipykernel asks IPython what becomes of its code, and whether that
    awaits anything. Then IPython asks itself the same: a twenty-fifth of a small cell. The second
    time it is told what was said the first time: no code of the user's is executed in between.
    """
    shell, execute, main = kernel.shell, kernel.do_execute, threading.get_ident()
    transform, awaits = shell.transform_cell, shell.should_run_async
    said: Any = None  # what was asked and answered, by who was asked, until the code is executed

    def may_be_repeated() -> bool:
        return said is not None and threading.get_ident() == main

    def answer(ask: Any, args: Any, named: Any) -> Any:
        if not may_be_repeated():
            return ask(*args, **named)
        known = said
        asked, found = known.get(ask, (None, None))
        if asked != (args, named):
            found = ask(*args, **named)
            known[ask] = (args, named), found
        return found

    def transform_cell(*args: Any, **named: Any) -> Any:
        return answer(transform, args, named)

    def should_run_async(*args: Any, **named: Any) -> Any:
        nonlocal said
        if not may_be_repeated():
            return awaits(*args, **named)
        is_last = awaits in said
        found = answer(awaits, args, named)
        if found or is_last:
            said = None
        return found

    async def do_execute(*args: Any, **named: Any) -> Any:
        nonlocal said
        if threading.get_ident() == main:
            said = {}
        return await execute(*args, **named)

    shell.transform_cell, shell.should_run_async = transform_cell, should_run_async
    kernel.do_execute = do_execute


def know_parameters(kernel: Any) -> None:
    """ipykernel looks at each request which parameters that method of IPython takes: a fiftieth of
    a small cell. It is known of the one that was looked at last."""
    module: Any = sys.modules["ipykernel.ipkernel"]
    look = module._accepts_parameters
    known: tuple[Any, ...] = (None, None, None)

    def accepts(method: Any, names: Any) -> Any:
        nonlocal known
        function = getattr(method, "__func__", method)
        if known[0] is not function or known[1] != names:
            known = function, names, look(method, names)
        return known[2]

    module._accepts_parameters = accepts


def log_what_is_heard(kernel: Any) -> None:
    """The logger of a traitlets application takes all, and its handlers choose: each request makes
    four records that nobody hears, a thirtieth of a small cell. It takes now what one of them does.
    """
    log = kernel.log
    takes = log.isEnabledFor

    def is_heard(level: int) -> bool:
        if not takes(level):
            return False
        logger = log
        while logger is not None:
            if any(level >= handler.level for handler in logger.handlers):
                return True
            logger = logger.parent if logger.propagate else None
        return False

    log.isEnabledFor = is_heard


def pack_with_one_encoder(kernel: Any) -> None:
    """jupyter_client makes an encoder for each of the twenty parts of a small cell's messages: a
    sixtieth of it. What one encoder cannot pack is left to it."""
    session, client = kernel.session, sys.modules["jupyter_client.session"]
    usual = session.pack
    if usual is not client.json_packer:
        return
    encode = json.JSONEncoder(
        default=client.json_default, ensure_ascii=False, allow_nan=False
    ).encode

    def pack(value: Any) -> Any:
        try:
            return encode(value).encode("utf8", "surrogateescape")
        except (TypeError, ValueError):
            return usual(value)

    session.pack = pack


def handle_interrupts_plainly(kernel: Any) -> None:
    """Around each request ipykernel gives Ctrl-C its handler, by functions that make enumerations
    of numbers: a fortieth of a small cell. Below them are those that do the work."""
    usual = sys.modules["ipykernel.kernelbase"].Kernel
    if type(kernel).pre_handler_hook is not usual.pre_handler_hook:
        return
    if type(kernel).post_handler_hook is not usual.post_handler_hook:
        return
    handle, interrupt = sys.modules["_signal"].signal, int(signal.SIGINT)

    def before() -> None:
        kernel.saved_sigint_handler = handle(interrupt, signal.default_int_handler)

    def behind() -> None:
        handle(interrupt, kernel.saved_sigint_handler)

    saved = kernel.saved_sigint_handler  # of the request that brings this
    kernel.saved_sigint_handler = int(saved) if isinstance(saved, signal.Handlers) else saved
    kernel.pre_handler_hook, kernel.post_handler_hook = before, behind


def reply_at_once(kernel: Any) -> None:
    """ipykernel sleeps before each reply, so that whoever takes it for the end has the output by
    then. We take the idle for the end, which comes behind all output; an eighth of what a cell
    costs is for nobody. Another time than the usual one was chosen by somebody: that stays.
    """
    if kernel._execute_sleep == type(kernel)._execute_sleep.default_value:
        kernel._execute_sleep = 0.0


def tell_quiet(kernel: Any) -> None:
    """A run that is over is listened to for a while, for what it has left behind may still print.
    Mostly that is nothing, and who asks is told so: no thread, task, timer, reader or handler of a
    signal that was not there before, nobody else who holds what we print to, and nothing on its way
    out of there. True is certain; false says no more than that nobody knows.
    """
    if not hasattr(kernel.shell, "set_thread_parent"):
        return  # who asks would become the parent of what is printed meanwhile
    loop = kernel.io_loop.asyncio_loop
    streams = [sys.stdout, sys.stderr]
    mine = {os.readlink(f"/proc/self/fd/{number}") for number in (1, 2)}  # code may change these

    def threads() -> set[str]:
        return set(os.listdir("/proc/self/task"))

    def handlers() -> dict[int, Any]:
        return {number: signal.getsignal(number) for number in signal.valid_signals()}

    def holds(process: str) -> bool:
        """Whoever was started here may hold it by any number; there are too many of others."""
        folder, is_ours = f"/proc/{process}/fd", False
        try:
            is_ours = os.getsid(int(process)) == os.getsid(0)
            numbers = os.listdir(folder) if is_ours else ["1", "2"]
            return not mine.isdisjoint(os.readlink(f"{folder}/{number}") for number in numbers)
        except PermissionError:  # it is another user's: by sudo
            return is_ours
        except OSError:  # it is gone
            return False

    def is_alone() -> bool:
        others = [name for name in os.listdir("/proc") if name.isdigit()]
        return not any(holds(name) for name in others if int(name) != os.getpid())

    def is_carried(stream: Any) -> bool:
        """Nothing is in the pipe, and then its reader waits for more: it has nothing in hand."""
        if stream._fid is None:
            return True
        size = fcntl.ioctl(stream._fid, termios.FIONREAD, bytes(4))
        with open(f"/proc/self/task/{stream.watch_fd_thread.native_id}/syscall") as file:
            call = file.read().split()
        return not any(size) and len(call) > 1 and stream._fid == int(call[1], 16)

    def loads() -> tuple[int, int, int]:
        """Of the loop: what it does now, with this request, and later, and what it reads."""
        later = [handle for handle in loop._scheduled if not handle.cancelled()]
        return len(asyncio.all_tasks(loop)), len(later), len(loop._selector.get_map())

    own_threads, own_loads, own_handlers = threads(), loads(), handlers()

    def is_quiet() -> bool:
        """First those who could still write, and then what they have written."""
        return (
            threads() <= own_threads
            and not loop._ready
            and all(map(operator.le, loads(), own_loads))
            and kernel.eventloop is None
            and not any(signal.getitimer(which)[0] for which in _TIMERS)
            and handlers() == own_handlers
            and is_alone()
            and all(map(is_carried, streams))
        )

    kernel._kernel_gateway_is_quiet = is_quiet


_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)


_DEEDS = (
    keep_all_output,
    keep_parents,
    wait_for_nothing,
    pass_on_unread,
    reply_past_the_socket,
    ask_once,
    know_parameters,
    log_what_is_heard,
    pack_with_one_encoder,
    handle_interrupts_plainly,
    reply_at_once,
    tell_quiet,
)


def prepare(kernel: Any) -> None:
    for deed in _DEEDS:
        try:
            deed(kernel)
        except Exception:  # of another version: all of this can be done without
            kernel.log.debug("%s: not with this ipykernel", deed.__name__, exc_info=True)
