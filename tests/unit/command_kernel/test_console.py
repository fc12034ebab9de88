"""How output is cut: nothing is lost, no character is torn, and a prompt is held back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kernel_gateway.command_kernel.console import BIG_PIECE, HOLD_S, PACE_S, Console, Source

OUT, ERR, TTY = Source.STDOUT, Source.STDERR, Source.TTY

TEXTS = st.text("ab\n\ré€😀", max_size=12).map(str.encode)
FEEDS = st.lists(
    st.tuples(
        st.sampled_from(Source),
        st.one_of(TEXTS, st.binary(max_size=6)),
        st.sampled_from([0.0, PACE_S, HOLD_S]),  # the time that passes
    ),
    max_size=20,
)


@given(FEEDS)
def test_whatever_is_fed_comes_out_whole_and_in_the_order_of_its_source(
    feeds: list[tuple[Source, bytes, float]],
) -> None:
    console, now = Console(), 0.0
    pieces: list[tuple[str, str]] = []
    for source, data, passed in feeds:
        console.feed(source, data, now)
        now += passed
        pieces += console.take(now)
    pieces += console.take_all()
    assert _decoded(feeds, ERR) == "".join(text for stream, text in pieces if stream == "stderr")
    shown = "".join(text for stream, text in pieces if stream == "stdout")
    assert sorted(_decoded(feeds, OUT) + _decoded(feeds, TTY)) == sorted(shown)
    assert _is_woven_of(shown, _decoded(feeds, OUT))


@given(st.binary(max_size=30), st.lists(st.integers(0, 30), max_size=5))
def test_where_a_text_is_cut_makes_no_difference(data: bytes, cuts: list[int]) -> None:
    console, start = Console(), 0
    for cut in [*sorted(cuts), len(data)]:
        console.feed(OUT, data[start:cut], 0.0)
        start = max(start, cut)
    assert data.decode(errors="replace") == "".join(text for _, text in console.take_all())


def test_a_complete_line_goes_at_once_and_the_rest_is_held() -> None:
    console = Console()
    console.feed(OUT, b"one\ntwo\nthr", 5.0)
    assert [("stdout", "one\ntwo\n")] == console.take(5.0)
    assert [] == console.take(5.0 + HOLD_S / 2)
    assert console.due_at() == 5.0 + HOLD_S
    assert [("stdout", "thr")] == console.take(5.0 + HOLD_S)
    assert console.due_at() is None


def test_a_line_is_not_held_longer_because_it_grows() -> None:
    console = Console()
    console.feed(OUT, b"1%", 0.0)
    console.feed(OUT, b"\r2%", HOLD_S / 2)
    assert [("stdout", "1%\r2%")] == console.take(HOLD_S)


def test_what_is_held_is_the_prompt_and_is_shown_once() -> None:
    console = Console()
    console.feed(OUT, b"Welcome.\nName? ", 0.0)
    assert ([("stdout", "Welcome.\n")], "Name? ") == console.take_prompt(0.0)
    assert [] == console.take_all()


def test_a_prompt_on_stderr_or_on_the_terminal_is_a_prompt_too() -> None:
    console = Console()
    console.feed(ERR, b"pass", 0.0)
    console.feed(TTY, b"word: ", 0.0)
    assert ([], "password: ") == console.take_prompt(0.0)


def test_the_terminal_is_shown_on_stdout() -> None:
    console = Console()
    console.feed(TTY, b"hello\n", 0.0)
    assert [("stdout", "hello\n")] == console.take(0.0)


def test_the_next_piece_waits_a_moment_unless_it_is_big() -> None:
    console = Console()
    console.feed(OUT, b"one\n", 1.0)
    assert [("stdout", "one\n")] == console.take(1.0)
    console.feed(OUT, b"two\n", 1.0)
    console.feed(OUT, b"three\n", 1.0)
    assert [] == console.take(1.0)
    assert console.due_at() == 1.0 + PACE_S
    assert [("stdout", "two\nthree\n")] == console.take(1.0 + PACE_S)
    console.feed(OUT, b"x" * BIG_PIECE + b"\n", 1.0 + PACE_S)
    assert [("stdout", "x" * BIG_PIECE + "\n")] == console.take(1.0 + PACE_S)


def test_a_line_without_an_end_is_cut_when_it_is_big() -> None:
    console = Console()
    console.feed(OUT, b"x" * BIG_PIECE, 0.0)
    assert [("stdout", "x" * BIG_PIECE)] == console.take(0.0)


def test_the_order_of_the_streams_is_kept_where_lines_are_complete() -> None:
    console = Console()
    for source, data in ((OUT, b"a\n"), (ERR, b"b\n"), (ERR, b"c\n"), (OUT, b"d\n")):
        console.feed(source, data, 0.0)
    assert [("stdout", "a\n"), ("stderr", "b\nc\n"), ("stdout", "d\n")] == console.take(0.0)


def _decoded(feeds: list[tuple[Source, bytes, float]], source: Source) -> str:
    return b"".join(data for fed, data, _ in feeds if fed is source).decode(errors="replace")


def _is_woven_of(whole: str, part: str) -> bool:
    letters = iter(whole)
    return all(letter in letters for letter in part)


def test_it_says_when_an_unfinished_line_is_about_to_go() -> None:
    console = Console()
    console.feed(Source.STDOUT, b"whole\nName? ", 0.0)
    assert not console.lets_go(HOLD_S / 2)
    assert console.lets_go(HOLD_S)
    console.take(HOLD_S)
    assert not console.lets_go(2 * HOLD_S)
