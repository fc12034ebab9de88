"""Tokens and origins, as requests bring them."""

from __future__ import annotations

import pytest
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine

from kernel_gateway.errors import OriginRefused, Refused, Unauthorized
from kernel_gateway.service import Owner
from kernel_gateway.web.auth import Hosts, Origins, Tokens, token_in_subprotocols
from kernel_gateway.web.settings import OriginSettings, WebSettings, normalised_base_url

TOKENS = Tokens({"of-ada/+": Owner("ada"), "of-alan": Owner("alan")})
CARRIER = "v1.token.websocket.jupyter.org."


def request(
    uri: str = "/", method: str = "GET", *, host: str = "localhost:8888", **headers: str
) -> HTTPServerRequest:
    """Of a header `Sec_WebSocket_Protocol` the lines become hyphens."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return HTTPServerRequest(
        start_line=RequestStartLine(method, uri, "HTTP/1.1"),
        headers=HTTPHeaders({"Host": host, **fields}),
    )


def upgrade(protocols: str, uri: str = "/", **headers: str) -> HTTPServerRequest:
    return request(uri, Upgrade="WebSocket", Sec_WebSocket_Protocol=protocols, **headers)


# -- tokens --------------------------------------------------------------------------------------


def test_each_token_is_of_its_owner() -> None:
    for token, owner in (("of-ada/+", "ada"), ("of-alan", "alan")):
        assert owner == TOKENS.caller(request(Authorization=f"Bearer {token}")).owner


@pytest.mark.parametrize(
    "protocols",
    [
        f"{CARRIER}of-ada%2F%2B",
        f"v1.kernel.websocket.jupyter.org, {CARRIER}of-ada%2f%2b",
        f"{CARRIER}of-ada%2F%2B,v1.kernel.websocket.jupyter.org",
    ],
)
def test_a_websocket_may_bring_its_token_as_a_subprotocol(protocols: str) -> None:
    caller = TOKENS.caller(upgrade(protocols))
    assert ("ada", True) == (caller.owner, caller.by_header)
    assert TOKENS.spoken(upgrade(protocols))


def test_the_header_comes_first_then_the_subprotocol_then_the_query() -> None:
    carried = f"{CARRIER}of-alan"
    assert "ada" == TOKENS.caller(upgrade(carried, Authorization="token of-ada/+")).owner
    assert "alan" == TOKENS.caller(upgrade(carried, "/?token=of-ada/%2B")).owner
    in_query = TOKENS.caller(upgrade("v1.kernel.websocket.jupyter.org", "/?token=of-alan"))
    assert ("alan", False) == (in_query.owner, in_query.by_header)


def test_a_wrong_one_is_not_made_good_by_another() -> None:
    for call in (
        upgrade(f"{CARRIER}wrong", "/?token=of-alan"),
        upgrade(f"{CARRIER}", "/?token=of-alan"),
        upgrade(f"{CARRIER}of-alan", Authorization="token wrong"),
    ):
        with pytest.raises(Unauthorized):
            TOKENS.caller(call)


def test_only_a_websocket_has_subprotocols() -> None:
    plain = request(Sec_WebSocket_Protocol=f"{CARRIER}of-alan")
    assert not TOKENS.spoken(plain)
    with pytest.raises(Unauthorized):
        TOKENS.caller(plain)


def test_a_token_of_any_bytes_comes_through_a_subprotocol() -> None:
    assert "tökén".encode() == token_in_subprotocols(upgrade(f"{CARRIER}t%C3%B6k%C3%A9n"))
    assert token_in_subprotocols(upgrade("")) is None
    assert token_in_subprotocols(upgrade("v1.token.websocket.jupyter.orgx")) is None


def test_no_token_is_in_what_is_told() -> None:
    with pytest.raises(Unauthorized) as fault:
        TOKENS.caller(upgrade(f"{CARRIER}wr0ng"))
    assert "wr0ng" not in str(fault.value)
    settings = WebSettings(token="a-token", owner_tokens={Owner("ada"): "of-ada"})
    assert "of-ada" not in repr(settings)


@pytest.mark.parametrize(
    ("token", "owner_tokens"),
    [
        ("", {}),
        (" ", {}),
        ("a", {"ada": ""}),
        ("a", {"ada": " "}),
        ("a", {"ada": "a"}),
        ("a", {"ada": "b", "alan": "b"}),
        ("a", {"": "b"}),
    ],
)
def test_empty_and_equal_tokens_are_refused(token: str, owner_tokens: dict[Owner, str]) -> None:
    with pytest.raises(Refused) as fault:
        WebSettings(token=token, owner_tokens=owner_tokens)
    assert "b" not in str(fault.value).split()


# -- origins -------------------------------------------------------------------------------------


def origins(*allow: str, pattern: str | None = None) -> Origins:
    return Origins(OriginSettings(allow_origin=allow, allow_origin_pat=pattern))


def is_welcome(door: Origins, origin: str, *, host: str = "lab.example", tls: bool = False) -> bool:
    call = request(host=host, Origin=origin)
    call.protocol = "https" if tls else "http"
    try:
        door.check(call)
    except OriginRefused:
        return False
    return True


def test_who_says_no_origin_is_no_browser() -> None:
    origins().check(request())


@pytest.mark.parametrize(
    ("origin", "host", "tls", "welcome"),
    [
        ("http://lab.example", "lab.example", False, True),
        ("http://lab.example:80", "lab.example", False, True),
        ("http://lab.example", "lab.example:80", False, True),
        ("HTTP://LAB.example:8888", "lab.example:8888", False, True),
        ("http://[::1]:8888", "[::1]:8888", False, True),
        ("https://lab.example", "lab.example", True, True),
        ("https://lab.example", "lab.example:443", True, True),
        ("https://lab.example", "lab.example", False, False),
        ("http://lab.example", "lab.example", True, False),
        ("http://lab.example:443", "lab.example", False, False),
        ("http://lab.example:8889", "lab.example:8888", False, False),
        ("http://lab.example.evil.example", "lab.example", False, False),
        ("http://evil.example/lab.example", "lab.example", False, False),
        ("http://lab.example@evil.example", "lab.example", False, False),
        ("null", "lab.example", False, False),
        ("", "lab.example", False, False),
        ("file://", "", False, False),
        ("http://", "lab.example", False, False),
    ],
)
def test_our_own_origin_is_the_one_that_was_called(
    origin: str, host: str, tls: bool, welcome: bool
) -> None:
    assert welcome == is_welcome(origins(), origin, host=host, tls=tls)


def test_an_allowed_origin_is_meant_exactly() -> None:
    door = origins("https://Notes.example/", "http://other.example:80")
    for welcome in ("https://notes.example", "https://notes.example:443", "http://other.example"):
        assert is_welcome(door, welcome)
    for foreign in (
        "http://notes.example",
        "https://notes.example:8443",
        "https://a.notes.example",
        "https://notes.example.evil.example",
        "https://evil.example",
        "null",
    ):
        assert not is_welcome(door, foreign), foreign


def test_a_pattern_must_match_the_whole_origin() -> None:
    door = origins(pattern=r"https://[a-z]+\.lab\.example")
    assert is_welcome(door, "https://ada.lab.example")
    for foreign in (
        "https://ada.lab.example.evil.example",
        "https://evil.example/https://ada.lab.example",
        "https://lab.example",
    ):
        assert not is_welcome(door, foreign), foreign


def test_a_star_means_every_origin() -> None:
    assert is_welcome(origins("*"), "https://evil.example")
    assert is_welcome(origins("*"), "null")


def test_a_pattern_that_is_none_is_refused() -> None:
    with pytest.raises(Refused, match="allow_origin_pat"):
        OriginSettings(allow_origin_pat="(")


# -- hosts and addresses -------------------------------------------------------------------------


def test_on_a_unix_socket_any_host_is_served() -> None:
    Hosts("127.0.0.1", ["lab.example"], on_path=True).check("anything")


@pytest.mark.parametrize(
    ("text", "base_url"),
    [("", ""), ("/", ""), ("gw", "/gw"), ("/gw/", "/gw"), ("//a/b//", "/a/b"), (" /gw ", "/gw")],
)
def test_a_base_url_is_written_in_one_way(text: str, base_url: str) -> None:
    assert base_url == normalised_base_url(text)
    WebSettings(token="t", base_url=base_url)


@pytest.mark.parametrize(
    "text", ["/a//b", "/../a", "/a/.", "/a b", "/a?b", "/a#b", "/ä", "/http://x", "/gw/", "gw"]
)
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="base_url"):
        WebSettings(token="t", base_url=text)


def test_a_header_of_blanks_takes_no_time_to_refuse() -> None:
    """A pattern that tries each way to divide them took half a minute, for a caller unknown."""
    with pytest.raises(Unauthorized):
        TOKENS.caller(request(Authorization="token a" + 10**6 * " " + "b"))
