"""`client/address.py`: the forms in which people name a gateway."""

from __future__ import annotations

import pytest

from kernel_gateway.client.address import Address, address
from kernel_gateway.errors import Refused


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://h:1/", Address(url="http://h:1")),
        ("http://h:1", Address(url="http://h:1")),
        ("https://h/base/path/", Address(url="https://h/base/path")),
        ("http://h:1/?token=t%20x", Address(url="http://h:1", token="t x")),
        ("http://[::1]:8888/", Address(url="http://[::1]:8888")),
        (
            "http+unix://%2Frun%2Fgateway.sock/base/",
            Address(url="http://localhost/base", socket="/run/gateway.sock"),
        ),
    ],
)
def test_an_address_is_read_in_the_forms_that_people_have(url: str, expected: Address) -> None:
    assert expected == address(url, env={})


def test_what_is_not_given_comes_from_the_environment() -> None:
    env = {"KERNEL_GATEWAY_URL": "http://h:1/", "KERNEL_GATEWAY_TOKEN": "t"}
    assert Address(url="http://h:1", token="t") == address(env=env)
    assert Address(url="http://i:2", token="u") == address("http://i:2", "u", env=env)


def test_without_anything_it_is_where_serve_listens() -> None:
    assert Address(url="http://127.0.0.1:8888") == address(env={})


def test_an_empty_token_of_the_environment_is_none() -> None:
    assert address(env={"KERNEL_GATEWAY_TOKEN": ""}).token is None


def test_a_socket_may_be_named_by_its_path() -> None:
    found = address(uds="/run/s", env={"KERNEL_GATEWAY_URL": "http://h:1"})
    assert Address(url="http://localhost", socket="/run/s") == found
    assert "the socket /run/s" == str(found)


@pytest.mark.parametrize(
    "url", ["h:1", "ftp://h/", "http://", "http://u:p@h/", "http://h:x/", "", "http://[1/"]
)
def test_what_is_no_address_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(Refused) as caught:
        address(url, env={})
    assert "u:p" not in str(caught.value)


def test_the_token_is_in_no_repr_and_no_text() -> None:
    found = address("http://h:1/?token=secret", env={})
    assert "secret" == found.token
    assert "secret" not in repr(found) + str(found) + found.url


@pytest.mark.parametrize("token", ["secret\n", " secret", "sec\ret", "secret\ud800"])
def test_a_token_that_no_header_can_hold_is_refused_without_being_shown(token: str) -> None:
    with pytest.raises(Refused) as caught:
        address(token=token, env={})
    assert "sec" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:1", True),
        ("http://[::1]:1", True),
        ("http://localhost", True),
        ("http+unix://%2Fs", True),
        ("http://10.0.0.1", False),
        ("https://gateway.example", False),
    ],
)
def test_what_is_on_this_machine_is_known(url: str, expected: bool) -> None:
    assert expected is address(url, env={}).is_on_this_machine
