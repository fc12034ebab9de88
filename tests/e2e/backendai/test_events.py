"""What the SDK's `listen_events` is told of a session."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.e2e.backendai.client import Sdk, Session


def test_the_life_of_a_session_is_told_in_order_and_the_stream_ends_with_it(
    sdk: Sdk, own: Session
) -> None:
    events = own.events()
    told = events.until("session_started")
    own.call("destroy")
    told += events.until("server_close")
    assert events.next() is None
    events.leave()
    names = [name for name, _ in told if name.startswith("session_")]
    assert ["session_started", "session_terminating", "session_terminated"] == names[-3:]
    for name, data in told[:-1]:
        assert (own.id, own.name) == (data["sessionId"], data["sessionName"]), name
        assert sdk.account.access_key == data["ownerAccessKey"]
        assert "reason" in data


def test_kernel_events_are_the_twins_of_session_events(own: Session) -> None:
    events = own.events()
    told = {name for name, _ in events.until("session_started")}
    own.call("destroy")
    told |= {name for name, _ in events.until("server_close")}
    events.leave()
    assert {"kernel_started", "kernel_terminated", "session_terminated"} <= told


def test_a_scope_leaves_the_others_out(own: Session) -> None:
    of_kernel, of_session = own.events("kernel"), own.events("session")
    own.call("destroy")
    for events, prefix in ((of_kernel, "kernel_"), (of_session, "session_")):
        *told, end = [name for name, _ in events.until("server_close")]
        assert "server_close" == end
        assert f"{prefix}terminated" == told[-1]
        assert [] == [name for name in told if not name.startswith(prefix)]
        events.leave()


def test_events_can_be_asked_for_by_name_alone(sdk: Sdk, own: Session) -> None:
    events = sdk.session(own.id).events()  # the SDK takes it for a name
    by_name = sdk.begin("events", own.name).result(10)
    assert by_name
    own.call("destroy")
    assert "session_terminated" in {name for name, _ in events.until("server_close")}
    events.leave()
    sdk.ask("leave", by_name)


def test_sessions_of_somebody_else_are_not_told(
    sdk: Sdk, other_sdk: Sdk, own: Session, name: str
) -> None:
    theirs = other_sdk.create(name)
    events = theirs.events()
    own.call("destroy")
    theirs.call("destroy")
    told = events.until("server_close")
    assert {theirs.id} == {data["sessionId"] for event, data in told if event != "server_close"}
    events.leave()
