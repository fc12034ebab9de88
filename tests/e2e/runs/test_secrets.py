"""Tokens and secrets are in no log, no answer, no record and no kernel."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from tests.e2e.main_job.gateway import TOKEN, serving
from tests.e2e.runs.caller import Caller, path_of
from tests.shared.receiver import receiving

if TYPE_CHECKING:
    from pathlib import Path

    from tests.shared.http import Response

GUESS = f"guess-{os.urandom(8).hex()}"
SECRET = f"secret-{os.urandom(8).hex()}"
VALUE = f"value-{os.urandom(8).hex()}"
PLAIN = f"plain-{os.urandom(8).hex()}"
ENVIRONMENT = "import os; print(dict(os.environ))"


class Listener(Caller):
    """Keeps every answer."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.answers: list[Response] = []

    async def call(self, *args: Any, **more: Any) -> Response:
        answer = await super().call(*args, **more)
        self.answers.append(answer)
        return answer


async def test_they_are_found_nowhere_though_everything_is_logged(tmp_path: Path) -> None:
    """A word that is no secret is found, so the search would find the others."""
    data = tmp_path / "data"
    async with receiving() as receiver:
        receiver.reacts(410)
        with serving(data, "--debug", "--Webhooks.allowed_hosts=127.0.0.1") as server:
            caller = Listener(server)
            kernel = await caller.kernel()
            webhook = {"url": receiver.url, "secret": SECRET}
            body = {"kernel": kernel.id, "labels": {"of": PLAIN}}
            own = {"env": {"KERNEL_KEY": VALUE}, "secrets": ["KERNEL_KEY"]}
            uids = [
                (await caller.done(code=ENVIRONMENT, webhook=webhook, **body))["uid"],
                (await caller.done(mode="batch", steps={"exec": "env"}, **body))["uid"],
                (await caller.done(code=ENVIRONMENT, **own))["uid"],
            ]
            await receiver.until(lambda: PLAIN.encode() in receiver.posts[-1].body)  # `completed`
            for wrong in ({**webhook, "url": f"http://{GUESS}@127.0.0.1/"}, {"secret": SECRET}):
                assert 422 == (await caller.post(code="1", webhook=wrong, **body)).status
            for value in (f"{VALUE}\0", f"{VALUE}\ud800", [VALUE]):
                broken = {**own, "env": {"KERNEL_KEY": value}}
                assert 422 == (await caller.post(code="1", **broken)).status
            for token in (TOKEN, GUESS):
                answer = await caller.call(
                    "GET", f"/api/runs?token={token}", headers={"Authorization": ""}
                )
                assert (200 if token == TOKEN else 401) == answer.status
                assert 404 == (await caller.call("GET", f"/{PLAIN}?token={token}")).status
            bearer = {"Authorization": f"Bearer {GUESS}"}
            assert 401 == (await caller.call("GET", "/api/runs", headers=bearer)).status
            for uid in uids:
                for rest in ("", "/records", "/log", "/notebook", "/artifacts"):
                    assert 200 == (await caller.call("GET", path_of(uid, rest))).status
            assert 204 == (await kernel.delete()).status
            await caller.close()
    logged = "".join(server.lines)
    answered = b"".join(answer.body for answer in caller.answers).decode()
    called = b"".join(post.body for post in receiver.posts).decode()
    for text in (logged, answered, called):
        assert PLAIN in text
        assert [] == [word for word in (TOKEN, GUESS, SECRET, VALUE) if word in text]
    assert "HOME" in answered  # an environment was printed
    assert "'KERNEL_KEY': '***'" in answered
    assert [] == files_with(TOKEN, data) + files_with(GUESS, data) + files_with(VALUE, data)
    assert files_with(PLAIN, data)
    # What signs has to be there after a restart, for nobody else to read.
    assert {0o600} == {path.stat().st_mode & 0o777 for path in files_with(SECRET, data)}


def files_with(word: str, folder: Path) -> list[Path]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if word.encode() in path.read_bytes()]
