"""The questions in GraphQL, as the client's lists and details ask them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.fake.web.backendai.client import ACCESS_KEY, OTHERS_KEY, SECRET
from tests.fake.web.backendai.test_access import check_problem

if TYPE_CHECKING:
    from tests.fake.web.backendai.client import Caller
    from tests.fake.web.gateway import Gateway

#: As `backend.ai ps` asks.
LIST = """query($limit:Int!, $offset:Int!, $status: String, $access_key: String, $filter: String, $order: String) {
  compute_session_list(
      limit:$limit, offset:$offset, status:$status, access_key:$access_key, filter:$filter, order:$order) {
    items { name id group_name main_kernel_id image type status status_info status_changed result tag created_at occupying_slots }
    total_count
  }
}"""  # noqa: E501 - the client's own
#: As `backend.ai session info` asks.
INFO = """query($id: UUID!) {  compute_session(id: $id) {
    name id main_kernel_id image tag created_at terminated_at status status_info status_data
    occupying_slots idle_checks containers { id cluster_role cluster_idx cluster_hostname session_id
    image registry status status_info status_data status_changed agent container_id resource_opts
    occupied_slots preopen_ports live_stat last_stat } dependencies { name id }  }}"""
ACTIVE = "PENDING,SCHEDULED,PULLING,PREPARING,RUNNING,RUNNING_DEGRADED,TERMINATING,ERROR"


async def ask(caller: Caller, query: str, **variables: Any) -> Any:
    answer = await caller.post("/admin/gql", {"query": query, "variables": variables})
    assert answer.status == 200, answer.body
    return answer.json


async def data(caller: Caller, query: str, **variables: Any) -> Any:
    answer = await ask(caller, query, **variables)
    assert "errors" not in answer, answer
    return answer["data"]


async def listed(caller: Caller, **variables: Any) -> Any:
    defaults: dict[str, Any] = {"limit": 20, "offset": 0, "status": ACTIVE}
    everything = {**defaults, "access_key": None, "filter": None, "order": None, **variables}
    return (await data(caller, LIST, **everything))["compute_session_list"]


async def test_the_own_key_is_told(caller: Caller) -> None:
    query = "query {  keypair {    user_id access_key secret_key is_active is_admin  }}"
    assert {
        "user_id": ACCESS_KEY,
        "access_key": ACCESS_KEY,
        "secret_key": SECRET + ACCESS_KEY,
        "is_active": True,
        "is_admin": False,
    } == (await data(caller, query))["keypair"]


async def test_fields_come_in_the_order_asked_for(caller: Caller) -> None:
    answer = await caller.post("/admin/gql", {"query": "{keypair{is_admin user_id access_key}}"})
    assert ["is_admin", "user_id", "access_key"] == list(answer.json["data"]["keypair"])


async def test_who_comes_with_the_token_has_no_key(gateway: Gateway) -> None:
    answer = await gateway.post("/admin/gql", {"query": "{keypair{access_key is_admin}}"})
    assert {"access_key": None, "is_admin": False} == answer.json["data"]["keypair"]


async def test_sessions_are_listed_newest_first(caller: Caller, other: Caller) -> None:
    await other.create("theirs")
    ids = [(await caller.create(name))["sessionId"] for name in ("first", "second", "third")]
    told = await listed(caller)
    assert (["third", "second", "first"], 3) == (
        [item["name"] for item in told["items"]],
        told["total_count"],
    )
    newest = told["items"][0]
    assert (ids[2], ids[2], "python", "RUNNING", "{}") == (
        newest["id"],
        newest["main_kernel_id"],
        newest["image"],
        newest["status"],
        newest["occupying_slots"],
    )


async def test_a_list_has_pages_an_order_and_a_status(caller: Caller) -> None:
    for name in ("bbbb", "aaaa", "cccc"):
        await caller.create(name)

    async def names(**variables: Any) -> list[str]:
        return [item["name"] for item in (await listed(caller, **variables))["items"]]

    assert ["aaaa"] == await names(limit=1, offset=1)
    assert ["aaaa", "bbbb", "cccc"] == await names(order="+name")
    assert ["cccc", "bbbb", "aaaa"] == await names(order="image, -name")
    assert [] == await names(status="TERMINATED,CANCELLED")
    assert 3 == len(await names(status=None))
    assert 3 == (await listed(caller, limit=1))["total_count"]


async def test_one_session_is_told_in_detail(caller: Caller) -> None:
    made = await caller.create(tag="blue")
    told = (await data(caller, INFO, id=made["sessionId"]))["compute_session"]
    assert ("mine", "blue", []) == (told["name"], told["tag"], told["dependencies"])
    (container,) = told["containers"]
    assert (made["sessionId"], "RUNNING") == (container["id"], container["status"])


async def test_a_session_that_is_not_there_is_null(caller: Caller, other: Caller) -> None:
    theirs = (await other.create("theirs"))["sessionId"]
    for session_id in (theirs, "00000000-0000-0000-0000-000000000000"):
        assert {"compute_session": None} == await data(caller, INFO, id=session_id)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("{", "Syntax Error"),
        ("{users{id}}", "Cannot query field"),
        ("query($id: UUID!){compute_session(id: $id){id}}", "UUID!"),
        ("mutation{create_keypair{ok}}", "mutation"),
        ("{" + "a " * 2000 + "}", "token"),
        ("{a" * 30 + "}" * 30, "nested too deeply"),
        ("{a" * 400 + "}" * 400, "nested too deeply"),
        ('{compute_session_list(limit:1,offset:0,filter:"x"){total_count}}', "not supported"),
        ('{compute_session_list(limit:1,offset:0,order:"x"){total_count}}', "must be by"),
        ('{keypair(access_key:"AKIAOTHER"){is_admin}}', "administrators"),
        (
            '{compute_session_list(limit:1,offset:0,access_key:"AKIAOTHER"){total_count}}',
            "administrators",
        ),
    ],
)
async def test_a_question_that_cannot_be_answered_says_why(
    caller: Caller, query: str, says: str
) -> None:
    answer = await ask(caller, query)
    assert any(says in error["message"] for error in answer["errors"]), answer
    assert OTHERS_KEY not in str(answer.get("data"))


@pytest.mark.logs_error(r"failed on our side, id [0-9a-f]{32} \(ZeroDivisionError")
async def test_a_fault_of_ours_is_no_answer(caller: Caller) -> None:
    def broken(*_: object) -> Any:
        return 1 / 0

    caller.gateway.service.sessions = broken  # type: ignore[method-assign, assignment]
    answer = await caller.post("/admin/gql", {"query": "{keypair{is_admin}}"})
    check_problem(answer, 500, "internal-server-error")


async def test_a_body_without_a_question_is_refused(caller: Caller) -> None:
    for body in ({}, {"query": None}, {"query": "{a}", "variables": []}):
        check_problem(await caller.post("/admin/gql", body), 400, "invalid-api-params")
