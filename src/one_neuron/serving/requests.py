"""What a request holds: picture files in a form, one in the body, or MLflow's JSON. Everything has a limit."""

import base64
import binascii
import json
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import anyio
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from one_neuron.errors import one_line

MAX_PICTURES = 100  # of a request
MAX_BODY = 64 * 2**20  # bytes of a request
BODY_SECONDS = 60  # for a request to arrive
FIELD = "file"
COLUMN = "picture"  # of MLflow's JSON forms, as in the signature of the logged model
REMEDY_FORM = "send it as multipart/form-data with a boundary"
RAW_TYPES = ("", "application/octet-stream", "application/x-www-form-urlencoded")  # the last is what curl sends


class BadRequest(Exception):  # noqa: N818 - the name of HTTP status 400
    """A request that cannot be answered: the HTTP status, and one line for its sender."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


async def read_pictures(request: Request) -> list[tuple[str, bytes]]:
    """Return the names and bytes of the pictures in a request.

    Raises
    ------
    BadRequest
        408 if it arrives too slowly, 413 if it is too large, 415 if its type is unknown, 400 if it holds no picture.
    """
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    try:
        with anyio.fail_after(BODY_SECONDS):
            if kind == "multipart/form-data":
                pictures = await _read_form(request)
            elif kind == "application/json":
                pictures = list(_read_json(await _read_body(request)))
            elif kind in RAW_TYPES or kind.startswith("image/"):
                content = await _read_body(request)
                pictures = [("body", content)] if content else []
            else:
                raise BadRequest(415, f"the type {kind!r} is not known; send multipart/form-data, image/* or JSON")
    except TimeoutError as error:
        raise BadRequest(408, f"the request did not arrive within {BODY_SECONDS} s; send it again") from error
    if not pictures:
        raise BadRequest(400, f"there is no picture in the request; send at least one in the field '{FIELD}'")
    if len(pictures) > MAX_PICTURES:
        raise BadRequest(413, _too_many(len(pictures)))
    return pictures


async def _read_body(request: Request) -> bytes:
    """Return the bytes of a request."""
    return b"".join([chunk async for chunk in _limited(request)])


async def _limited(request: Request) -> AsyncGenerator[bytes, None]:
    """Yield the body of a request in parts, as long as it is not too large."""
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BODY:
            raise BadRequest(413, f"the request has more than {MAX_BODY:,} bytes; send fewer or smaller pictures")
        yield chunk


async def _read_form(request: Request) -> list[tuple[str, bytes]]:
    """Return the files in the field `file` of a form."""
    parser = MultiPartParser(request.headers, _limited(request), max_files=MAX_PICTURES, max_fields=10)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        if "Too many files" in error.message:
            raise BadRequest(413, _too_many(f"more than {MAX_PICTURES}")) from error
        raise BadRequest(400, f"the form cannot be read ({one_line(error.message)}); {REMEDY_FORM}") from error
    try:
        files = [value for value in form.getlist(FIELD) if isinstance(value, UploadFile)]
        return [(file.filename or "", await file.read()) for file in files]
    finally:
        await form.close()


def _read_json(body: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the pictures of one of MLflow's JSON forms, in which bytes are base64; rows are counted from 0."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest(400, "the request is not JSON; see the forms of MLflow, such as dataframe_split") from error
    rows = _list_rows(content)
    if len(rows) > MAX_PICTURES:
        raise BadRequest(413, _too_many(len(rows)))
    for number, row in enumerate(rows):
        text: Any = row.get(COLUMN) if isinstance(row, dict) else row
        try:
            yield f"row {number}", base64.b64decode(text, validate=True)
        except (TypeError, ValueError, binascii.Error) as error:
            raise BadRequest(400, f"row {number} has no '{COLUMN}' in base64; encode the bytes of a file") from error


def _list_rows(content: Any) -> list[Any]:
    """Return the rows of MLflow's forms: dataframe_split, dataframe_records, instances or inputs."""
    rows: Any = None
    if isinstance(content, dict):
        split = content.get("dataframe_split")
        if isinstance(split, dict) and isinstance(columns := split.get("columns"), list) and COLUMN in columns:
            place, data = columns.index(COLUMN), split.get("data")
            if isinstance(data, list) and all(isinstance(row, list) and len(row) == len(columns) for row in data):
                rows = [row[place] for row in data]
        for form in ("dataframe_records", "instances", "inputs"):
            rows = content[form] if rows is None and form in content else rows
        if isinstance(rows, dict):  # inputs by column
            rows = rows.get(COLUMN)
    if not isinstance(rows, list):
        raise BadRequest(400, f"the JSON has no pictures; send dataframe_split or dataframe_records with '{COLUMN}'")
    return rows


def _too_many(count: object) -> str:
    """Return the message for a request with too many pictures."""
    return f"the request has {count} pictures; at most {MAX_PICTURES} are read at once, send the others in another one"
