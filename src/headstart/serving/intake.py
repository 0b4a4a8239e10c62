"""Request bodies in bounded memory: refused while they stream in, before too much of one, or of all, is held."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from headstart.serving.refusals import RefusedError, busy, malformed, too_large

MEGABYTE = 1_000_000
LARGEST_AT_ONCE = 8


class Intake:
    """All bodies that this process holds at one time: together no more than `LARGEST_AT_ONCE` of the largest."""

    def __init__(self, largest_bytes: int) -> None:
        self._room = LARGEST_AT_ONCE * largest_bytes

    @asynccontextmanager
    async def body(self, request: Request, *, limit: int, timeout_s: float) -> AsyncIterator[bytes]:
        """The whole body, held as long as the block lasts.

        Raises:
            RefusedError: 413 if it is longer than `limit` bytes, 408 if it takes longer than `timeout_s`, 415 if it is
                compressed, 400 if the client leaves, 503 if the bodies of others fill the memory meant for them.
        """
        encoding = request.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("identity", ""):
            raise RefusedError(415, "The body is compressed; plain bodies are accepted.", action="Send it as it is.")
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and (len(declared) > 15 or int(declared) > limit):
            raise _over(limit)
        taken = 0
        chunks: list[bytes] = []
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    message = await request.receive()
                    if message["type"] == "http.disconnect":
                        raise malformed("The client left before the body had ended.", action="Send it again.")
                    chunk = message.get("body", b"")
                    if taken + len(chunk) > limit:
                        raise _over(limit)
                    if len(chunk) > self._room:
                        raise busy("Too many large requests at once.")
                    self._room -= len(chunk)
                    taken += len(chunk)
                    chunks.append(chunk)
                    if not message.get("more_body", False):
                        break
            whole = b"".join(chunks)
            chunks.clear()
            yield whole
        except TimeoutError:
            raise RefusedError(
                408,
                f"The body did not arrive within {timeout_s:g} s.",
                action="Send fewer inputs at once, or over a faster line.",
                headers={"Connection": "close"},
            ) from None
        finally:
            self._room += taken


def media_type(request: Request) -> str:
    """What the client calls its body: `application/json`; empty where it says nothing."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def parts(request: Request, body: bytes, *, most: int) -> list[bytes]:
    """The contents of a multipart body's parts, in their order, whatever their names.

    Raises:
        RefusedError: 400 if it cannot be read or stops before its end, 413 if it has more than `most` parts.
    """
    _, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary", b"")
    if not 1 <= len(boundary) <= 70:
        raise malformed("The multipart body has no boundary of 1 to 70 characters in its Content-Type.")
    found: list[bytearray] = []
    ended: list[bool] = []

    def begin() -> None:
        if len(found) == most:
            raise too_large(f"More than {most} parts; at most {most} are accepted.", action="Send them in several.")
        found.append(bytearray())

    parser = MultipartParser(
        boundary,
        {
            "on_part_begin": begin,
            "on_part_data": lambda data, start, end: found[-1].extend(data[start:end]),
            "on_end": lambda: ended.append(True),
        },
    )
    try:
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise malformed(f"The multipart body cannot be read: {error}.", action="Let a library write it.") from None
    if not ended:
        raise malformed("The multipart body stops before its last boundary.", action="Send it again, whole.")
    return [bytes(part) for part in found]


def _over(limit: int) -> RefusedError:
    return too_large(
        f"The body is larger than {limit / MEGABYTE:g} MB, the most that is accepted.",
        action="Send fewer or smaller inputs at once.",
    )
