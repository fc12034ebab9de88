"""The SDK without asyncio, as its documentation shows it: a program for the client's environment.

Makes a session, sends it a file, runs it and answers its prompt, and prints what it was told.
"""

# ruff: noqa: T201 - what it prints is what it is for

from __future__ import annotations

import sys
from pathlib import Path

# It is in the environment of the client, where the type checker is not.
from ai.backend.client.session import Session  # type: ignore[import-not-found]

name, answer = sys.argv[1:]

Path("main.py").write_text("print('hello', input('Name? '))\nraise SystemExit(3)\n")
with Session() as api:
    session = api.ComputeSession.get_or_create("python:3.11", name=name)
    session.upload(["main.py"])
    mode, code, run_id = "batch", "", None
    while True:
        opts = {"exec": "python3 main.py"}
        result = session.execute(run_id, code, mode=mode, opts=opts)
        run_id = result["runId"]
        for kind, text in result["console"]:
            print(kind, repr(text))
        print(result["status"], result["exitCode"])
        if result["status"] == "finished":
            break
        mode, code = "continue", ""
        if result["status"] == "waiting-input":
            mode, code = "input", answer
    print(sorted(session.download(["main.py"], dest="back")["file_names"]))
    session.destroy()
