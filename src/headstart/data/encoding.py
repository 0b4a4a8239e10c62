"""Which encoding a file that is not UTF-8 probably is in: proposed with a line to judge it by, never just taken."""

import gzip
import shlex
from pathlib import Path

from headstart.errors import DataError

SAMPLE_BYTES = 1 << 16
SHOWN = 60


def not_utf8(path: Path) -> DataError:
    """The refusal: which line and byte, what it reads like, and the command that converts it."""
    number, line, at = 0, b"", 0
    sample = b""
    with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
        start = file.read(4)
        file.seek(0)
        for content in file:
            number += not line
            if not line:
                try:
                    content.decode()
                except UnicodeDecodeError as error:
                    line, at = content, error.start
            if not content.isascii():
                sample += content[:SAMPLE_BYTES]
            if line and len(sample) >= SAMPLE_BYTES:
                break
    message = f"{path} is not UTF-8: line {number} has the byte 0x{line[at]:02x}."
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return DataError(f"{message} It begins like UTF-16.", action=_convert(path, "utf-16"))
    if encoding := _likely(sample):
        return DataError(
            f"{message} In {encoding} that place reads {_around(line, at, encoding)!r}.",
            action=f"If it reads well: {_convert(path, encoding)[0].lower()}{_convert(path, encoding)[1:]}",
        )
    return DataError(message, action="Save it as UTF-8; a file from a Windows program often is in cp1252.")


def refuse_zero_bytes(path: Path, start: str) -> None:
    """Refuse what begins with zero bytes: in UTF-8 there are none, in UTF-16 every second one is.

    Raises:
        DataError: with the command that converts it.
    """
    if "\0" in start:
        raise DataError(
            f"{path} has zero bytes in its first line, as UTF-16 without a byte order mark has.",
            action=_convert(path, "utf-16be" if start.startswith("\0") else "utf-16le"),
        )


def _around(line: bytes, at: int, encoding: str) -> str:
    """The line as it would read, or as much of it on both sides of the byte as can be shown."""
    whole = line.decode(encoding, "replace").rstrip()
    middle = len(line[:at].decode(encoding, "ignore"))
    first = max(0, min(middle - SHOWN // 2, len(whole) - SHOWN))
    shown = whole[first : first + SHOWN].strip()
    return f"{'…' if first else ''}{shown}{'…' if first + SHOWN < len(whole) else ''}"


def _likely(sample: bytes) -> str | None:
    """The likeliest encoding: cp1252, which most such files are in, wherever it gives words; else the best guess."""
    from charset_normalizer import from_bytes

    matches = from_bytes(sample[:SAMPLE_BYTES])
    best = matches.best()
    if best is None or best.encoding in ("utf_8", "ascii"):
        return None
    words = any("cp1252" in (match.encoding, *match.could_be_from_charset) for match in matches)
    return "cp1252" if words else best.encoding


def _convert(path: Path, encoding: str) -> str:
    name = shlex.quote(path.name)
    return f"Convert it: iconv -f {encoding} -t utf-8 {name} > utf8-{name}"
