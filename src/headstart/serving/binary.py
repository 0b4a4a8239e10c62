"""The binary extension of the Open Inference Protocol: tensors after the JSON, in place of numbers and base64 in it.

A JSON head of as many bytes as the header `Inference-Header-Content-Length` says, then the tensors that have a
`binary_data_size` in it, one after another. Each element of BYTES is its length (unsigned, 32 bits, little-endian) and
its bytes, each of FP32 four bytes, little-endian. A length of 0 is a body that is one raw element and nothing else.
Source: Triton Inference Server, docs/protocol/extension_binary_data.md.
"""

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from headstart.serving.refusals import malformed, shown, too_large, unfit

LENGTH = struct.Struct("<I")


def head_length(header: str, body: bytes) -> int:
    """How many bytes of the body are JSON.

    Raises:
        RefusedError: 400 if the header is no length of a part of the body.
    """
    if not header.isdecimal() or len(header) > 15 or int(header) > len(body):
        raise malformed(
            f"Inference-Header-Content-Length is {shown(header)}; a number up to {len(body)}, the body's bytes, was "
            "expected.",
            action="It is how many bytes of the body are JSON, before the binary data.",
        )
    return int(header)


def elements(binary: bytes, size: Any, *, most: int) -> list[bytes]:
    """The elements of a BYTES tensor in binary.

    Args:
        binary: what follows the JSON head.
        size: the tensor's `binary_data_size`, as it was sent.
        most: elements that are accepted.

    Raises:
        RefusedError: 422 if there is none, or the lengths do not add up; 413 as soon as there are more than `most`:
            empty elements are four bytes each, and counting millions would hold up every other request.
    """
    if type(size) is not int:
        raise unfit(
            "The input has no data: neither `data` nor the parameter `binary_data_size` with binary data after the "
            "JSON head.",
            action="Send one of them; binary data needs the header Inference-Header-Content-Length.",
        )
    if size != len(binary):
        raise unfit(f"binary_data_size is {shown(size)}; {len(binary)} bytes follow the JSON head.")
    found: list[bytes] = []
    place = 0
    while place < len(binary):
        length = LENGTH.unpack_from(binary, place)[0] if place + LENGTH.size <= len(binary) else -1
        start, place = place + LENGTH.size, place + LENGTH.size + length
        if length < 0 or place > len(binary):
            raise unfit(
                f"Element {len(found)} of the binary data ends {place - len(binary)} bytes after it."
                if length >= 0
                else f"The binary data end within the length of element {len(found)}.",
                action="Each element is its length in 4 bytes, little-endian, and its bytes.",
            )
        found.append(binary[start:place])
        if len(found) > most:
            raise too_large(f"There are more than {most} items in it.", action="Send them in several requests.")
    return found


def framed(elements: Sequence[bytes]) -> bytes:
    """The inverse of `elements`."""
    return b"".join(LENGTH.pack(len(element)) + element for element in elements)


def numbers(values: Sequence[float]) -> bytes:
    """An FP32 tensor in binary."""
    return np.array(values, "<f4").tobytes()
