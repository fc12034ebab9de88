"""`notebook/document.py`: whatever was read, the notebook is valid at every moment."""

from __future__ import annotations

import json
from typing import Any

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_gateway.errors import NotebookUnreadable
from kernel_gateway.notebook.choice import Wish
from kernel_gateway.notebook.document import Document, Source, kept, read
from kernel_gateway.service import KernelSpecView


def code(source: Any = "1", **fields: Any) -> dict[str, Any]:
    cell: dict[str, Any] = {
        "cell_type": "code",
        "execution_count": None,
        "metadata": {},
        "outputs": [],
        "source": source,
    }
    return cell | fields


def raw(*cells: dict[str, Any], minor: int = 5, **metadata: Any) -> bytes:
    notebook = {
        "nbformat": 4,
        "nbformat_minor": minor,
        "metadata": metadata,
        "cells": list(cells),
    }
    return json.dumps(notebook).encode()


def written(document: Document) -> dict[str, Any]:
    """What a reader finds, checked against the schema."""
    notebook: dict[str, Any] = json.loads(document.encode())
    nbformat.validate(notebook)
    return notebook


def through(data: bytes) -> dict[str, Any]:
    return written(Document(read(data)))


# -- reading ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "It is not JSON"),
        (b"\xff\xfe", "It is not JSON"),
        (b"print('a script')", "It is not JSON"),
        (b"[" * 100_000, "It is not JSON"),
        (b"[]", "it has no nbformat version"),
        (b"{}", "it has no nbformat version"),
        (b'{"nbformat": "4"}', "it has no nbformat version"),
        (b'{"nbformat": 1, "cells": []}', "nbformat 1, and only 2 to 4"),
        (b'{"nbformat": 5}', "nbformat 5, and only 2 to 4"),
        (b'{"nbformat": 4, "nbformat_minor": 5}', "It is not a valid notebook"),
        (b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": 3}', "not a valid"),
        (b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{}]}', "not a valid"),
        (raw(code(source=5)), r"cells\.0.*"),
        (raw(code(metadata={"tags": "not a list"})), r"cells\.0.*"),
        (raw(code(cell_type="video")), r"cells\.0.*"),
    ],
)
def test_what_is_no_notebook_is_told_so(data: bytes, sentence: str) -> None:
    with pytest.raises(NotebookUnreadable, match=sentence) as caught:
        read(data)
    assert 400 > len(caught.value.message)


@given(st.binary(max_size=50) | st.text(max_size=50).map(str.encode))
def test_nothing_else_is_raised_for_any_bytes(data: bytes) -> None:
    with pytest.raises(NotebookUnreadable):
        read(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["cells", "metadata", "cell_type", "source", "id", "kernelspec", "name"]
            ),
            inner,
            max_size=4,
        )
    ),
)


@given(st.sampled_from([2, 3, 4]), st.integers(0, 6), JSON, JSON)
def test_any_json_is_valid_afterwards_or_unreadable(
    major: int, minor: int, cells: Any, metadata: Any
) -> None:
    notebook = {
        "nbformat": major,
        "nbformat_minor": minor,
        "cells": cells,
        "worksheets": [{"cells": cells}],
        "metadata": metadata,
    }
    try:
        source = read(json.dumps(notebook).encode())
    except NotebookUnreadable:
        return
    document = written(Document(source))
    assert document == written(Document(kept(json.dumps(source.notebook, ensure_ascii=False))))


def test_a_byte_order_mark_is_no_fault() -> None:
    assert read(b"\xef\xbb\xbf" + raw())


def test_lists_of_lines_are_joined() -> None:
    notebook = read(raw(code(source=["a\n", "b"]))).notebook
    assert "a\nb" == notebook["cells"][0]["source"]


def test_outputs_of_an_earlier_run_are_gone() -> None:
    old = code(
        outputs=[{"output_type": "stream", "name": "stdout", "text": "old"}],
        execution_count=7,
        metadata={
            "tags": ["mine"],
            "execution": {"iopub.status.busy": "2020-01-01"},
            "kernel_gateway": {"state": "ok"},
        },
    )
    notebook = through(raw(old, kernel_gateway={"run": {}}, mine=1))
    (cell,) = notebook["cells"]
    assert ([], None) == (cell["outputs"], cell["execution_count"])
    assert {"tags": ["mine"]} == cell["metadata"]
    assert {"mine": 1} == notebook["metadata"]


def test_other_cells_stay_as_they_are() -> None:
    text = {
        "cell_type": "markdown",
        "id": "text",
        "metadata": {"mine": 1},
        "source": ["a\n", "b"],
        "attachments": {"a.png": {"image/png": "AAAA"}},
    }
    assert [text] == through(raw(text))["cells"]


def test_what_nbformat_does_not_know_is_left_out() -> None:
    notebook = json.loads(raw(code(id="a", prompt_number=3, attachments={})))
    notebook["signature"] = "x"
    assert {"nbformat", "nbformat_minor", "metadata", "cells"} == set(
        through(json.dumps(notebook).encode())
    )


def test_a_later_minor_version_keeps_what_we_do_not_know() -> None:
    notebook = through(raw(code(id="a", novelty=1), minor=9))
    assert 9 == notebook["nbformat_minor"]
    assert 1 == notebook["cells"][0]["novelty"]


@pytest.mark.parametrize("minor", range(6))
def test_every_minor_version_becomes_4_5(minor: int) -> None:
    notebook = through(raw(code("a"), code("b"), minor=minor))
    assert (4, 5) == (notebook["nbformat"], notebook["nbformat_minor"])
    assert ["cell-1", "cell-2"] == [cell["id"] for cell in notebook["cells"]]


def test_ids_are_kept_and_made_unique() -> None:
    ids = ["mine", "mine", "not valid", "cell-1", None, 5, "x" * 65]
    notebook = through(raw(*(code(id=id_) for id_ in ids)))
    assert ["mine", "cell-2", "cell-3", "cell-1", "cell-4", "cell-5", "cell-6"] == [
        cell["id"] for cell in notebook["cells"]
    ]


def test_version_3_is_read() -> None:
    old = {
        "nbformat": 3,
        "nbformat_minor": 0,
        "metadata": {"name": "old"},
        "worksheets": [
            {
                "metadata": {},
                "cells": [
                    {"cell_type": "heading", "level": 2, "metadata": {}, "source": ["Title"]},
                    {
                        "cell_type": "code",
                        "language": "python",
                        "collapsed": False,
                        "metadata": {},
                        "input": ["print(1)"],
                        "prompt_number": 4,
                        "outputs": [{"output_type": "stream", "stream": "stdout", "text": ["1"]}],
                    },
                ],
            }
        ],
    }
    source = read(json.dumps(old).encode())
    assert "3.0" == source.version
    heading, cell = written(Document(source))["cells"]
    assert ("markdown", ["## Title"]) == (heading["cell_type"], heading["source"])
    assert (["print(1)"], []) == (cell["source"], cell["outputs"])
    assert source == read(json.dumps(old).encode())  # the same IDs each time


@pytest.mark.parametrize(
    ("metadata", "wish"),
    [
        ({}, Wish()),
        ({"kernelspec": {"name": "ir", "display_name": "R"}}, Wish(name="ir")),
        ({"kernelspec": {"name": "ir", "language": "R"}}, Wish(name="ir", language="R")),
        (
            {"kernelspec": {"language": ""}, "language_info": {"name": "r"}},
            Wish(language="r"),
        ),
        ({"kernelspec": "broken", "language_info": {"name": 5}}, Wish()),
        ({"kernelspec": None}, Wish()),
    ],
)
def test_the_wish_is_found_also_in_metadata_that_is_incomplete(
    metadata: dict[str, Any], wish: Wish
) -> None:
    source = read(raw(**metadata))
    assert wish == source.wish
    written(Document(source))


def test_what_was_read_and_kept_is_a_notebook_of_the_version_that_was_made_of_it() -> None:
    text = json.dumps(read(raw(code("1"), minor=2)).notebook)
    assert read(text.encode()) == kept(text)
    assert "4.5" == kept(text).version


def test_the_digest_is_that_of_the_bytes() -> None:
    assert read(raw()).digest.startswith("sha256:")
    assert read(raw()).digest != read(raw() + b"\n").digest


# -- filling ---------------------------------------------------------------------------------------


def source(*cells: dict[str, Any], **metadata: Any) -> Source:
    return read(raw(*cells, **metadata))


PYTHON = KernelSpecView(name="python3", display_name="Python 3", language="python")


def test_the_source_is_never_changed() -> None:
    read_once = source(code(), mine={"a": 1})
    before = json.dumps(read_once.notebook)
    document = Document(read_once)
    document.set_kernel(PYTHON)
    document.set_cell(0, outputs=[], execution_count=1, metadata={"state": "ok"})
    assert before == json.dumps(read_once.notebook)


def test_steps_are_the_code_cells() -> None:
    text = {"cell_type": "markdown", "id": "t", "metadata": {}, "source": ""}
    document = Document(source(text, code(id="a"), text | {"id": "u"}, code(id="b")))
    assert ["a", "b"] == document.names
    stream: Any = {"output_type": "stream", "name": "stdout", "text": "x"}
    document.set_cell(1, outputs=[stream], execution_count=2, metadata={"state": "ok"})
    cells = written(document)["cells"]
    assert (2, {"kernel_gateway": {"state": "ok"}}) == (
        cells[3]["execution_count"],
        cells[3]["metadata"],
    )
    assert ([], ["x"]) == (cells[1]["outputs"], cells[3]["outputs"][0]["text"])


def test_a_count_that_nbformat_does_not_allow_is_none() -> None:
    document = Document(source(code()))
    document.set_cell(0, outputs=[], execution_count=-1, metadata={})
    assert written(document)["cells"][0]["execution_count"] is None


def test_the_kernelspec_is_that_of_the_kernel_that_runs() -> None:
    document = Document(source(kernelspec={"name": "gone", "display_name": "Gone", "argv": []}))
    document.set_kernel(PYTHON)
    expected = {"name": "python3", "display_name": "Python 3", "language": "python"}
    assert expected == written(document)["metadata"]["kernelspec"]


def test_the_kernelspec_of_the_same_kernel_keeps_what_it_has() -> None:
    there = {"name": "python3", "display_name": "Mine", "env": {"A": "1"}}
    document = Document(source(kernelspec=there))
    document.set_kernel(PYTHON)
    assert there | {"language": "python"} == written(document)["metadata"]["kernelspec"]


def test_a_kernel_without_a_display_name_is_shown_by_its_name() -> None:
    document = Document(source())
    document.set_kernel(KernelSpecView(name="k", display_name="", language=""))
    assert "k" == written(document)["metadata"]["kernelspec"]["display_name"]


def test_language_info_comes_from_the_kernel_as_far_as_it_is_valid() -> None:
    document = Document(source())
    document.set_language(
        {
            "name": "python",
            "version": "3.11",
            "codemirror_mode": {"name": "ipython"},
            "mimetype": 5,
            "file_extension": None,
            "extra": [1],
        }
    )
    expected = {
        "name": "python",
        "version": "3.11",
        "codemirror_mode": {"name": "ipython"},
        "extra": [1],
    }
    assert expected == written(document)["metadata"]["language_info"]


def test_a_kernel_that_does_not_name_its_language_leaves_what_is_there() -> None:
    document = Document(source(language_info={"name": "r"}))
    document.set_language({})
    assert {"name": "r"} == written(document)["metadata"]["language_info"]


# -- writing ---------------------------------------------------------------------------------------


def test_it_is_written_as_jupyter_writes_it() -> None:
    document = Document(source(code("a = 'ü'\nb")))
    text = document.encode().decode()
    read_again = nbformat.reads(text, 4)  # type: ignore[no-untyped-call]
    assert text == nbformat.writes(read_again) + "\n"  # type: ignore[no-untyped-call]
    assert "\"a = 'ü'\\n\"" in text


def test_no_number_that_json_lacks_and_no_half_character_is_written() -> None:
    document = Document(source(code()))
    data: dict[str, Any] = {"application/json": {"a": [float("nan"), "\ud800"]}}
    output: Any = {"output_type": "display_data", "data": data, "metadata": {}}
    document.set_cell(0, outputs=[output], execution_count=None, metadata={})
    (found,) = written(document)["cells"][0]["outputs"]
    assert {"a": [None, "\ufffd"]} == found["data"]["application/json"]


def test_writing_changes_nothing() -> None:
    document = Document(source(code("a\nb")))
    assert document.encode() == document.encode()
    assert "a\nb" == document.notebook["cells"][0]["source"]
