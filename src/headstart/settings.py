"""Where things are and as whom: the only place that reads the environment, and the workspace's own paths.

Nothing here can change a number in an output; what can stands in `params.yaml`.
"""

import getpass
import io
import logging
import os
import secrets
import socket
import sys
from base64 import b64encode
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from unicodedata import category
from urllib.parse import quote, unquote

from headstart.errors import OutsideError, UsageError

SQLITE, SQLITE_FILE = "sqlite:///", "sqlite+pysqlite:///file:"
WRITABLE = "Make it writable, or work in a copy of the workspace; `status`, `predict`, `score` and `serve` only read."
UNUSABLE = '?{}"'  # `?` begins a query in a database's address, DVC fills in `{}` in paths, MLflow trips over `"`
PREFECT_PASSWORD = "Set PREFECT_API_AUTH_STRING to USER:PASSWORD, as the server has it."
PREFECT_WITH_PASSWORD = "PREFECT_API_URL holds a user or a password, which Prefect does not read there."
LONGEST_BYTES = 400  # SQLite opens no path of more than 512 bytes; the longest inside a workspace has 60 of its own

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "DO_NOT_TRACK": "true",
    "DVC_NO_ANALYTICS": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    "OPENBLAS_NUM_THREADS": "1",  # logistic regression on 500 x 384 features: 0.1 s on one thread, 2.6 s on two
    "GOMP_SPINCOUNT": "10000",  # waiting threads spin a moment: asleep at once costs 25%, spinning on 4x when busy
}
logger = logging.getLogger("headstart.settings")


@dataclass(frozen=True)
class Workspace:
    """The folder that holds `params.yaml` beside `dvc.yaml`, and the places inside it."""

    root: Path

    @property
    def params(self) -> Path:
        return self.root / "params.yaml"

    @property
    def state(self) -> Path:
        """All embedded state: registry, Prefect's database, DVC remote, journals."""
        return self.root / "state"

    @property
    def tracking_uri(self) -> str:
        """`MLFLOW_TRACKING_URI`, else SQLite inside the workspace (absolute)."""
        given = os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}{self.embedded_registry}"
        file = sqlite_file(given)
        return f"{SQLITE}{self.root / file}" if file else given

    @property
    def embedded_registry(self) -> Path:
        """The SQLite file of this workspace's own runs and registry."""
        return self.state / "mlflow.db"

    @property
    def tracking_artifacts(self) -> Path:
        """Where embedded MLflow keeps files; a server keeps them itself."""
        return self.state / "mlflow"

    @property
    def prefect_home(self) -> Path:
        return self.state / "prefect"

    @property
    def dvc_remote(self) -> Path:
        return self.state / "dvc"

    def journal(self, model: str) -> Path:
        """Where a model's answers are journalled: `HEADSTART_JOURNAL/<model>`, else inside the workspace."""
        base = os.environ.get("HEADSTART_JOURNAL")
        return (Path(base) if base else self.state / "journal") / model

    @property
    def journal_key_file(self) -> Path:
        """The key of the journals' input hashes; whoever deletes it makes those so far meaningless."""
        return self.state / "journal.key"

    def monitor(self, model: str) -> Path:
        """Where a model's windows, verdicts and pages are kept."""
        return self.state / "monitor" / model


def find_workspace(start: Path | None = None) -> Workspace:
    """The nearest folder at or above `start` with `params.yaml` beside `dvc.yaml`.

    Raises:
        UsageError: if there is none up to the file system's root, or its path cannot be used.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "params.yaml").is_file() and (folder / "dvc.yaml").is_file():
            require_usable(folder)
            return Workspace(folder)
    raise UsageError(
        f"{here} is not inside a workspace: no folder from here up holds params.yaml beside dvc.yaml.",
        action="Change into your workspace, or make one: headstart init DIR.",
    )


def require_usable(root: Path) -> None:
    """Refuse a path for a workspace that SQLite, MLflow or DVC cannot work in.

    Raises:
        UsageError: naming the character, or the length.
    """
    shown = ascii(str(root))
    try:
        size = len(str(root).encode())
    except UnicodeEncodeError:
        raise UsageError(
            f"the path of a workspace must be valid UTF-8, {shown} is not.", action="Rename that folder."
        ) from None
    if found := [character for character in str(root) if character in UNUSABLE or category(character) == "Cc"]:
        raise UsageError(
            f"the path of a workspace may not hold {found[0]!r}, and {shown} does.",
            action="Rename that folder, or choose another.",
        )
    if size > LONGEST_BYTES:
        raise UsageError(
            f"the path of a workspace may have {LONGEST_BYTES} bytes at most, {shown} has {size}.",
            action="Choose a folder nearer to the file system's root.",
        )


def sqlite_file(uri: str) -> Path | None:
    """The file that an SQLite address names, as the user writes it or as `read_only` makes it; None for others."""
    if uri.startswith(SQLITE_FILE):
        return Path(unquote(uri.removeprefix(SQLITE_FILE).partition("?")[0]))
    return Path(uri.removeprefix(SQLITE)) if uri.startswith(SQLITE) else None


def read_only(file: Path) -> str:
    """SQLAlchemy's address of an SQLite file that is only read; with `+pysqlite` MLflow makes no folder for it."""
    return f"{SQLITE_FILE}{quote(str(file))}?mode=ro&uri=true"


def require_writable(folder: Path, why: str) -> None:
    """Refuse to begin what needs to write into `folder`, or into the nearest folder above that exists.

    Raises:
        OutsideError: naming the folder and the reason.
    """
    if not is_writable(folder):
        raise OutsideError(f"{folder} cannot be written, and {why}.", action=WRITABLE)


def is_writable(path: Path) -> bool:
    """Whether a file or folder can be written; for one that is not there, whether it can be made."""
    there = path
    while not os.access(there, os.F_OK) and there != there.parent:
        there = there.parent
    return os.access(there, os.W_OK)


def journal_key(workspace: Workspace) -> bytes:
    """The key that inputs are hashed with: `HEADSTART_JOURNAL_KEY`, else the workspace's own, made at first use.

    Several servers whose hashes are to be compared need the same key, and so the environment variable. Where the
    workspace cannot be written, the key lasts as long as the process.
    """
    if given := os.environ.get("HEADSTART_JOURNAL_KEY"):
        return given.encode("utf-8", "surrogateescape")
    path = workspace.journal_key_file
    made = secrets.token_hex(32)
    try:
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")  # process numbers come again
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(made)
                file.flush()
                os.fsync(file.fileno())
            try:
                path.hardlink_to(temporary)
            except FileExistsError:  # the first of several servers decides
                pass
            finally:
                temporary.unlink()
        if key := path.read_bytes():
            return key
        raise OSError("it is empty")
    except OSError as error:
        logger.warning(
            "%s cannot be made or read (%s): input hashes in the journal can be compared within this process only. "
            "Set HEADSTART_JOURNAL_KEY to keep one key.",
            path,
            error,
        )
        return made.encode()


def api_keys() -> Path | None:
    """The file of the server's API keys, from `HEADSTART_API_KEYS`; None lets everybody call who reaches the server."""
    given = os.environ.get("HEADSTART_API_KEYS")
    return Path(given) if given else None


def now() -> datetime:
    """The one clock: the time in UTC, or what `HEADSTART_NOW` (ISO 8601 with an offset) says it is."""
    fixed = os.environ.get("HEADSTART_NOW")
    return datetime.fromisoformat(fixed).astimezone(UTC) if fixed else datetime.now(UTC)


def account() -> str:
    """Who this process runs as, user@host; `HEADSTART_ACCOUNT` names them where the user is a machine's."""
    if given := os.environ.get("HEADSTART_ACCOUNT"):
        return given
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without an entry in its passwd
        user = f"uid {os.getuid()}"
    return f"{user}@{machine()}"


def machine() -> str:
    """The name of this machine."""
    return socket.gethostname()


def prefect_server() -> str:
    """The address of the Prefect server that `PREFECT_API_URL` names; empty where none is."""
    return os.environ.get("PREFECT_API_URL", "")


def disable_telemetry() -> None:
    """Switch off every telemetry and promotion of the libraries; child processes inherit it.

    Where nobody watches a terminal, progress bars become a line every ten seconds. What a stream's encoding lacks (a
    label in Greek on a latin-1 terminal) is written as an escape and never ends a command.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    for name, value in QUIET.items():
        os.environ[name] = value
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_MININTERVAL", "10")


def alert_url() -> str:
    """Where messages go: `HEADSTART_ALERT_URL`, one or several of apprise's addresses; empty where it is not set.

    Addresses hold passwords and tokens: whoever asks never shows or logs them.
    """
    return os.environ.get("HEADSTART_ALERT_URL", "").strip()


def prefect_headers() -> dict[str, str]:
    """What a Prefect server with a password wants to see, from `PREFECT_API_AUTH_STRING`; nothing without it."""
    given = os.environ.get("PREFECT_API_AUTH_STRING")
    return {"Authorization": f"Basic {b64encode(given.encode()).decode()}"} if given else {}


def use_embedded_prefect(workspace: Workspace) -> None:
    """Keep Prefect's profile and database inside the workspace, unless the user set a place.

    A temporary server's logs are seen by nobody: what fails reaches the terminal as the exception itself.
    """
    os.environ.setdefault("PREFECT_HOME", str(workspace.prefect_home))
    if not os.environ.get("PREFECT_API_URL"):
        os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
        os.environ.setdefault("PREFECT_LOGGING_TO_API_ENABLED", "false")
