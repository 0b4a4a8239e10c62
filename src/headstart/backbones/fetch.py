"""Bring a backbone's files into `data/backbones/<name>/` from wherever it is; only this step may ask a network.

    package:NAME           an installed distribution's files, found through its metadata, never imported
    hub:org/model@revision Hugging Face
    anything else          a folder in the Hugging Face layout
    `pretrain` section     the text fonts that matplotlib ships, which `glyphs` pretrains from

Only files that a backbone is made of are taken: no pickle, no code. What came from where stands in `source.json`. A
sample of the backbone's own domain goes with them where its entry names a `reference`; who calls knows how to draw it.
"""

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from headstart import artifacts
from headstart.backbones import hub, reference
from headstart.determinism import digest, file_digest
from headstart.errors import BackboneError, listed
from headstart.params.backbones import Backbone

FORMAT = 1
SOURCE_FILE = "source.json"
PROCESSOR = "preprocessor_config.json"
NESTED = "processor_config.json"  # of newer checkpoints with several processors, of which one prepares images
CARRIED = (
    "config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "model-*-of-*.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    PROCESSOR,
    NESTED,
)
TEXT_FONTS = ("DejaVuSans", "DejaVuSerif", "STIXGeneral", "cmr10", "cmb10", "cmss10", "cmti10", "cmtt10")
FONT_LICENCES = ("LICENSE_DEJAVU", "LICENSE_STIX")


@dataclass(frozen=True)
class Sample:
    """How to bring the sample of the backbone's own domain.

    Attributes:
        mark: changes when its source may have.
        write: makes the Parquet file at a path.
    """

    mark: str
    write: Callable[[Path], None]


def fetch(name: str, spec: Backbone, into: Path, *, sample: Sample | None = None) -> str:
    """Make `into` hold the backbone's files, and nothing else; unchanged content is not written again.

    Args:
        name: the key under `backbones:`, for messages.
        spec: where it comes from, and the SHA-256 of files that must not change.
        into: replaced as a whole or left as it was.
        sample: for an entry that names a `reference`; None for others.

    Returns:
        The revision: SHA-256 (hex) over the names and contents of the files.

    Raises:
        BackboneError: if the source does not exist, holds no usable backbone, or a file has another SHA-256.
        OutsideError: if the hub does not answer.
    """
    mark = fingerprint(spec)
    sample_mark = sample.mark if sample else None
    if is_current(spec, into, sample_mark=sample_mark):
        return str(artifacts.read_json(_mark_file(into))["revision"])
    temporary = into.with_name(f".{into.name}.{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        origin = _copy(name, spec, temporary)
        _unnest(temporary)
        _require_shards(temporary)
        if sample is not None:
            sample.write(temporary / reference.FILE)
        files = {path.relative_to(temporary).as_posix(): file_digest(path) for path in _files(temporary)}
        _verify(name, spec.sha256, files)
        document = {"format": FORMAT, "source": origin, "files": files}
        if spec.reference is not None:
            document["reference"] = spec.reference
        if not _holds(into, document):
            artifacts.write_json(temporary / SOURCE_FILE, document)
            _swap(temporary, into)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    revision = digest(files)
    seen = {"fingerprint": mark, "revision": revision, "sizes": _sizes(into), "sample": sample_mark}
    artifacts.write_json(_mark_file(into), seen)
    return revision


def link(spec: Backbone, into: Path) -> None:
    """Make a new folder `into` with links to what `fetch` would copy from this machine; for looking at it once.

    Raises:
        BackboneError: if the source does not exist or holds no usable backbone.
    """
    source = _source(spec)
    package = source.removeprefix("package:") if source.startswith("package:") else None
    into.mkdir(parents=True)
    for path in _package_files(package) if package else _own_files(source):
        (into / path.name).symlink_to(path.resolve())
    _unnest(into)
    _require_shards(into)


def fingerprint(spec: Backbone) -> str:
    """A quick mark of what `fetch` would bring: versions, sizes and times of files, no content read.

    Raises:
        BackboneError: if the source does not exist.
    """
    if spec.pretrain is not None:
        seen: object = [spec.pretrain.recipe, _version("matplotlib")]
    elif (source := _source(spec)).startswith("package:"):
        package = source.removeprefix("package:")
        seen = [source, _version(package), [_stamp(path) for path in _package_files(package)]]
    elif source.startswith("hub:"):
        seen = [source, *hub.parse(source)]
    else:
        seen = [source, [_stamp(path) for path in _own_files(source)]]
    return digest([FORMAT, seen, dict(spec.sha256), *([spec.reference] if spec.reference else [])])


def local_file(source: str, name: str) -> Path | None:
    """A file of a backbone that lies on this machine, before it is fetched; None where it does not, or has none.

    Raises:
        BackboneError: if the package or folder does not exist.
    """
    if source.startswith("hub:"):
        return None
    package = source.removeprefix("package:")
    files = _package_files(package) if source.startswith("package:") else _own_files(source)
    return next((path for path in files if path.name == name), None)


def is_current(spec: Backbone, into: Path, *, sample_mark: str | None = None) -> bool:
    """Whether `into` is what the last `fetch` of this very source left; takes milliseconds, reads no weights.

    Args:
        spec: where it comes from.
        into: where it lies.
        sample_mark: of its sample's source; where it is not given, only that source's name is compared.
    """
    path = _mark_file(into)
    if not path.is_file() or not (into / SOURCE_FILE).is_file():
        return False
    mark = artifacts.read_json(path)
    if sample_mark is not None and mark.get("sample") != sample_mark:
        return False
    return bool(mark["fingerprint"] == fingerprint(spec) and mark["sizes"] == _sizes(into))


def _copy(name: str, spec: Backbone, into: Path) -> dict[str, str]:
    """Put the files into the empty folder `into`; where they came from, for `source.json`."""
    if spec.pretrain is not None:
        for path in _fonts():
            shutil.copyfile(path, into / path.name)
        return {"kind": "pretrain", "recipe": spec.pretrain.recipe, "fonts": f"matplotlib {_version('matplotlib')}"}
    source = _source(spec)
    if source.startswith("package:"):
        package = source.removeprefix("package:")
        for path in _package_files(package):
            shutil.copyfile(path, into / path.name)
        return {"kind": "package", "package": package, "version": _version(package)}
    if source.startswith("hub:"):
        repository, revision = hub.parse(source)
        hub.download(name, repository, revision, into, files=CARRIED)
        _carried(into)
        return {"kind": "hub", "repository": repository, "revision": revision}
    for path in _own_files(source):
        shutil.copyfile(path, into / path.name)
    return {"kind": "folder", "path": source}


def _unnest(folder: Path) -> None:
    """Keep the image processor of a file that holds several as a file of its own; it goes before an older one."""
    path = folder / NESTED
    if not path.is_file():
        return
    try:
        held = artifacts.read_json(path)
    except ValueError:
        held = {}
    path.unlink()
    if isinstance(held, dict) and isinstance(own := held.get("image_processor"), dict):
        (folder / PROCESSOR).unlink(missing_ok=True)  # a link's target stays as it is
        artifacts.write_json(folder / PROCESSOR, own)


def _source(spec: Backbone) -> str:
    if spec.source is None:
        raise BackboneError("a backbone has neither source nor pretrain.", action=hub.LOCAL_ALTERNATIVES)
    return spec.source


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        raise BackboneError(f"the package {package} is not installed.", action=f"pip install {package}") from None


def _package_files(package: str) -> list[Path]:
    """The backbone's files inside an installed distribution; found by its metadata, nothing of it is run."""
    _version(package)
    every = [Path(str(entry.locate())) for entry in metadata.files(package) or []]
    folders = sorted({path.parent for path in every if path.name == "config.json" and _has_weights(path.parent)})
    if len(folders) != 1:
        found = listed([str(folder) for folder in folders]) or "  none"
        raise BackboneError(
            f"the package {package} holds {len(folders)} folders with config.json and safetensors, one was expected:\n"
            f"{found}",
            action="Name the folder you mean as the source.",
        )
    return _carried(folders[0])


def _fonts() -> list[Path]:
    """Fonts with all letters and figures that matplotlib ships, and their licences; matplotlib is not imported."""
    _version("matplotlib")
    every = [Path(str(entry.locate())) for entry in metadata.files("matplotlib") or []]
    faces = [path for path in every if path.suffix == ".ttf" and path.name.startswith(TEXT_FONTS)]
    faces = [path for path in faces if "Display" not in path.name]
    if not faces:
        raise BackboneError(
            "matplotlib's installation lists no text font.", action="pip install --force-reinstall matplotlib"
        )
    return sorted(faces + [path for path in every if path.name in FONT_LICENCES])


def _folder(source: str) -> Path:
    folder = Path(source).expanduser()
    if not folder.is_dir():
        raise BackboneError(
            f"the backbone's folder {folder} does not exist (looked from {Path.cwd()}).",
            action="Write a path from the workspace or an absolute one; hub:org/model@revision and package:NAME are "
            "the other kinds of source.",
        )
    return folder


def _own_files(source: str) -> list[Path]:
    """What is taken from a folder; a link in it must not bring what lies elsewhere, such as a key, into a bundle.

    Raises:
        BackboneError: as `_carried`, and for a link that leads out of the folder.
    """
    folder = _folder(source)
    homes = [folder.resolve()]
    if homes[0].parent.name == "snapshots":  # the hub's cache, where every file is a link into a folder beside them
        homes.append(homes[0].parent.parent / "blobs")
    files = _carried(folder)
    for path in files:
        if not any(path.resolve().is_relative_to(home) for home in homes):
            raise BackboneError(
                f"{path} is a link to {path.resolve()}, outside of the backbone's folder.",
                action="Put the file itself there, if it belongs to the backbone.",
            )
    return files


def _require_shards(folder: Path) -> None:
    """Refuse an index of weights that names files elsewhere, which would be read from there.

    Raises:
        BackboneError: naming the first.
    """
    path = folder / "model.safetensors.index.json"
    if not path.is_file():
        return
    try:
        named = sorted(set(artifacts.read_json(path)["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BackboneError(f"{path.name} is no index of weights.", action="Save the model again.") from None
    there = {file.name for file in folder.iterdir()}
    if absent := next((name for name in named if name not in there), None):
        raise BackboneError(
            f"{path.name} names {absent!r}, which is no file of the backbone.",
            action="Fetch the backbone again: all its files stand in one folder.",
        )


def _carried(folder: Path) -> list[Path]:
    """What is taken from a folder, sorted by name.

    Raises:
        BackboneError: if it has no `config.json`, or no safetensors.
    """
    if not (folder / "config.json").is_file() or not _has_weights(folder):
        pickled = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt") for path in folder.glob(pattern))
        there = sorted(path.name for path in folder.iterdir())
        raise BackboneError(
            f"{folder} has no {'config.json' if not (folder / 'config.json').is_file() else 'safetensors file'}; "
            f"it holds {', '.join(there[:10]) or 'nothing'}.",
            action=f"{pickled[0]} is a pickle, which can run code and is not read: save the model again with "
            "save_pretrained, which writes model.safetensors."
            if pickled
            else "Expected the Hugging Face layout: config.json and model.safetensors.",
        )
    return sorted({path for pattern in CARRIED for path in folder.glob(pattern) if path.is_file()})


def _has_weights(folder: Path) -> bool:
    return any(folder.glob("*.safetensors"))


def _verify(name: str, expected: Mapping[str, str], files: Mapping[str, str]) -> None:
    problems = [
        f"{file}: {files.get(file, 'no such file')} arrived, {sha256} was expected"
        for file, sha256 in expected.items()
        if files.get(file) != sha256.lower()
    ]
    if problems:
        raise BackboneError(
            f"files of backbone {name} are not those whose SHA-256 stands in backbones.{name}.sha256:\n"
            f"{listed(problems)}",
            action="Fetch it from where you trust, or write the new SHA-256 into params.yaml if the change is meant.",
        )


def _holds(into: Path, document: Mapping[str, object]) -> bool:
    """Whether `into` already holds exactly these files, none altered."""
    if not (into / SOURCE_FILE).is_file() or artifacts.read_json(into / SOURCE_FILE) != document:
        return False
    files = {path.relative_to(into).as_posix(): file_digest(path) for path in _files(into)}
    files.pop(SOURCE_FILE)
    return files == document["files"]


def _swap(fresh: Path, into: Path) -> None:
    """Put `fresh` in the place of `into`, which is gone only once its successor stands ready beside it."""
    old = into.with_name(f".{into.name}.{os.getpid()}.old")
    if into.exists():
        into.rename(old)
    fresh.rename(into)
    shutil.rmtree(old, ignore_errors=True)


def _mark_file(into: Path) -> Path:
    """Where the quick mark lies: beside the folder, since times of files are no part of a revision."""
    return into.parent / ".marks" / f"{into.name}.json"


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _sizes(folder: Path) -> dict[str, int]:
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in _files(folder)}


def _stamp(path: Path) -> list[object]:
    stat = path.stat()
    return [path.name, stat.st_size, stat.st_mtime_ns]
