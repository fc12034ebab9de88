"""`/api/kernelspecs` and the files of kernelspecs, over HTTP."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING

import pytest

from kernel_gateway.kernels.fake import FakeLauncher
from kernel_gateway.kernels.settings import KernelSettings
from kernel_gateway.kernels.specs import KernelSpecs
from kernel_gateway.web.settings import WebSettings
from tests.fake.web.gateway import TOKEN, running_gateway

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from kernel_gateway.kernels.kernel import SpecEntry
    from tests.fake.web.gateway import Gateway

SPEC = {
    "argv": ["deno", "jupyter", "--conn", "{connection_file}"],
    "display_name": "Deno ✓",
    "language": "typescript",
    "env": {"NO_COLOR": "1"},
    "metadata": {"debugger": True},
}
OUTSIDE = b"of somebody else"


class Launcher(FakeLauncher):
    """Its kernelspecs are those of a folder, found as Jupyter finds them."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._found = KernelSpecs(KernelSettings(spec_folders=(folder,)))

    def kernelspec(self, name: str) -> SpecEntry:
        return self._found.entry(name)

    def kernelspecs(self) -> Sequence[SpecEntry]:
        return self._found.list()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of the kernelspec `deno`, with things beside it that are not for its clients."""
    kernels = tmp_path / "kernels"
    deno = kernels / "deno"
    (deno / "static").mkdir(parents=True)
    (deno / "kernel.json").write_text(json.dumps(SPEC))
    (deno / "logo-64x64.png").write_bytes(b"\x89PNG")
    (deno / "logo-svg.svg").write_text("<svg/>")
    (deno / "kernel.js").write_text("define([])")
    (deno / "kernel.css").write_text("p {}")
    (deno / "page.html").write_text("<script>alert(1)</script>")
    (deno / "static" / "a b.js").write_text("1")
    (kernels / "deno2").mkdir()
    (kernels / "deno2" / "secret").write_bytes(OUTSIDE)
    (tmp_path / "secret").write_bytes(OUTSIDE)
    (deno / "logo-link.png").symlink_to(tmp_path / "secret")
    (deno / "link").symlink_to(tmp_path)
    os.mkfifo(deno / "logo-pipe.png")
    return deno


@pytest.fixture
def launcher(folder: Path) -> Launcher:
    return Launcher(folder.parent)


@pytest.fixture
async def gateway(tmp_path: Path, launcher: Launcher) -> AsyncIterator[Gateway]:
    settings = WebSettings(token=TOKEN, port=0, base_url="/gw")
    async with running_gateway(tmp_path, settings, launcher) as running:
        yield running


async def test_a_kernelspec_has_the_shape_of_jupyters_server(gateway: Gateway) -> None:
    model = (await gateway.get("/gw/api/kernelspecs/deno")).json
    assert {"name", "spec", "resources"} == set(model)
    assert "deno" == model["name"]
    assert {
        "argv": SPEC["argv"],
        "display_name": "Deno ✓",
        "language": "typescript",
        "env": {"NO_COLOR": "1"},
        "metadata": {"debugger": True},
        "interrupt_mode": "signal",
    }.items() <= model["spec"].items()


async def test_resources_are_addresses_below_the_base_url(gateway: Gateway) -> None:
    model = (await gateway.get("/gw/api/kernelspecs/deno")).json
    assert model["resources"] == {
        "kernel.js": "/gw/kernelspecs/deno/kernel.js",
        "kernel.css": "/gw/kernelspecs/deno/kernel.css",
        "logo-64x64": "/gw/kernelspecs/deno/logo-64x64.png",
        "logo-svg": "/gw/kernelspecs/deno/logo-svg.svg",
    }


async def test_all_kernelspecs_are_listed_with_the_default(gateway: Gateway) -> None:
    listed = (await gateway.get("/gw/api/kernelspecs")).json
    assert {"default", "kernelspecs"} == set(listed)
    assert "python3" == listed["default"]
    one = (await gateway.get("/gw/api/kernelspecs/deno")).json
    assert one == listed["kernelspecs"]["deno"]


async def test_a_kernelspec_installed_meanwhile_is_there(gateway: Gateway, folder: Path) -> None:
    assert 404 == (await gateway.get("/gw/api/kernelspecs/new")).status
    await asyncio.to_thread(_install, folder.parent / "new")
    assert {} == (await gateway.get("/gw/api/kernelspecs/new")).json["resources"]


def _install(folder: Path) -> None:
    folder.mkdir()
    (folder / "kernel.json").write_text(json.dumps(SPEC))


async def test_a_kernelspec_that_cannot_be_read_breaks_no_list(
    gateway: Gateway, folder: Path
) -> None:
    await asyncio.to_thread((folder / "kernel.json").write_text, "{")
    listed = await gateway.get("/gw/api/kernelspecs")
    assert (200, False) == (listed.status, "deno" in listed.json["kernelspecs"])


@pytest.mark.parametrize("name", ["none", "%ff", "..", "%2e%2e%2fdeno", "de%00no", "x" * 5000])
async def test_an_unknown_kernelspec_is_404(gateway: Gateway, name: str) -> None:
    for path in (f"/gw/api/kernelspecs/{name}", f"/gw/kernelspecs/{name}/logo-64x64.png"):
        answer = await gateway.get(path)
        assert (404, "kernelspec_not_found") == (answer.status, answer.error["code"])
        assert {"message", "reason", "error"} == set(answer.json)


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("logo-64x64.png", "image/png"),
        ("logo-svg.svg", "image/svg+xml"),
        ("kernel.js", "text/javascript"),
        ("kernel.css", "text/css"),
        ("kernel.json", "application/json"),
        ("page.html", "application/octet-stream"),
        ("static/a%20b.js", "text/javascript"),
    ],
)
async def test_a_file_is_served_with_its_type(
    gateway: Gateway, folder: Path, file: str, kind: str
) -> None:
    answer = await gateway.get(f"/gw/kernelspecs/deno/{file}")
    expected = await asyncio.to_thread((folder / file.replace("%20", " ")).read_bytes)
    assert (200, expected) == (answer.status, answer.body)
    assert kind == answer.headers["Content-Type"]
    assert "nosniff" == answer.headers["X-Content-Type-Options"]
    assert "sandbox" in answer.headers["Content-Security-Policy"]


WAYS_OUT = [
    "..",
    "../../secret",
    "%2e%2e/%2e%2e/secret",
    "..%2f..%2fsecret",
    "%2e%2e%2f%2e%2e%2fsecret",
    "%252e%252e%252fsecret",
    "../deno2/secret",
    "..%2fdeno2%2fsecret",
    "static/../../deno2/secret",
    "static/%2e%2e/kernel.js",
    "./kernel.js",
    "%2e/kernel.js",
    "/etc/passwd",
    "%2fetc%2fpasswd",
    "//etc/passwd",
    "link/secret",
    "logo-link.png",
    "logo-pipe.png",
    "link",
    "static",
    "static/",
    "static//a%20b.js",
    "kernel.js%00.png",
    "kernel.js/",
    "kernel.js/x",
    "..\\..\\secret",
    "none.png",
    "%ff",
    "%ed%a0%80",
    "x" * 300,
    "x/" * 3000 + "x",
]


@pytest.mark.parametrize("file", WAYS_OUT, ids=lambda file: file[:30])
async def test_no_way_leads_out_of_the_folder(gateway: Gateway, file: str) -> None:
    answer = await raw_get(gateway, f"/gw/kernelspecs/deno/{file}")
    assert b"HTTP/1.1 404 " in answer[:14] or b"HTTP/1.1 422 " in answer[:14]
    assert OUTSIDE not in answer
    assert b'"message"' in answer


async def raw_get(gateway: Gateway, path: str) -> bytes:
    """As it stands: a client would resolve the dots."""
    query = "token=s3cret-t%C3%B6k%C3%A9n"
    return await gateway.raw(f"GET {path}?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())


async def test_a_file_that_is_too_long_is_not_read_into_memory(
    gateway: Gateway, folder: Path
) -> None:
    await asyncio.to_thread(_make_long, folder / "logo-big.png")
    answer = await gateway.get("/gw/kernelspecs/deno/logo-big.png")
    assert (413, "too_large") == (answer.status, answer.error["code"])


def _make_long(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**34)


async def test_a_folder_that_has_gone_is_404(gateway: Gateway, folder: Path) -> None:
    await asyncio.to_thread(folder.rename, folder.parent / "other")
    answer = await gateway.get("/gw/kernelspecs/deno/kernel.js")
    assert 404 == answer.status
