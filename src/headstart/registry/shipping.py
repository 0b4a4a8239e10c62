"""A bundle on its way into a registered version, and back.

What travels: the bundle, the package's source (so that the version answers where this repository is not), the
requirements of inference alone, a signature and an input example.
"""

import atexit
import contextlib
import functools
import json
import logging
import shutil
import tempfile
from importlib.metadata import version as installed
from pathlib import Path
from urllib.parse import unquote, urlsplit

from headstart import determinism, settings
from headstart.contract import spec
from headstart.contract.spec import Contract
from headstart.errors import BundleError, OutsideError, listed
from headstart.params.section import Modality

RUNTIME = ("mlflow-skinny", "numpy", "onnxruntime", "pandas", "pillow", "pyarrow", "pydantic", "tokenizers")
EXAMPLES = 2
PACKAGE = Path(__file__).parents[1]
SCRIPT = PACKAGE / "registry_model.py"
logger = logging.getLogger("headstart.registry")


def manifest_hash(bundle: Path) -> str:
    """SHA-256 (hex) of a bundle's manifest, and so of everything in it.

    Raises:
        BundleError: if there is no manifest.
    """
    manifest = bundle / "MANIFEST.json"
    if not manifest.is_file():
        raise BundleError(f"{bundle} has no MANIFEST.json: it was never sealed.", action="Run the stage `seal`.")
    return determinism.file_digest(manifest)


def upload(bundle: Path, modality: Modality, run_id: str) -> tuple[str, str]:
    """Log the bundle as a pyfunc model of a run; returns what a version is made from: its URI and its id."""
    import mlflow
    import pandas as pd
    import pyarrow.parquet as pq
    from mlflow.models import ModelSignature
    from mlflow.types.schema import Array, ColSpec, DataType, Schema

    kind = DataType.string if modality == "text" else DataType.binary
    answers = [
        ColSpec(DataType.string, "label"),
        ColSpec(DataType.double, "probability"),
        ColSpec(Array(DataType.double), "probabilities"),
    ]
    golden = bundle / "golden.parquet"
    if not golden.is_file():
        raise BundleError(f"{bundle} has no golden.parquet, which gives a version its input example.")
    examples = pq.read_table(golden, columns=[modality])[modality].to_pylist()[:EXAMPLES]
    with tempfile.TemporaryDirectory() as temporary, mlflow.start_run(run_id=run_id):
        code = Path(temporary) / PACKAGE.name
        shutil.copytree(PACKAGE, code, ignore=_all_but_python)
        script = shutil.copy(SCRIPT, temporary)  # MLflow records this path: a temporary one gives nothing away
        named = shutil.copytree(bundle, Path(temporary) / "bundle")  # kept under this name; links would be refused
        logged = mlflow.pyfunc.log_model(
            name="bundle",
            python_model=str(script),
            artifacts={"bundle": str(named)},
            code_paths=[str(code)],
            signature=ModelSignature(inputs=Schema([ColSpec(kind, modality)]), outputs=Schema(answers)),
            input_example=pd.DataFrame({modality: pd.Series(examples, dtype=object)}),
            pip_requirements=[f"{name}=={installed(name)}" for name in RUNTIME],
        )
    return str(logged.model_uri), str(logged.model_id)


def fetch(uri: str, cache: Path, *, registered: str) -> Path:
    """The bundle of an uploaded model: the embedded registry's own folder, or a server's files, fetched once.

    Every file is compared with the manifest, and the manifest with the hash that was registered. A copy in the cache
    that differs is fetched again.

    Args:
        uri: where the version's files are.
        cache: a folder of ours; what is fetched comes to stand there whole or not at all.
        registered: the manifest's hash, as the registry has it.

    Raises:
        OutsideError: if an embedded registry's folder is gone.
        BundleError: if what the registry holds is not what was registered.
    """
    parts = urlsplit(uri)
    if parts.scheme in ("", "file"):
        folder = Path(unquote(parts.path)) / "artifacts" / "bundle"
        if not folder.is_dir():
            raise OutsideError(
                f"the registry says that a version's files are in {folder}, and they are not.",
                action="Was the workspace moved or its state deleted? `headstart run` makes the version again.",
            )
        require_registered(folder, registered)
        return folder
    kept = cache / determinism.digest(uri)[:16]
    if not kept.is_dir() and not settings.is_writable(cache):
        kept = _temporary() / kept.name
    if kept.is_dir():
        try:
            require_registered(kept, registered)
            return kept
        except BundleError as error:
            logger.warning("%s; fetching it again", error.message.rstrip())
            _set_aside(kept)
    _download(uri, kept)
    require_registered(kept, registered)
    return kept


def contract(uri: str) -> Contract | None:
    """The contract of an uploaded model, without the rest of it; None where it is absent or damaged."""
    from mlflow.exceptions import MlflowException

    parts = urlsplit(uri)
    try:
        if parts.scheme in ("", "file"):
            return spec.read(Path(unquote(parts.path)) / "artifacts" / "bundle")
        import mlflow

        with tempfile.TemporaryDirectory() as temporary:
            source = f"{uri}/artifacts/bundle/{spec.CONTRACT_FILE}"
            return spec.read(Path(mlflow.artifacts.download_artifacts(artifact_uri=source, dst_path=temporary)).parent)
    except (BundleError, MlflowException, OSError) as error:
        logger.info("the contract of %s cannot be read: %s", uri, error)
        return None


def require_registered(folder: Path, registered: str) -> None:
    """Refuse a bundle that is not the one registered, or of which a file is missing or altered.

    Raises:
        BundleError: saying what differs.
    """
    arrived = manifest_hash(folder)
    if arrived != registered:
        raise BundleError(
            f"{folder} holds another bundle than the one registered: its manifest has SHA-256 {arrived}, "
            f"the registry's tag `bundle` says {registered}."
        )
    files = json.loads((folder / "MANIFEST.json").read_text(encoding="utf-8"))["files"]
    if problems := determinism.altered(folder, files):
        raise BundleError(f"{folder} is not the bundle that was registered:\n{listed(problems)}\n")


def _download(uri: str, kept: Path) -> None:
    """Fetch a server's files to `kept`, whole or not at all."""
    import mlflow

    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as temporary:
        mlflow.artifacts.download_artifacts(artifact_uri=f"{uri}/artifacts/bundle", dst_path=temporary)
        try:
            (Path(temporary) / "bundle").rename(kept)
        except OSError:
            if not kept.is_dir():  # else another process was first, with the same files
                raise


def _set_aside(kept: Path) -> None:
    """Remove a damaged copy; another process may be at it too."""
    with tempfile.TemporaryDirectory(dir=kept.parent) as temporary, contextlib.suppress(FileNotFoundError):
        kept.rename(Path(temporary) / "damaged")


@functools.cache
def _temporary() -> Path:
    """For this process alone, where the workspace cannot be written: what a server has is fetched at each start."""
    folder = tempfile.mkdtemp(prefix="headstart-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def _all_but_python(folder: str, names: list[str]) -> list[str]:
    """What `copytree` is to leave out: everything that is neither a folder of modules nor a module."""
    return [
        name for name in names if name == "__pycache__" or not (Path(folder, name).is_dir() or name.endswith(".py"))
    ]
