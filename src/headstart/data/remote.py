"""`s3://bucket/key`: a file, or a prefix as a folder, downloaded once into `.cache/sources/` and read from there.

Endpoint and keys come from the usual environment (`AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`, ...). The copy's name is
a hash of the address and of the listing's ETags and sizes: what changes there is downloaded anew, nothing else is.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headstart import artifacts, progress
from headstart.determinism import digest
from headstart.errors import DataError, OutsideError

SCHEME = "s3://"


def fetch(source: str, *, key: str = "data.source") -> Path:
    """The local copy of a file or folder on S3.

    Args:
        source: its address.
        key: of `params.yaml`, which says so, for messages.

    Raises:
        DataError: if there is nothing of that name.
        OutsideError: if the server cannot be reached, refuses, or there are no credentials.
    """
    objects = listing(source, key=key)
    root = artifacts.CACHE / "sources"
    copy = root / f"{digest(source)[:16]}-{digest(objects)[:16]}"
    address = _address(source)
    if not copy.is_dir():
        partial = root / f".{copy.name}.{os.getpid()}"
        try:
            with _said(source, key):
                _download({name: partial / _name(name, address) for name, _, _ in objects}, address)
            partial.rename(copy)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        for older in root.glob(f"{digest(source)[:16]}-*"):
            if older != copy:
                shutil.rmtree(older)
    return copy / _name(address, address) if objects[0][0] == address else copy


def listing(source: str, *, key: str = "data.source") -> list[tuple[str, int, str]]:
    """Key, size and ETag of the file, or of every file below the prefix; nothing is downloaded.

    Args:
        source: its address.
        key: of `params.yaml`, which says so, for messages.

    Raises:
        DataError: if there is nothing of that name.
        OutsideError: if the server cannot be reached, refuses, or there are no credentials.
    """
    address = _address(source)
    with _said(source, key):
        found: dict[str, Any] = _store().find(address, detail=True)
    exact = [info for name, info in found.items() if name == address]
    objects = exact or [info for info in found.values() if info["size"] or not info["name"].endswith("/")]
    if not objects:
        raise _absent(source, key)
    return sorted((info["name"], int(info["size"]), str(info.get("ETag", "")).strip('"')) for info in objects)


def _address(source: str) -> str:
    address = source.removeprefix(SCHEME).strip("/")
    if not address:
        raise DataError(f"{source} names no bucket.", action="s3://bucket/key, or s3://bucket/prefix, was expected.")
    return address


def _store() -> Any:
    import fsspec

    patience = {"connect_timeout": 10, "read_timeout": 60, "retries": {"max_attempts": 3}}
    return fsspec.filesystem("s3", config_kwargs=patience, use_listings_cache=False, skip_instance_cache=True)


def _name(key: str, address: str) -> str:
    """Where a key stands in the copy."""
    name = Path(key).name if key == address else key.removeprefix(f"{address}/")
    if ".." in Path(name).parts:
        raise DataError(f"s3://{key} leads out of its folder.", action="Rename it: no part of a key may be '..'.")
    return name


def _download(places: dict[str, Path], address: str) -> None:
    """Several files at a time, or one with a bar of its bytes."""
    from fsspec.callbacks import TqdmCallback

    for path in places.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    shown = progress.options(f"s3://{address}")
    if len(places) == 1:
        shown |= {"unit": "B", "unit_scale": True}
    keys, paths = list(places), [path.as_posix() for path in places.values()]
    with TqdmCallback(tqdm_kwargs=shown) as callback:
        if len(places) == 1:
            _store().get_file(keys[0], paths[0], callback=callback)
        else:
            _store().get(keys, paths, callback=callback)


@contextmanager
def _said(source: str, key: str) -> Iterator[None]:
    """Failures of the store in the words of this project."""
    from botocore import exceptions  # type: ignore[import-untyped]

    try:
        yield
    except FileNotFoundError:
        raise _absent(source, key) from None
    except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError, exceptions.ProfileNotFound) as error:
        raise OutsideError(
            f"{source} cannot be read: {error}.",
            action="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE.",
        ) from None
    except PermissionError as error:
        raise OutsideError(
            f"{source} cannot be read: {_where()} refuses ({error}).",
            action="Check the keys (AWS_ACCESS_KEY_ID, AWS_PROFILE) and that they may list and read the bucket.",
        ) from None
    except (exceptions.BotoCoreError, exceptions.ClientError, OSError) as error:
        raise OutsideError(
            f"{source} cannot be read from {_where()}: {error}.",
            action="Is the server up and AWS_ENDPOINT_URL right? Try again, or download the data and name the folder.",
        ) from None


def _where() -> str:
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or "Amazon S3"


def _absent(source: str, key: str) -> DataError:
    return DataError(
        f"{source} does not exist on {_where()}: no such bucket, file or prefix.",
        action=f"Mend {key} in params.yaml; `aws s3 ls` shows what is there.",
    )
