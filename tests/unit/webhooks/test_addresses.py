"""Which URLs may be called: what nobody may reach through the gateway."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from kernel_gateway.webhooks.addresses import (
    Target,
    check_url,
    is_allowed,
    is_public,
    literal,
    target_of,
)
from kernel_gateway.webhooks.settings import WebhookSettings

ANY = WebhookSettings()


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "0.1.2.3",
        "10.1.2.3",
        "100.64.0.1",
        "100.100.100.200",  # metadata of a cloud
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.254",
        "168.63.129.16",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",  # IPv4-compatible
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:0:127.0.0.1",  # IPv4-translated
        "64:ff9b::7f00:1",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::a00:1",  # NAT64 of a network's own
        "100::1",
        "2001::1",  # Teredo
        "2001:0:7f00:1::",
        "2001:db8::1",
        "2002:7f00:1::1",  # 6to4
        "2002:808:808::1",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
    ],
)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert not is_public(ip_address(address))
    assert not is_allowed("a.example", ip_address(address), ANY)


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "8.8.8.8",
        "100.63.255.255",
        "100.128.0.1",
        "172.15.255.255",
        "172.32.0.1",
        "223.255.255.255",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
        "2001:4860:4860::8888",
        "2606:4700::1111",
        "2a00:1450::1",
    ],
)
def test_a_public_address_is_not_refused(address: str) -> None:
    assert is_public(ip_address(address))
    assert is_allowed("a.example", ip_address(address), ANY)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1.",
        "127.1",
        "0177.0.0.1",
        "0x7f.0.0.1",
        "0x7f000001",
        "2130706433",
        "017700000001",
        "0",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "a.localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::FFFF:7F00:1]",
        "[64:ff9b::a00:1]",
        "169.254.169.254",
    ],
)
def test_a_host_that_is_known_not_to_be_public_is_refused_at_once(host: str) -> None:
    fault = check_url(f"http://{host}:8080/", ANY)
    assert fault is not None
    assert fault.endswith("may not be called")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "not a URL"),
        ("http://a.example/" + 2000 * "x", "longer than 2000 characters"),
        ("a.example/hook", "http:// or https:// is needed"),
        ("ftp://a.example/", "http:// or https:// is needed"),
        ("file:///etc/passwd", "http:// or https:// is needed"),
        ("gopher://a.example/", "http:// or https:// is needed"),
        ("//a.example/", "http:// or https:// is needed"),
        ("http:///hook", "no host"),
        ("http://", "no host"),
        ("http:a.example", "no host"),
        ("http://:80/", "no host"),
        ("http://a..example/", "no host"),
        ("http://.example/", "no host"),
        ("http://a.example../", "no host"),
        ("http://-a.example/", "no host"),
        ("http://" + 64 * "a" + ".example/", "no host"),
        ("http://" + ".".join(60 * ["aaaaaa"]) + "/", "no host"),
        ("http://%6cocalhost/", "no host"),
        ("http://[fe80::1%25eth0]/", "no host"),
        ("http://[v1.a]/", ""),
        ("http://[::1/", ""),
        ("http://a.example:0/", "no port"),
        ("http://a.example:65536/", "no port"),
        ("http://a.example:port/", "no port"),
        ("http://me@a.example/", "user name"),
        ("http://me:secret@a.example/", "user name"),
        ("http://8.8.8.8@127.0.0.1/", "user name"),
        ("http://a.example\\@127.0.0.1/", "not a URL"),
        ("http://a.example/\r\nHost: b", "not a URL"),
        ("http://a.exa\tmple/", "not a URL"),
        ("http://a.example/a b", "not a URL"),
        ("http://ⓛocalhost/", "not a URL"),
        ("http://127。0。0。1/", "not a URL"),
        ("http://a.example/\0", "not a URL"),
    ],
)
def test_what_is_no_url_of_a_receiver_is_refused(url: str, why: str) -> None:
    fault = check_url(url, ANY)
    assert fault is not None
    assert why in fault


@pytest.mark.parametrize(
    "url",
    [
        "https://a.example/hook?token=a%20b#part",
        "http://a.example",
        "HTTP://A.EXAMPLE:8080/",
        "https://xn--bcher-kva.example/",
        "http://a_b.example/",
        "http://8.8.8.8/",
        "http://[2001:4860:4860::8888]:8080/",
        "http://a.example:/",
        "http://intranet/",  # where that leads is seen when it is called
    ],
)
def test_the_url_of_a_receiver_is_taken(url: str) -> None:
    assert check_url(url, ANY) is None


def test_a_url_is_taken_apart_once() -> None:
    expected = Target(
        secure=True,
        host="a.example",
        port=443,
        authority="A.example.",
        path="/hook?a=b",
    )
    assert expected == target_of("https://A.example./hook?a=b#c")
    assert "/?a" == target_of("http://a.example:81?a").path
    assert ("::1", 81) == ((found := target_of("http://[::1]:81")).host, found.port)


@pytest.mark.parametrize(
    ("entry", "host", "address", "expected"),
    [
        ("*.example.com", "a.example.com", "10.0.0.1", True),
        ("*.EXAMPLE.com", "a.example.com", "10.0.0.1", True),
        ("*.example.com", "example.com", "10.0.0.1", False),
        ("*.example.com", "a.example.com.evil.org", "10.0.0.1", False),
        ("localhost", "localhost", "127.0.0.1", True),
        ("localhost", "localhost", "::1", True),
        ("localhost", "127.0.0.1", "127.0.0.1", False),
        ("10.1.0.0/16", "a.example", "10.1.2.3", True),
        ("10.1.0.0/16", "a.example", "::ffff:10.1.2.3", True),
        ("10.1.2.3/16", "a.example", "10.1.9.9", True),
        ("10.1.0.0/16", "a.example", "10.2.2.3", False),
        ("127.0.0.1", "127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", "127.0.0.2", False),
        ("fd00::/8", "a.example", "fd00::1", True),
        ("10.*", "10.0.0.1", "10.0.0.1", False),  # a pattern is of names
    ],
)
def test_a_host_is_allowed_by_its_name_or_its_network(
    entry: str, host: str, address: str, expected: bool
) -> None:
    settings = WebhookSettings(allowed_hosts=(entry,))
    assert expected is is_allowed(host, ip_address(address), settings)


def test_where_public_hosts_are_off_only_those_that_are_named_are_called() -> None:
    by_name = WebhookSettings(allowed_hosts=("*.corp",), allow_public=False)
    assert check_url("http://a.corp/", by_name) is None
    assert "the host a.example may not be called" == check_url("http://a.example/", by_name)
    assert "the host 8.8.8.8 may not be called" == check_url("http://8.8.8.8/", by_name)
    by_network = WebhookSettings(allowed_hosts=("10.0.0.0/8",), allow_public=False)
    assert check_url("http://a.example/", by_network) is None  # it may be there
    assert not is_allowed("a.example", ip_address("8.8.8.8"), by_network)
    assert check_url("http://8.8.8.8/", by_network) is not None


def test_what_is_a_name_is_no_address() -> None:
    assert literal("a.example") is None
    assert ip_address("127.0.0.1") == literal("127.1")
