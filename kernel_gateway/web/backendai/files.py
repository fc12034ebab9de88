"""Files of a session: sent, listed, fetched as tars.

Knows multipart bodies, both ways. Must not know folders: what a path may be is the engine's word.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_to_bytes

from tornado.httputil import HTTPFile, HTTPInputError, parse_multipart_form_data
from tornado.iostream import StreamClosedError

from kernel_gateway.errors import InvalidField, TooLarge
from kernel_gateway.web.backendai import render, schemas
from kernel_gateway.web.backendai.handler import BackendAIHandler
from kernel_gateway.web.handler import close_iterator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

MAX_FILES = 20
MAX_FILE_BYTES = 2**20
MAX_UPLOAD_BYTES = MAX_FILES * MAX_FILE_BYTES + 2**20  # with all that stands around the files


class Upload(BackendAIHandler):
    def _check_size(self, size: int) -> None:
        super()._check_size(size)
        if size > MAX_UPLOAD_BYTES:
            raise TooLarge(
                f"At most {MAX_FILES} files, each under {MAX_FILE_BYTES} bytes, go with one call."
            )

    async def on_post(self, name: str) -> None:
        session = await self.session(name)
        kind = self.request.headers.get("Content-Type", "")
        await self.service.put_files(self.owner, session.id, uploaded(kind, bytes(self._body)))
        self.set_status(HTTPStatus.NO_CONTENT)


class Files(BackendAIHandler):
    async def on_get(self, name: str) -> None:
        session = await self.session(name)
        path = schemas.listed_path(self.body(), self.request.query_arguments)
        self.answer(
            render.listing_json(await self.service.list_files(self.owner, session.id, path))
        )


class Download(BackendAIHandler):
    async def on_get(self, name: str) -> None:
        session = await self.session(name)
        paths = schemas.downloaded_paths(self.body(), self.request.query_arguments)
        archives = await self.service.archives(self.owner, session.id, paths)
        try:
            # What is wrong with one shows with its first piece: while it can still be told.
            pieces = [await anext(archive, b"") for archive in archives]
            await self._send([*map(_Part, paths, pieces, archives)])
        except StreamClosedError:  # nobody is there to be told
            return
        except BaseException:
            if self._headers_written:  # half an archive must not look like a whole one
                self._connection.stream.close()
            raise
        finally:
            for archive in archives:
                await close_iterator(archive)

    async def _send(self, parts: Sequence[_Part]) -> None:
        boundary = secrets.token_hex(16)
        self.set_header("Content-Type", f"multipart/mixed; boundary={boundary}")
        self.set_header("Content-Encoding", "identity")
        for part in parts:
            self.write(_part_head(boundary, part.path))
            self.write(part.first)
            async for piece in part.rest:
                self.write(piece)
                await self.flush()  # as fast as it is read at the other end
            self.write(b"\r\n")
        self.write(f"--{boundary}--\r\n")


@dataclass(frozen=True, slots=True)
class _Part:
    path: str
    first: bytes
    rest: AsyncIterator[bytes]


def _part_head(boundary: str, path: str) -> str:
    name = PurePosixPath(path).name or "work"
    return (
        f"--{boundary}\r\n"
        "Content-Type: application/x-tar\r\n"
        "Content-Encoding: identity\r\n"
        f"Content-Disposition: attachment; filename*=utf-8''{quote(name, errors='replace')}.tar\r\n"
        "\r\n"
    )


def uploaded(content_type: str, body: bytes) -> dict[str, bytes]:
    """The files of a multipart body, by their paths. Raises `InvalidField`."""
    files = _parts(content_type, body)
    if not files:
        raise InvalidField({"src": "is needed: at least one file with a name"})
    if len(files) > MAX_FILES:
        raise InvalidField({"src": f"must be at most {MAX_FILES} files"})
    if any(len(file.body) >= MAX_FILE_BYTES for file in files):
        raise InvalidField({"src": f"each file must be under {MAX_FILE_BYTES} bytes"})
    return {_path(file.filename): file.body for file in files}


def _parts(content_type: str, body: bytes) -> list[HTTPFile]:
    kind, _, parameters = content_type.partition(";")
    boundary = _boundary(parameters)
    if kind.strip().lower() != "multipart/form-data" or not boundary:
        raise InvalidField({"body": "must be multipart/form-data with files as src"})
    arguments: dict[str, list[bytes]] = {}
    files: dict[str, list[HTTPFile]] = {}
    try:
        parse_multipart_form_data(boundary.encode(), body, arguments, files)
    except (HTTPInputError, ValueError) as fault:
        raise InvalidField({"body": "is no multipart/form-data that can be read"}) from fault
    return [file for some in files.values() for file in some]


def _boundary(parameters: str) -> str:
    for parameter in parameters.split(";"):
        name, _, value = parameter.strip().partition("=")
        if name.lower() == "boundary":
            return value.strip('"')
    return ""


def _path(name: str) -> str:
    """The client percent-encodes all of it, slashes too."""
    try:
        return schemas.inside(unquote_to_bytes(name).decode())
    except UnicodeDecodeError:
        raise InvalidField({"src": "the name of a file must be UTF-8, percent-encoded"}) from None
