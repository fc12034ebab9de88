"""`runs/widgets.py` and what `runs/outputs.py` makes of it: widgets in an output notebook."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from kernel_gateway.messaging.strict_json import encode
from kernel_gateway.runs import records
from kernel_gateway.runs.outputs import Outputs
from kernel_gateway.runs.records import Record, Seq, Spilled
from kernel_gateway.runs.widgets import MIME

if TYPE_CHECKING:
    from kernel_gateway.messaging.strict_json import Json
    from kernel_gateway.runs.records import Body

OUTPUT_MODEL = {"_model_name": "OutputModel", "_model_module": "@jupyter-widgets/output"}


class Page:
    """A fold that is fed bodies, of two steps whose requests are m0 and m1."""

    def __init__(self, **options: Any) -> None:
        self._outputs = Outputs(**options)
        self._numbers = count(1)
        self.begin(0, "m0").begin(1, "m1")

    def add(self, body: Body, step: int = 0) -> Page:
        seq = Seq(next(self._numbers))
        self._outputs.apply(Record(seq=seq, at=0.0, step=step, body=body))
        return self

    def begin(self, step: int, msg_id: str) -> Page:
        return self.add(records.StepChanged(state="running", msg_id=msg_id), step)

    def open(self, comm_id: str = "w", target: str = "jupyter.widget", **state: Json) -> Page:
        data: dict[str, Json] = {"state": state}
        return self.add(records.Comm(what="open", comm_id=comm_id, target_name=target, data=data))

    def output_widget(self, comm_id: str = "w", **state: Json) -> Page:
        traits: dict[str, Any] = {**OUTPUT_MODEL, "outputs": [], **state}
        return self.open(comm_id, **traits)

    def update(self, comm_id: str = "w", **state: Json) -> Page:
        return self.send(comm_id, {"method": "update", "state": state})

    def send(self, comm_id: str, data: dict[str, Json], **fields: Any) -> Page:
        return self.add(records.Comm(what="msg", comm_id=comm_id, data=data, **fields))

    def close(self, comm_id: str = "w") -> Page:
        return self.add(records.Comm(what="close", comm_id=comm_id, data={}))

    def out(self, text: str, step: int = 0) -> Page:
        return self.add(records.LogText(stream="stdout", text=text), step)

    def show(self, text: str, display_id: str | None = None, step: int = 0) -> Page:
        body = records.Output(
            index=0,
            output_type="display_data",
            data={"text/plain": text},
            metadata={},
            display_id=display_id,
        )
        return self.add(body, step)

    def replace(self, text: str, display_id: str) -> Page:
        data: dict[str, Json] = {"text/plain": text}
        return self.add(records.Updated(display_id=display_id, data=data, metadata={}))

    def clear(self, *, wait: bool = False) -> Page:
        return self.add(records.Cleared(wait=wait))

    @property
    def widgets(self) -> dict[str, Any]:
        metadata: Any = self._outputs.widgets()
        assert metadata is not None
        models: dict[str, Any] = metadata[MIME]["state"]
        return models

    def state(self, comm_id: str = "w") -> dict[str, Any]:
        state: dict[str, Any] = self.widgets[comm_id]["state"]
        return state

    def texts(self, step: int = 0) -> list[str]:
        return [_text(output) for output in self._outputs.outputs(step)]

    def taken(self, comm_id: str = "w") -> list[str]:
        """What an Output widget shows."""
        return [_text(output) for output in self.state(comm_id)["outputs"]]

    @property
    def metadata(self) -> dict[str, Json] | None:
        return self._outputs.widgets()


def printed(text: str, name: str = "stdout") -> dict[str, Json]:
    return {"output_type": "stream", "name": name, "text": text}


def _text(output: Any) -> str:
    if output["output_type"] == "error":
        return f"{output['ename']}: {output['evalue']}"
    text: str = output["text"] if "text" in output else output["data"]["text/plain"]
    return text


# -- state -----------------------------------------------------------------------------------------


def test_a_notebook_without_widgets_has_no_state_of_them() -> None:
    assert Page().out("x").metadata is None
    assert Page().open("c", target="of.another.library", _model_name="M").metadata is None


def test_the_state_of_a_widget_is_in_the_form_of_its_schema() -> None:
    model = {"_model_name": "M", "_model_module": "m", "_model_module_version": "1.0"}
    page = Page().open(**model, value=1, kept=None).update(value=2)
    assert {
        MIME: {
            "version_major": 2,
            "version_minor": 0,
            "state": {
                "w": {
                    "model_name": "M",
                    "model_module": "m",
                    "model_module_version": "1.0",
                    "state": {**model, "value": 2, "kept": None},
                }
            },
        }
    } == page.metadata


def test_buffers_are_beside_the_state_with_their_places() -> None:
    data: dict[str, Json] = {"state": {"a": [{}]}, "buffer_paths": [["a", 0, "x"], ["b"]]}
    page = Page().open(b=1).send("w", data, buffers=("AAE=", ""))
    assert {"a": [{}]} == page.state()
    assert [
        {"encoding": "base64", "path": ["a", 0, "x"], "data": "AAE="},
        {"encoding": "base64", "path": ["b"], "data": ""},
    ] == page.widgets["w"]["buffers"]


def test_a_widget_that_is_closed_is_gone() -> None:
    assert {"v"} == set(Page().open("v").open("w").close("w").close("unknown").widgets)
    assert Page().open().close().metadata is None


def test_a_widget_that_is_opened_again_is_another_one() -> None:
    assert {"b": 1} == Page().open(a=1).open(b=1).state()


def test_messages_without_state_and_of_unknown_widgets_change_nothing() -> None:
    page = Page().open(a=1).send("w", {"method": "custom", "content": {"state": {"a": 2}}})
    assert {"w": {"a": 1}} == {name: page.state(name) for name in page.update("v", a=1).widgets}


def test_what_is_read_is_the_readers_own() -> None:
    page = Page().open(a=1)
    page.state()["a"] = 2
    assert {"a": 1} == page.state()


# -- what was too big for the log ------------------------------------------------------------------


BIG = Spilled(artifact="a1", size=9, digest="sha256:0", preview="")
LOST = Spilled(size=9, digest="sha256:0", preview="")


@pytest.mark.parametrize("value", ["text", "[1]", [1, {"a": None}], {"b": []}])
def test_a_value_that_was_put_aside_is_put_back(value: Json) -> None:
    page = Page(resolve={"a1": encode(value)}.get).open(a=1)
    page.send("w", {"method": "update"}, spilled={"/data/state/a~1b": BIG})
    assert {"a": 1, "a/b": value} == page.state()


def test_a_buffer_that_was_put_aside_is_put_back() -> None:
    page = Page(resolve={"a1": b"AAE="}.get).open()
    data: dict[str, Json] = {"state": {}, "buffer_paths": [["a"], ["b"]]}
    page.send("w", data, buffers=("AQ==", ""), spilled={"/buffers/1": BIG})
    assert ["AQ==", "AAE="] == [buffer["data"] for buffer in page.widgets["w"]["buffers"]]


@pytest.mark.parametrize("spilled", [BIG, LOST])
def test_what_is_not_to_be_had_leaves_nothing_that_is_no_longer_true(spilled: Spilled) -> None:
    page = Page().open(a="old", b="old", c="same")
    data: dict[str, Json] = {"state": {}, "buffer_paths": [["b"]]}
    where = {"/data/state/a": spilled, "/buffers/0": spilled, "/data/content": spilled}
    page.send("w", data, buffers=("",), spilled=where)
    assert {"c": "same"} == page.state()
    assert "buffers" not in page.widgets["w"]


# -- Output widgets --------------------------------------------------------------------------------


def test_an_output_widget_takes_the_outputs_of_the_step_it_names() -> None:
    page = Page().out("before\n").output_widget().update(msg_id="m0").out("in\n").show("shown")
    error = records.ErrorRaised(ename="E", evalue="e", traceback=())
    page.add(error).update(msg_id="").out("after\n")
    assert ["before\nafter\n"] == page.texts()
    assert ["in\n", "shown", "E: e"] == page.taken()


def test_it_takes_nothing_of_other_steps() -> None:
    page = Page().output_widget().update(msg_id="m0").out("x", step=1).out("y", step=0)
    assert (["x"], ["y"]) == (page.texts(1), page.taken())


def test_it_takes_late_output_of_its_step_as_long_as_it_names_it() -> None:
    page = Page().output_widget().update(msg_id="m0").out("x", 1).out("late").update(msg_id="m1")
    assert ["later"] == page.out("later").texts()
    assert (["x"], ["late next"]) == (page.texts(1), page.out(" next", 1).taken())


def test_a_request_that_is_no_step_takes_nothing() -> None:
    page = Page().output_widget(msg_id="unknown").out("a").update(msg_id=3).out("b")
    assert (["ab"], []) == (page.texts(), page.taken())


def test_a_step_that_was_sent_again_is_named_by_its_new_request() -> None:
    page = Page().begin(0, "again").output_widget(msg_id="again").out("x")
    assert ([], ["x"]) == (page.texts(), page.taken())


def test_of_two_that_name_a_step_the_last_one_takes_until_it_lets_go() -> None:
    page = Page().output_widget("o").output_widget("i").update("o", msg_id="m0").out("a")
    page.update("i", msg_id="m0").out("b").update("i", msg_id="").out("c")
    assert (["ac"], ["b"]) == (page.taken("o"), page.taken("i"))
    page.update("i", msg_id="m0").update("o", msg_id="").out("d").update("i", msg_id="").out("e")
    assert (["ac"], ["bd"]) == (page.taken("o"), page.taken("i"))
    assert ["e"] == page.texts()


def test_one_that_is_closed_takes_nothing_more() -> None:
    page = Page().output_widget().update(msg_id="m0").show("gone", "d").close().out("x")
    assert ["x"] == page.replace("unseen", "d").texts()
    assert page.metadata is None


def test_one_that_is_opened_again_takes_nothing_yet_and_shows_nothing() -> None:
    page = Page().output_widget().update(msg_id="m0").out("old").output_widget().out("x")
    assert (["x"], []) == (page.texts(), page.taken())


def test_clear_output_clears_what_the_widget_shows_and_not_the_cell() -> None:
    page = Page().out("cell").output_widget().update(msg_id="m0").out("old").clear().out("new")
    assert (["cell"], ["new"]) == (page.texts(), page.taken())
    assert ["new"] == page.clear(wait=True).taken()
    assert ["newest"] == page.out("newest").taken()


def test_an_update_of_a_display_reaches_it_in_the_widget_too() -> None:
    page = Page().show("old", "d").output_widget().update(msg_id="m0").show("old", "d")
    page.replace("new", "d")
    assert (["new"], ["new"]) == (page.texts(), page.taken())


def test_what_the_code_puts_there_takes_the_place_of_what_was_there() -> None:
    given: list[Json] = [
        {"output_type": "display_data", "data": {"text/plain": "picture"}, "metadata": {}},
        {"output_type": "stream", "name": "stdout", "text": "printed"},
        "nothing that could be shown",
    ]
    page = Page().output_widget(outputs=[printed("first")]).update(msg_id="m0")
    assert ["first", "old"] == page.show("old", "d").taken()
    assert ["picture", "printed"] == page.update(outputs=given).replace("unseen", "d").taken()
    assert ["picture", "printed more"] == page.out(" more").taken()
    assert [] == page.update(outputs=[]).taken()
    assert [] == page.out("x").update(outputs="odd").taken()


def test_what_the_code_adds_stands_behind_what_the_widget_has_taken() -> None:
    page = Page().output_widget().update(msg_id="m0").show("taken").update(msg_id="")
    page.update(outputs=[printed("a")]).update(outputs=[printed("a"), printed("b", "stderr")])
    assert ["taken", "a", "b"] == page.taken()
    assert ["c"] == page.update(outputs=[printed("c")]).taken()


def test_only_the_output_widget_of_jupyter_takes_outputs() -> None:
    page = Page().open(_model_name="OutputModel", _model_module="mine", msg_id="m0").out("x")
    assert ["x"] == page.texts()


def test_notices_of_the_gateway_stand_in_the_cell() -> None:
    page = Page().output_widget().update(msg_id="m0").out("x")
    page.add(records.Dropped(why="log_limit", bytes=3))
    assert ["3 bytes of output are missing: the log of this run was full.\n"] == page.texts()
