"""Where notebooks are read and written: files, standard input and output, storage with a URL.

Knows names of such places, and what reads them: fsspec for URLs and jupytext for notebooks that are
text, each only if it is installed. Must not know what is in a notebook. A URL may hold a password
or a signature, so nobody is shown one but by `shown`.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from kernel_gateway.errors import NotebookUnreadable, NotebookUnwritable
from kernel_gateway.notebook.saving import FileSink, RemoteSink, StreamSink

if TYPE_CHECKING:
    from kernel_gateway.notebook.saving import Sink

STANDARD = "-"

#: Notebooks as text. What else jupytext knows needs no second name for the same.
TEXT_SUFFIXES = (".py", ".md", ".markdown", ".Rmd", ".qmd", ".R", ".r", ".jl")

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(::|://)")  # `simplecache::s3://...` has two
_SECRETS = re.compile(r"(?<=://)[^/]*@|[?#].*$")  # a password may have an @ of its own
_PASSWORD = re.compile(r"://[^/:]*:([^/]+)@")
_LOCAL = "file"


def read_notebook(name: str) -> bytes:
    """As JSON. Blocks; raises `NotebookUnreadable` with a sentence that says what would help."""
    data = _read(name)
    suffix = _suffix(name)
    if suffix not in TEXT_SUFFIXES or data.lstrip().startswith(b"{"):
        return data
    return _from_text(name, data, suffix)


def sink_for(name: str) -> Sink:
    """Raises `NotebookUnwritable` where it is plain that nothing can be written there."""
    if name == STANDARD:
        if sys.__stdout__ is None:
            raise NotebookUnwritable("Standard output is closed: name a file for the output.")
        return StreamSink(sys.stdout.buffer)
    if not name:
        raise NotebookUnwritable("The output has no name.")
    if _is_url(name):
        return _remote_sink(name)
    try:
        return _local_sink(name, _path(name))
    except OSError as fault:
        raise NotebookUnwritable(f"{name} cannot be written: {fault.strerror}.") from fault


def default_output(name: str) -> str:
    """`report.out.ipynb` for `report.ipynb`. Whoever wants to overwrite the input says so."""
    if name == STANDARD:
        return STANDARD
    suffix = _suffix(name)
    stem = name.removesuffix(suffix) if suffix in {".ipynb", *TEXT_SUFFIXES} else name
    return f"{stem}.out.ipynb"


def shown(name: str) -> str:
    """For people, logs and metadata: a URL without the part that lets its reader in."""
    return _SECRETS.sub("", name) if _URL.match(name) else name


def folder_of(name: str) -> Path | None:
    """That a notebook is in; None where that is no folder of this machine."""
    return None if name == STANDARD or _is_url(name) else _path(name).absolute().parent


def _local_sink(name: str, path: Path) -> Sink:
    """Raises `OSError` as well."""
    if "\0" in name:
        raise NotebookUnwritable(f"The output {name!r} is no name of a file.")
    if path.is_dir():
        raise NotebookUnwritable(f"The output {name} is a folder; name a file in it.")
    if not path.parent.is_dir():
        raise NotebookUnwritable(f"The output {name} has no folder: make {path.parent} first.")
    if path.exists() and not path.is_file():  # a device or a pipe
        return StreamSink(path.open("wb"), closes=True)
    return FileSink(path)


# -- reading ---------------------------------------------------------------------------------------


def _read(name: str) -> bytes:
    if _is_url(name):
        return _download(name)
    try:
        return sys.stdin.buffer.read() if name == STANDARD else _path(name).read_bytes()
    except OSError as fault:
        raise NotebookUnreadable(f"{shown(name)} cannot be read: {fault.strerror}.") from fault


def _download(name: str) -> bytes:
    try:
        storage, path = _storage(name)
        data: bytes = storage.cat_file(path)
    except Exception as fault:  # the boundary: each kind of storage has errors of its own
        raise NotebookUnreadable(f"{shown(name)} cannot be read: {_why(name, fault)}") from fault
    return data


def _from_text(name: str, data: bytes, suffix: str) -> bytes:
    try:
        import jupytext  # type: ignore[import-untyped]
    except ImportError:
        raise NotebookUnreadable(
            f"{shown(name)} is a notebook as text, and jupytext, which reads it, is not installed: "
            "pip install jupytext"
        ) from None
    try:
        notebook = jupytext.reads(data.decode("utf-8-sig"), fmt=suffix)
    except Exception as fault:  # the boundary: it calls other programs for some formats
        raise NotebookUnreadable(f"{shown(name)} cannot be read: {_why(name, fault)}") from fault
    metadata = notebook["metadata"]
    language = metadata.get("jupytext", {}).get("main_language")
    if language and "kernelspec" not in metadata:
        metadata.setdefault("language_info", {"name": language})
    for cell in notebook["cells"]:
        cell.pop("id", None)  # random: the same notebook is to be the same bytes each time
    return json.dumps(notebook).encode()


# -- storage with a URL ----------------------------------------------------------------------------


def _remote_sink(name: str) -> Sink:
    try:
        storage, path = _storage(name)
    except Exception as fault:  # the boundary: each kind of storage has errors of its own
        raise NotebookUnwritable(f"{shown(name)} cannot be written: {_why(name, fault)}") from fault

    def send(data: bytes) -> None:
        try:
            storage.pipe_file(path, data)
        except Exception as fault:  # the same boundary
            raise OSError(_why(name, fault)) from fault

    return RemoteSink(send)


def _storage(name: str) -> tuple[Any, str]:
    """fsspec's file system for it, and the path there."""
    try:
        from fsspec.core import url_to_fs  # type: ignore[import-untyped]
    except ImportError:
        raise ImportError(
            "a URL is read and written by fsspec, which is not installed: pip install fsspec, and "
            "what it wants for this kind of storage (s3fs, gcsfs, adlfs, aiohttp, ...)"
        ) from None
    storage: tuple[Any, str] = url_to_fs(name)
    return storage


def _is_url(name: str) -> bool:
    return _URL.match(name) is not None and urlsplit(name).scheme != _LOCAL


def _path(name: str) -> Path:
    if _URL.match(name):
        return Path(unquote(urlsplit(name).path))
    return Path(name).expanduser()


def _suffix(name: str) -> str:
    return Path(urlsplit(name).path if _is_url(name) else name).suffix


def _why(name: str, fault: Exception) -> str:
    """Its words without line breaks; some have none but their name. They may quote the URL."""
    text = " ".join(str(fault).split()).rstrip(".")
    for secret in _SECRETS.findall(name):
        for form in (secret, unquote(secret)):
            text = text.replace(form, "")
    password = _PASSWORD.search(name)
    for form in (password[1], unquote(password[1])) if password else ():
        text = text.replace(form, "***")
    return f"{text or type(fault).__name__}."
