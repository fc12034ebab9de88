"""Messages and JSON of any kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

from kernel_gateway.messaging.message import Channel, Header, Message, MsgId

if TYPE_CHECKING:
    from kernel_gateway.messaging.strict_json import Json

TEXT = st.text(max_size=8)
JSON: st.SearchStrategy[Json] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(TEXT, JSON, max_size=3)
#: What `json.loads` can give for text that no strict parser would take.
LOOSE_TEXT = st.text(st.characters(), max_size=8)
LOOSE_JSON: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | LOOSE_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(LOOSE_TEXT, inner, max_size=3),
    max_leaves=6,
)
HEADERS = st.builds(
    Header,
    msg_id=TEXT.map(MsgId),
    msg_type=st.text(min_size=1, max_size=8),
    session=TEXT,
    username=TEXT,
    date=TEXT,
    version=TEXT,
    more=st.sampled_from([{}, {"subshell_id": None}, {"subshell_id": "s", "x": [1]}]),
)
MESSAGES = st.builds(
    Message,
    channel=st.sampled_from(Channel),
    header=HEADERS,
    parent=st.none() | HEADERS,
    metadata=OBJECTS,
    content=OBJECTS,
    buffers=st.lists(st.binary(max_size=8), max_size=3).map(tuple),
)
