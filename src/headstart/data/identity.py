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
