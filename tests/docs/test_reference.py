"""The reference cannot rot: every route, error and limit of the code has its place in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kernel_gateway import errors
from kernel_gateway.runs.records import BODIES
from kernel_gateway.web import application, schemas
from kernel_gateway.web.backendai import routes as backendai
from kernel_gateway.web.backendai.handler import Unknown

ROOT = Path(__file__).parents[2]
HTTP = (ROOT / "docs/reference/http.md").read_text()
BACKENDAI = (ROOT / "docs/reference/backendai.md").read_text()

#: They stand for a group, or never leave the process.
NOT_TOLD = {
    errors.GatewayError,
    errors.CallerFault,
    errors.NotFound,
    errors.Conflict,
    errors.TooMany,
    errors.KernelFault,
    errors.OurFault,
}


def subclasses(kind: type[errors.GatewayError]) -> set[type[errors.GatewayError]]:
    return {kind}.union(*(subclasses(below) for below in kind.__subclasses__()))


TOLD = sorted(
    {
        kind
        for kind in subclasses(errors.CallerFault) | {errors.Draining, errors.StoreUnavailable}
        if kind not in NOT_TOLD and kind.__module__.startswith("kernel_gateway.")
    },
    key=lambda kind: kind.__name__,
)


def routes() -> list[str]:
    known = [*application.ROUTES, *backendai.ROUTES]
    return ["/", *(_readable(pattern) for pattern, handler in known if handler is not Unknown)]


def _readable(pattern: str) -> str:
    """As the reference writes it: `/kernel` is told once, and a name is an `{id}`."""
    pattern = pattern.replace("(?:session|kernel)", "session").replace("\\.", ".")
    return re.sub(r"\(\[[^)]*\)", "{id}", pattern)


@pytest.mark.parametrize("route", routes())
def test_every_route_has_a_heading(route: str) -> None:
    heading = rf"^### `(GET|POST|PATCH|DELETE) {re.escape(route)}`$"
    assert re.search(heading, HTTP + BACKENDAI, re.MULTILINE)


def test_every_heading_is_of_a_route() -> None:
    headings = re.findall(r"^### `[A-Z]+ ([^`]+)`$", HTTP + BACKENDAI, re.MULTILINE)
    assert set(headings) == set(routes())


@pytest.mark.parametrize("kind", TOLD, ids=lambda kind: kind.__name__)
def test_every_error_a_caller_can_meet_is_in_the_table(kind: type[errors.GatewayError]) -> None:
    status = 400 if kind.code == "bad_json" else kind.status
    assert f"| {status} | `{kind.code}` |" in HTTP or kind.__name__ == "NotebookUnreadable"


@pytest.mark.parametrize("kind", sorted(BODIES))
def test_every_kind_of_record_is_named(kind: str) -> None:
    assert f"`{kind}`" in HTTP


def test_every_option_of_execute_is_in_its_table() -> None:
    options = schemas.execute_schema("query")["properties"]["options"]
    for option in options["properties"]:
        assert f"| `{option}` |" in HTTP


@pytest.mark.parametrize(
    "page",
    [path for path in ROOT.rglob("*.md") if not {".venv", ".clients"} & {*path.parts}],
    ids=str,
)
def test_links_to_other_pages_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    assert [] == [link for link in links if not (page.parent / link).exists()]
