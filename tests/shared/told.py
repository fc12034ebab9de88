"""What a run has told, answer by answer: the same over every door that executes."""

from __future__ import annotations

from typing import Any


class Told:
    answers: list[Any]

    @property
    def last(self) -> Any:
        return self.answers[-1]

    @property
    def statuses(self) -> list[str]:
        return [answer["status"] for answer in self.answers]

    @property
    def exit_code(self) -> int | None:
        code: int | None = self.last["exitCode"]
        return code
