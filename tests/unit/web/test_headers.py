"""Headers with a grammar of their own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_gateway.errors import NotAcceptable, RangeRefused
from kernel_gateway.web import headers

OFFERS = ("application/json", "text/plain")
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [
        ("wait=10", 10),
        ("respond-async, wait=10", 10),
        ("respond-async,wait=10,handling=lenient", 10),
        ("WAIT = 10", 10),
        ('wait="10"', 10),
        ("wait=10; foo=bar", 10),
        ("wait=0", 0),
        ("wait=10, wait=20", 10),
        ('foo="a, wait=5"', None),
        (r'foo="a\", wait=5", wait=6', 6),
        ('foo; bar=", wait=5, ", wait=7', 7),
        ("wait", None),
        ("wait=", None),
        ("wait=-1", None),
        ("wait=1.5", None),
        ("wait=soon, wait=3", None),
        ("wait=9999999999", None),
        ("await=3", None),
        ("", None),
        (",;=,", None),
        ('"', None),
        ('wait=3, "unfinished', 3),
    ],
)
def test_of_all_preferences_the_first_wait_counts(header: str, wait_s: int | None) -> None:
    assert wait_s == headers.preferred_wait(header)


@given(st.text(max_size=200))
def test_no_header_is_too_odd_for_a_preference(header: str) -> None:
    assert isinstance(headers.preferred_wait(header), int | None)


@pytest.mark.parametrize(
    ("header", "chosen"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("text/plain", "text/plain"),
        ("TEXT/Plain; charset=utf-8", "text/plain"),
        ("text/*", "text/plain"),
        ("text/plain, */*", "text/plain"),
        ("*/*, text/plain", "text/plain"),
        ("text/plain;q=0.5, application/json;q=0.9", "application/json"),
        ("text/plain;q=0.5, */*;q=0.4", "text/plain"),
        ("application/json;q=0, */*", "text/plain"),
        ("text/plain, application/json", "text/plain"),
        ("application/json, text/plain", "application/json"),
        ("text/html, application/xhtml+xml, */*;q=0.8", "application/json"),
        ("text/plain;q=often", "text/plain"),
    ],
)
def test_the_form_that_is_wanted_most_is_given(header: str, chosen: str) -> None:
    assert chosen == headers.accepted(header, OFFERS)


@pytest.mark.parametrize("header", ["image/png", "text/html, image/*", "*/*;q=0", "json"])
def test_who_takes_no_form_that_there_is_is_told_them(header: str) -> None:
    with pytest.raises(NotAcceptable, match="application/json or text/plain"):
        headers.accepted(header, OFFERS)


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("bytes=0-0", range(1)),
        ("bytes=2-4", range(2, 5)),
        ("bytes = 2-4", range(2, 5)),
        ("bytes=7-", range(7, 10)),
        ("bytes=7-99", range(7, 10)),
        ("bytes=-3", range(7, 10)),
        ("bytes=-99", range(10)),
        ("bytes=4-2", None),
        ("bytes=-", None),
        ("bytes=0-1,4-5", None),
        ("lines=0-1", None),
        ("bytes=a-b", None),
        ("bytes=" + "9" * 5000 + "-", None),
        ("", None),
    ],
)
def test_one_range_of_bytes_is_understood(header: str, span: range | None) -> None:
    assert span == headers.byte_range(header, 10)


@pytest.mark.parametrize(
    ("header", "size"), [("bytes=10-", 10), ("bytes=-0", 10), ("bytes=0-", 0), ("bytes=-1", 0)]
)
def test_a_range_of_nothing_is_refused_with_the_size(header: str, size: int) -> None:
    with pytest.raises(RangeRefused) as refused:
        headers.byte_range(header, size)
    assert size == refused.value.size


def test_a_total_that_may_still_grow_is_not_told() -> None:
    assert "bytes 2-4/10" == headers.content_range(range(2, 5), 10)
    assert "bytes 2-4/*" == headers.content_range(range(2, 5), None)


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("plot.png", "attachment; filename=\"plot.png\"; filename*=UTF-8''plot.png"),
        ("a b.txt", "attachment; filename=\"a b.txt\"; filename*=UTF-8''a%20b.txt"),
        ("ünï", "attachment; filename=\"_n_\"; filename*=UTF-8''%C3%BCn%C3%AF"),
        ('"\r\nX: y', "attachment; filename=\"___X_ y\"; filename*=UTF-8''%22__X%3A%20y"),
        ("a/b\\c", "attachment; filename=\"a_b_c\"; filename*=UTF-8''a_b_c"),
        ("\udcff\u202egpj", "attachment; filename=\"__gpj\"; filename*=UTF-8''__gpj"),
    ],
)
def test_any_text_is_a_file_name_and_no_more(name: str, header: str) -> None:
    assert header == headers.attachment(name)


@given(st.text())
def test_no_file_name_leaves_its_header(name: str) -> None:
    header = headers.attachment(name)
    assert header.isascii()
    assert header.isprintable()
    assert 2 == header.count('"')


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("image/png", "image/png"),
        ("application/vnd.x+json", "application/vnd.x+json"),
        ("text/plain; charset=utf-8", "text/plain; charset=utf-8"),
        ("png", "application/octet-stream"),
        ("text/html\r\nX: y", "application/octet-stream"),
        ("text/ünï", "application/octet-stream"),
        ("", "application/octet-stream"),
    ],
)
def test_what_is_no_media_type_is_bytes(text: str, kind: str) -> None:
    assert kind == headers.media_type(text)


def test_a_trace_is_passed_on_as_it_came() -> None:
    both = {"traceparent": PARENT, "tracestate": "a=1"}
    assert (("traceparent", PARENT), ("tracestate", "a=1")) == headers.trace_context(both)
    assert (("traceparent", PARENT),) == headers.trace_context({"traceparent": PARENT})


@pytest.mark.parametrize(
    "given_headers",
    [
        {},
        {"tracestate": "a=1"},
        {"traceparent": "00-xyz", "tracestate": "a=1"},
        {"traceparent": f"ff{PARENT[2:]}"},
        {"traceparent": f"{PARENT}\n"},
    ],
)
def test_what_is_no_trace_is_not_passed_on(given_headers: dict[str, str]) -> None:
    assert () == headers.trace_context(given_headers)
