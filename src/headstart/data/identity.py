"""When two payloads are the same example: what duplicates, leaks, ids and splits go by."""

import unicodedata

from headstart.determinism import digest


def content_key(payload: str | bytes | None) -> str:
    """SHA-256 (hex) that equal payloads share.

    Texts are equal if they differ in white space or Unicode composition at most; case counts. Images are equal if
    their encoded bytes are: a picture saved again is another one here.
    """
    if isinstance(payload, str):
        return digest(" ".join(unicodedata.normalize("NFC", payload).split()))
    return digest(payload or b"")


def content_number(key: str) -> int:
    """A content key as a number of 64 bits, for columns: of two million contents, two share one in 10^7 sets."""
    return int.from_bytes(bytes.fromhex(key[:16]), "big", signed=True)
