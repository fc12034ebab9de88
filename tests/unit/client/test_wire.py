"""`client/wire.py`: what goes into requests, and what becomes of httpx's exceptions."""

from __future__ import annotations

import ssl

import httpx
import pytest

from kernel_gateway.client import protocol, wire
from kernel_gateway.client.address import Address
from kernel_gateway.errors import UnexpectedAnswer, Unreachable

HERE = Address(url="http://127.0.0.1:1/base", token="tökén")


def request(address: Address = HERE) -> httpx.Request:
    call = protocol.records("a b", after=3, wait=20)
    return httpx.Client(verify=False).build_request(**wire.request_options(address, call, 30))


def test_a_request_has_the_token_in_a_header_and_nowhere_else() -> None:
    found = request()
    headers = {name.lower(): value for name, value in found.headers.raw}
    assert "token tökén".encode() == headers[b"authorization"]
    assert "http://127.0.0.1:1/base/api/runs/a%20b/records?after=3&wait=20" == str(found.url)


def test_without_a_token_there_is_no_header_for_it() -> None:
    assert "authorization" not in request(Address(url="http://h")).headers


def test_a_call_that_the_gateway_holds_is_waited_for_longer() -> None:
    assert 50 == request().extensions["timeout"]["read"]


def test_certificates_are_checked_where_there_are_any() -> None:
    options = wire.http_options(Address(url="https://gateway.example"), None)
    assert ssl.CERT_REQUIRED == options["verify"].verify_mode
    assert options["verify"].check_hostname
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    assert own is wire.http_options(Address(url="https://gateway.example"), own)["verify"]


def test_redirects_are_not_followed() -> None:
    for url in ("http://127.0.0.1:1", "https://gateway.example"):
        assert wire.http_options(Address(url=url), None)["follow_redirects"] is False


def test_what_is_on_this_machine_is_asked_for_directly() -> None:
    found = wire.transport_options(Address(url="http://localhost", socket="/s"), None)
    assert ("/s", False) == (found["uds"], found["trust_env"])


@pytest.mark.parametrize(
    ("fault", "expected", "words"),
    [
        (httpx.ConnectError("refused"), Unreachable, "refused"),
        (httpx.ReadTimeout(""), Unreachable, "ReadTimeout"),
        (httpx.RemoteProtocolError("cut"), Unreachable, "cut"),
        (httpx.DecodingError("zlib"), UnexpectedAnswer, "zlib"),
    ],
)
def test_what_httpx_raises_comes_out_as_ours(
    fault: Exception, expected: type[Exception], words: str
) -> None:
    with pytest.raises(expected, match=words) as caught, wire.wire_faults(HERE):
        raise fault
    assert "tökén" not in str(caught.value)
