"""Where the gateway listens: unix sockets, TLS, addresses of IPv6."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
import subprocess
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from kernel_gateway.errors import Refused
from kernel_gateway.web.listening import SocketFile, tls_context
from kernel_gateway.web.server import Server
from kernel_gateway.web.settings import TlsSettings, WebSettings
from tests.fake.web.gateway import TOKEN, Gateway, running_gateway
from tests.shared.programs import needs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

QUERY = "token=s3cret-t%C3%B6k%C3%A9n"
SETTINGS = WebSettings(token=TOKEN, port=0)


def request(host: str = "localhost", path: str = "/api") -> bytes:
    return f"GET {path}?{QUERY} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes) -> bytes:
    """All that comes until the end; empty when the connection is cut."""
    try:
        writer.write(data)
        async with asyncio.timeout(20):
            return await reader.read()
    except (ConnectionError, ssl.SSLError):
        return b""
    finally:
        writer.close()
        with suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()


def is_ok(data: bytes) -> bool:
    return data.startswith(b"HTTP/1.1 200 ")


# -- a unix socket -------------------------------------------------------------------------------


@pytest.fixture
def sock(tmp_path: Path) -> Path:
    return tmp_path / "gate way.sock"


async def ask(path: Path, host: str = "localhost") -> bytes:
    return await answer(*await asyncio.open_unix_connection(path), request(host))


async def test_a_unix_socket_is_served_and_removed_at_the_end(tmp_path: Path, sock: Path) -> None:
    async with running_gateway(tmp_path, replace(SETTINGS, sock=sock)) as gateway:
        assert 0 == gateway.port
        for host in ("localhost", "evil.example", "sock"):
            assert is_ok(await ask(sock, host))
    assert not await asyncio.to_thread(sock.exists)


async def test_a_unix_socket_wants_the_token_like_all(tmp_path: Path, sock: Path) -> None:
    async with running_gateway(tmp_path, replace(SETTINGS, sock=sock)):
        data = request().replace(b"?" + QUERY.encode(), b"")
        told = await answer(*await asyncio.open_unix_connection(sock), data)
        assert told.startswith(b"HTTP/1.1 401 ")


async def test_its_address_is_one_that_jupyters_clients_know(sock: Path) -> None:
    server = await asyncio.to_thread(Server, replace(SETTINGS, sock=sock, base_url="/gw"))
    assert f"http+unix://{str(sock).replace('/', '%2F').replace(' ', '%20')}/gw/" == server.url
    await server.close()


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.fixture
def narrow_umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
def test_only_those_may_use_it_that_the_mode_lets(
    sock: Path, mode: int, narrow_umask: None
) -> None:
    file = SocketFile(sock, mode)
    assert mode == mode_of(sock)
    file.remove()
    file.socket.close()


def test_it_is_its_users_own_unless_told_otherwise(sock: Path) -> None:
    file = SocketFile(sock, SETTINGS.sock_mode)
    assert 0o600 == mode_of(sock)
    file.remove()
    file.socket.close()


def test_what_a_server_left_that_was_killed_is_replaced(sock: Path) -> None:
    SocketFile(sock, 0o600).socket.close()
    assert sock.exists()
    file = SocketFile(sock, 0o600)
    file.remove()
    file.socket.close()
    assert not sock.exists()


def test_the_socket_of_a_server_that_lives_is_left_alone(sock: Path) -> None:
    file = SocketFile(sock, 0o600)
    with pytest.raises(Refused, match="another server"):
        SocketFile(sock, 0o600)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(sock))
    file.remove()
    file.socket.close()


def test_a_server_that_takes_nobody_for_now_lives_too(sock: Path) -> None:
    file = SocketFile(sock, 0o600)
    file.socket.listen(0)
    with socket.socket(socket.AF_UNIX) as first:
        first.connect(str(sock))  # nobody accepts it: the next one does not get in
        with pytest.raises(Refused, match="another server"):
            SocketFile(sock, 0o600)
    file.remove()
    file.socket.close()


def test_what_is_no_socket_is_left_alone(sock: Path, tmp_path: Path) -> None:
    sock.write_text("dear")
    with pytest.raises(Refused, match="something else"):
        SocketFile(sock, 0o600)
    assert "dear" == sock.read_text()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "none")
    with pytest.raises(Refused, match="something else"):
        SocketFile(link, 0o600)


def test_at_the_end_anothers_socket_is_left_alone(sock: Path) -> None:
    first = SocketFile(sock, 0o600)
    sock.unlink()
    second = SocketFile(sock, 0o600)
    first.remove()
    assert sock.exists()
    second.remove()
    second.remove()
    assert not sock.exists()
    for file in (first, second):
        file.socket.close()


def test_a_path_that_cannot_be_is_refused_in_a_line(tmp_path: Path) -> None:
    for path in (tmp_path / "none" / "sock", tmp_path / ("x" * 200), tmp_path / ("x" * 300)):
        with pytest.raises(Refused, match="Cannot listen on"):
            SocketFile(path, 0o600)
    assert [] == list(tmp_path.iterdir())


# -- TLS -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`server.pem` and `key.pem` of localhost; `client.pem` of an authority `ca.pem`."""
    openssl, folder = needs("openssl"), tmp_path_factory.mktemp("papers")
    new = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    signed = ["-CA", "ca.pem", "-CAkey", "ca.key"]
    for command in (
        [*new, "-subj", "/CN=localhost", *names, "-keyout", "key.pem", "-out", "server.pem"],
        [*new, "-subj", "/CN=ca", "-keyout", "ca.key", "-out", "ca.pem"],
        [*new, "-subj", "/CN=ada", *signed, "-keyout", "client.key", "-out", "client.crt"],
        ["rsa", "-aes128", "-passout", "pass:x", "-in", "key.pem", "-out", "locked.pem"],
    ):
        subprocess.run([openssl, *command], cwd=folder, check=True, capture_output=True)
    both = (folder / "client.crt").read_text() + (folder / "client.key").read_text()
    (folder / "client.pem").write_text(both)
    return folder


@pytest.fixture
def tls(papers: Path) -> TlsSettings:
    return TlsSettings(certfile=papers / "server.pem", keyfile=papers / "key.pem")


@pytest.fixture
def trusting(papers: Path) -> ssl.SSLContext:
    """A client that knows our certificate."""
    return ssl.create_default_context(cafile=papers / "server.pem")


@pytest.fixture
def known(papers: Path) -> ssl.SSLContext:
    """One that has a certificate itself."""
    context = ssl.create_default_context(cafile=papers / "server.pem")
    context.load_cert_chain(papers / "client.pem")
    return context


@asynccontextmanager
async def secured(
    folder: Path, tls: TlsSettings, header_timeout_s: float = 20.0
) -> AsyncIterator[Gateway]:
    settings = replace(SETTINGS, tls=tls, header_timeout_s=header_timeout_s)
    async with running_gateway(folder, settings) as gateway:
        yield gateway


async def ask_secured(gateway: Gateway, client: ssl.SSLContext, data: bytes | None = None) -> bytes:
    try:
        connection = await asyncio.open_connection(
            "127.0.0.1", gateway.port, ssl=client, server_hostname="localhost"
        )
    except (ssl.SSLError, ConnectionError):
        return b""
    return await answer(*connection, request() if data is None else data)


async def test_tls_is_spoken_with_who_trusts_us(
    tmp_path: Path, tls: TlsSettings, trusting: ssl.SSLContext
) -> None:
    async with secured(tmp_path, tls) as gateway:
        assert is_ok(await ask_secured(gateway, trusting))


async def test_our_own_origin_is_secured_then(
    tmp_path: Path, tls: TlsSettings, trusting: ssl.SSLContext
) -> None:
    async with secured(tmp_path, tls) as gateway:
        for scheme, status in (("https", b"201"), ("http", b"403")):
            post = (
                f"POST /api/kernels?{QUERY} HTTP/1.1\r\nHost: localhost:{gateway.port}\r\n"
                f"Origin: {scheme}://localhost:{gateway.port}\r\nConnection: close\r\n"
                "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
            )
            told = await ask_secured(gateway, trusting, post.encode())
            assert status == told.split(b" ", 2)[1]


async def test_its_address_says_so(tls: TlsSettings) -> None:
    server = await asyncio.to_thread(Server, replace(SETTINGS, tls=tls))
    assert f"https://127.0.0.1:{server.port}/" == server.url
    await server.close()


@pytest.mark.filterwarnings("ignore:.*TLSv1:DeprecationWarning")
async def test_nothing_older_than_tls_1_2_is_spoken(tmp_path: Path, tls: TlsSettings) -> None:
    async with secured(tmp_path, tls) as gateway:
        for version, served in (
            (ssl.TLSVersion.TLSv1_1, False),
            (ssl.TLSVersion.TLSv1_2, True),
            (ssl.TLSVersion.TLSv1_3, True),
        ):
            client = ssl.create_default_context()
            client.check_hostname = False
            client.verify_mode = ssl.CERT_NONE
            client.set_ciphers("ALL:@SECLEVEL=0")
            client.minimum_version = client.maximum_version = version
            assert served == is_ok(await ask_secured(gateway, client)), version


async def test_a_client_needs_a_certificate_where_an_authority_is_named(
    tmp_path: Path,
    papers: Path,
    tls: TlsSettings,
    trusting: ssl.SSLContext,
    known: ssl.SSLContext,
) -> None:
    async with secured(tmp_path, replace(tls, client_ca=papers / "ca.pem")) as gateway:
        assert is_ok(await ask_secured(gateway, known))
        assert b"" == await ask_secured(gateway, trusting)
        without_token = request().replace(b"?" + QUERY.encode(), b"")
        told = await ask_secured(gateway, known, without_token)
        assert told.startswith(b"HTTP/1.1 401 ")


JUNK = [
    request(),  # in plain text
    b"\x16\x03\x01\x00\x05hello",
    b"\x16\x03\x01" + b"\xff" * 3000,
    os.urandom(4000).replace(b"\x16", b"\x17"),
    b"",
]


@pytest.mark.parametrize("data", JUNK, ids=["http", "hello", "long", "random", "nothing"])
async def test_what_is_no_handshake_is_closed_with_a_line_at_most(
    tmp_path: Path,
    tls: TlsSettings,
    trusting: ssl.SSLContext,
    caplog: pytest.LogCaptureFixture,
    data: bytes,
) -> None:
    caplog.set_level(logging.INFO)
    async with secured(tmp_path, tls, header_timeout_s=0.2) as gateway:
        told = await answer(*await asyncio.open_connection("127.0.0.1", gateway.port), data)
        assert b"HTTP" not in told
        assert 1 >= len([line for line in caplog.records if line.name.startswith("tornado")])
        assert is_ok(await ask_secured(gateway, trusting))


async def test_a_handshake_that_never_ends_is_ended(tmp_path: Path, tls: TlsSettings) -> None:
    hello, _ = ssl.MemoryBIO(), ssl.MemoryBIO()
    begun = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), hello, server_hostname="x")
    with suppress(ssl.SSLWantReadError):
        begun.do_handshake()
    first = hello.read()
    async with secured(tmp_path, tls, header_timeout_s=0.2) as gateway:
        for data in (first, first[:10]):
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(data)
            async with asyncio.timeout(20):
                await reader.read()  # until the end
            writer.close()


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"keyfile": "key.pem"}, "without Web.certfile"),
        ({"client_ca": "ca.pem"}, "without Web.certfile"),
        ({"certfile": "none.pem"}, "No such file .*none.pem"),
        ({"certfile": "server.pem", "keyfile": "none.pem"}, "No such file .*none.pem"),
        ({"certfile": "server.pem"}, "Web.certfile or Web.keyfile cannot be used"),
        ({"certfile": "server.pem", "keyfile": "ca.key"}, "cannot be used: .*mismatch"),
        ({"certfile": "server.pem", "keyfile": "locked.pem"}, "must not be encrypted"),
        ({"certfile": "server.pem", "keyfile": "key.pem", "client_ca": "key.pem"}, "Web.client_ca"),
        ({"certfile": "."}, "Is a directory"),
    ],
)
def test_files_that_are_none_are_refused_in_a_line(
    papers: Path, files: dict[str, str], told: str
) -> None:
    with pytest.raises(Refused, match=told) as fault:
        tls_context(TlsSettings(**{name: papers / file for name, file in files.items()}))
    assert "\n" not in str(fault.value)


# -- addresses -----------------------------------------------------------------------------------


@pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
@pytest.mark.parametrize(
    ("ip", "shown", "reached"),
    [("::1", "[::1]", ["::1"]), ("::", "[::1]", ["::1"]), ("*", "127.0.0.1", ["::1", "127.0.0.1"])],
)
async def test_addresses_of_ipv6_are_served(
    tmp_path: Path, ip: str, shown: str, reached: list[str]
) -> None:
    async with running_gateway(tmp_path, replace(SETTINGS, ip=ip)) as gateway:
        assert f"http://{shown}:{gateway.port}/" == gateway.url
        for address in reached:
            host = f"[{address}]" if ":" in address else address
            connection = await asyncio.open_connection(address, gateway.port)
            assert is_ok(await answer(*connection, request(f"{host}:{gateway.port}")))


async def test_who_listens_to_all_wants_a_token_from_all(tmp_path: Path) -> None:
    async with running_gateway(tmp_path, replace(SETTINGS, ip="0.0.0.0")) as gateway:
        for host in ("localhost", "gateway.example"):
            assert 401 == (await gateway.get("/api", token=None, headers={"Host": host})).status
            assert 200 == (await gateway.get("/api", headers={"Host": host})).status
