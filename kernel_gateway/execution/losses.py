"""Why a kernel is gone, in the words of a run's reason. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel_gateway.runs.records import Reason

if TYPE_CHECKING:
    from kernel_gateway.kernels.kernel import KernelExit


def reason_of(end: KernelExit) -> Reason:
    """The reason of a run that was in flight, or waited for this start."""
    if end.start_fault is not None:
        return Reason(
            code="kernel_start_failed",
            message=_with_tail(f"The kernel did not start: {end.start_fault}", end.stderr_tail),
            signal=end.signal,
            exit_code=end.exit_code,
        )
    if end.out_of_memory:
        return Reason(
            code="out_of_memory",
            message="The system killed the kernel, for want of memory.",
            signal=end.signal,
        )
    return Reason(
        code="kernel_died",
        message=f"The kernel died ({how(end)}).",
        signal=end.signal,
        exit_code=end.exit_code,
    )


def not_launched(fault: Exception) -> Reason:
    """Of runs whose kernel could not even be tried to start."""
    return Reason(code="kernel_start_failed", message=f"The kernel could not be started: {fault}")


RESTARTED = Reason(code="kernel_restarted", message="The kernel was restarted.")
RETIRED = Reason(code="kernel_shut_down", message="A client has shut the kernel down.")
DELETED = Reason(code="cancelled", message="The kernel was deleted.")
RUN_OVER = Reason(code="cancelled", message="The run that brought this kernel is over.")


def culled(idle_s: float) -> Reason:
    return Reason(code="cancelled", message=f"The kernel was culled: idle for {idle_s:.0f} s.")


def how(end: KernelExit) -> str:
    if end.signal is not None:
        return f"killed by {end.signal}"
    if end.exit_code is not None:
        return f"exit code {end.exit_code}"
    return "nothing is known of its end"


def _with_tail(message: str, tail: str) -> str:
    last = "\n".join(tail.strip().splitlines()[-20:])
    return f"{message}\n{last}" if last else message
