"""Who may call the server: API keys with scopes, from a file that is read again when it changes, and a rate limit.

The file has a line a key, of a name, what the key is for, and its SHA-256; `#` begins a comment:

    shop      predict,feedback  3f0b...64 hexadecimal digits
    operator  administration    9a41...

A plain SHA-256 is enough, where a password would need a slow hash: keys are made here, of 256 random bits, and nobody
tries out that many.
"""

import hashlib
import hmac
import logging
import math
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from headstart.errors import OutsideError, UsageError
from headstart.serving.refusals import RefusedError, document

SCOPES = ("predict", "feedback", "administration")
PREFIX = "headstart_"  # so that scanners for leaked secrets can know a key
LOOK_S = 1.0
CLIENTS = 10_000
"""Most clients whose requests are counted; beyond it the one that was quiet for longest is forgotten."""
OPEN = re.compile(r"/v2/health/(live|ready)|/docs(/.*)?|/static-offline-docs/.*|/openapi\.json")
"""What probes and people without a key may see: that the process answers, and how it is asked."""
NEEDED = (
    (re.compile(r"/(predict|verify)/(?P<model>[^/]+)"), "predict"),
    (re.compile(r"/feedback/(?P<model>[^/]+)"), "feedback"),
    (re.compile(r"/v2(/models/(?P<model>[^/]+)(/.*)?|/repository/index)?"), "predict"),
)
"""Which scope a path needs; every other path needs administration."""
MAKE = "Make a line with `headstart key NAME --scope predict`."
logger = logging.getLogger("headstart.serving")


@dataclass(frozen=True)
class Key:
    """One caller: its name, what it may do, and the SHA-256 of its key."""

    name: str
    scopes: frozenset[str]
    digest: bytes


def made(name: str, scopes: Sequence[str]) -> tuple[str, str]:
    """A new key, and its line for the file.

    Raises:
        UsageError: if the name or a scope cannot stand in the file.
    """
    key = PREFIX + secrets.token_urlsafe(32)
    line = f"{name} {','.join(dict.fromkeys(scopes))} {hashlib.sha256(key.encode()).hexdigest()}"
    try:
        _parsed(line)
    except ValueError as error:
        raise UsageError(f"no key was made: {error}.") from None
    return key, line


class KeyFile:
    """The keys that a file holds; looked at once a second, since Kubernetes swaps a mounted secret in place."""

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            OutsideError: if it cannot be read.
            UsageError: if a line is no key, or there is none; no message quotes a line.
        """
        self._path = path
        self._seen = self._state()
        try:
            self._keys = read(path)
        except OSError as error:
            raise OutsideError(
                f"the API keys of HEADSTART_API_KEYS cannot be read: {path}: {error.strerror}.",
                action="Name a file that the server can read, or unset the variable to serve without keys.",
            ) from None
        self._looked = time.monotonic()

    def find(self, given: str) -> Key | None:
        """The key that a caller gave, if the file holds its hash; compared in constant time."""
        if time.monotonic() - self._looked > LOOK_S:
            self._look()
        digest = hashlib.sha256(given.encode("utf-8", "surrogateescape")).digest()
        found = None
        for key in self._keys:
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found

    def _look(self) -> None:
        """Take over what changed; a file that cannot be used leaves the keys as they were, and the log says so."""
        self._looked = time.monotonic()
        state = self._state()
        if state == self._seen:
            return
        self._seen = state
        try:
            self._keys = read(self._path)
        except OSError as error:
            logger.error("the API keys stay as they were: %s: %s.", self._path, error.strerror)
        except UsageError as error:
            logger.error("the API keys stay as they were: %s", error)
        else:
            logger.info("%d API keys read: %s", len(self._keys), ", ".join(key.name for key in self._keys))

    def _state(self) -> tuple[int, int, int] | None:
        """What differs once the file was changed or another took its place."""
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size


def read(path: Path) -> list[Key]:
    """The keys in a file.

    Raises:
        OSError: if it cannot be read.
        UsageError: naming each wrong line by its number, without its content: somebody may have put a key there.
    """
    keys, problems = [], []
    for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                keys.append(_parsed(line))
            except ValueError as error:
                problems.append(f"line {number}: {error}")
    names = [key.name for key in keys]
    problems += [f"{name} stands there twice" for name in dict.fromkeys(names) if names.count(name) > 1]
    if problems:
        raise UsageError(f"{path} is no file of API keys: {'; '.join(problems)}.", action=MAKE)
    if not keys:
        raise UsageError(f"{path} holds no API key, so that nobody could call.", action=MAKE)
    return keys


def _parsed(line: str) -> Key:
    """Raises ValueError: what is wrong, without quoting what may be a key."""
    words = line.split()
    if len(words) != 3:
        raise ValueError(f"{len(words)} words; a name, its scopes and a SHA-256 were expected")
    name, scopes, digest = words
    if not re.fullmatch(r"[A-Za-z0-9._@-]{1,64}", name):
        raise ValueError("its name may have 64 letters, digits and any of . _ @ -, and has others")
    asked = scopes.split(",")
    if not set(asked) <= set(SCOPES):
        raise ValueError(f"its scopes must be among {', '.join(SCOPES)}, with commas between them and no space")
    if not re.fullmatch(r"[0-9a-fA-F]{64}", digest):
        raise ValueError(f"the SHA-256 of {name} must have 64 hexadecimal digits; the key itself never stands here")
    return Key(name, frozenset(asked), bytes.fromhex(digest))


@dataclass
class Bucket:
    """A token bucket: a minute's requests may come at once, then they come at the rate."""

    tokens: float
    filled: float

    def take(self, a_minute: int, now: float) -> float:
        """Take a token; the seconds until there is one, 0.0 if there was."""
        self.tokens = min(a_minute, self.tokens + (now - self.filled) * a_minute / 60.0)
        self.filled = now
        if self.tokens >= 1.0:
            self.tokens -= 1.0
            return 0.0
        return (1.0 - self.tokens) * 60.0 / a_minute


@dataclass
class Access:
    """What stands before the application: a request that may not pass is answered before its body is read.

    Attributes:
        app: answers the others.
        keys: None lets everybody call everything.
        a_minute: most requests a client may make a minute, by model; 0 or absent: any number. A client is a key, or,
            without keys, an address.
        refused: told the model ("unknown" for none here), the scope and the status of each refusal.
    """

    app: ASGIApp
    keys: KeyFile | None = None
    a_minute: Mapping[str, int] = field(default_factory=dict)
    refused: Callable[[str, str, int], None] = lambda *_: None
    clock: Callable[[], float] = time.monotonic
    _buckets: OrderedDict[tuple[str, str], Bucket] = field(default_factory=OrderedDict)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""
        if scope["type"] != "http" or OPEN.fullmatch(path := scope["path"]):
            await self.app(scope, receive, send)
            return
        needed, model = _needed(path)
        try:
            self._admit(scope, needed, model)
        except RefusedError as error:
            self.refused(model if model in self.a_minute else "unknown", needed, error.status)
            answer = JSONResponse(document(error.message, error.action, path), error.status, headers=error.headers)
            await answer(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _admit(self, scope: Scope, needed: str, model: str) -> None:
        """Raises RefusedError: 401 without a key that is known, 403 for another scope, 429 for too many requests."""
        client = (scope.get("client") or ("", 0))[0]
        if self.keys:
            key = _given(Headers(scope=scope).get("authorization", ""), self.keys)
            if needed not in key.scopes:
                raise RefusedError(
                    403,
                    f"The key {key.name} is for {', '.join(sorted(key.scopes))}, and this needs {needed}.",
                    action="Ask whoever runs this server for a key with that scope.",
                )
            client = key.name
        if rate := self.a_minute.get(model, 0):
            wait_s = self._bucket(client, model, rate).take(rate, self.clock())
            if wait_s:
                seconds = math.ceil(wait_s)
                raise RefusedError(
                    429,
                    f"{client or 'This client'} may make {rate} requests a minute to {model}.",
                    action=f"Try again in {seconds} s; one request may hold many inputs.",
                    headers={"Retry-After": str(seconds)},
                )

    def _bucket(self, client: str, model: str, rate: int) -> Bucket:
        place = (client, model)
        if place not in self._buckets:
            self._buckets[place] = Bucket(rate, self.clock())
            if len(self._buckets) > CLIENTS:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(place)
        return self._buckets[place]


def _needed(path: str) -> tuple[str, str]:
    """The scope that a path needs, and the model it names, empty for none."""
    for pattern, scope in NEEDED:
        if found := pattern.fullmatch(path):
            return scope, found.groupdict().get("model") or ""
    return "administration", ""


def _given(header: str, keys: KeyFile) -> Key:
    """The caller's key.

    Raises:
        RefusedError: 401.
    """
    kind, _, given = header.partition(" ")
    if kind.lower() != "bearer" or not given:
        raise _unknown("No API key arrived; this server expects one.")
    if key := keys.find(given.strip()):
        return key
    raise _unknown("The API key that arrived is not known here; it may have been replaced.")


def _unknown(message: str) -> RefusedError:
    action = "Send the header Authorization: Bearer KEY; whoever runs this server has keys."
    return RefusedError(401, message, action=action, headers={"WWW-Authenticate": "Bearer"})
