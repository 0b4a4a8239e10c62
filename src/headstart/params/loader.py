"""Read `params.yaml`, fill in defaults, check everything, and report every problem in one message."""

import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from headstart.errors import ParamsError, listed
from headstart.params import retired
from headstart.params.backbones import Backbone
from headstart.params.operation import Schedules
from headstart.params.workspace import Model, Params

FORMAT = 1
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
EXPONENT = re.compile(r"\d+e[+-]?\d+")  # numbers to people, text to YAML 1.1
OLDER = re.compile(r"^format: |: is missing$|: is no longer used: |: is called \S+ now$")  # problems of older files
TOP = {"format", "schedules", "defaults", "backbones", "models"}
STRATEGIES = ("probe", "fine_tune", "lora", "adapt", "scratch")
SHARED = {"prepare": ("probe",), "plan": STRATEGIES, "train": (*STRATEGIES, "forgetting", "screen")}
STAGES_WITH_MODALITY = ("prepare", "plan", "train", "export", "evaluate", "seal")
STAGES_WITH_BACKBONE = ("prepare", "plan", "train", "export")
Key = tuple[Any, ...]
T = TypeVar("T", bound=BaseModel)
ABSENT: dict[str, Any] = {"source": None, "pretrain": None, "sha256": {}}


def load(path: Path, *, named: Path | None = None) -> Params:
    """The checked parameters of a workspace; `named` is what messages call the file, where it is not `path`.

    Raises:
        ParamsError: with every problem, each by its dotted key, if the file cannot be used.
    """
    document = read(path)
    problems = [f"{key}: unknown key{_nearest(key, TOP)}" for key in sorted(set(document) - TOP)]
    if document.get("format") != FORMAT:
        problems.append(f"format: {document.get('format')!r} arrived, {FORMAT} was expected")
    defaults = _mapping(document, "defaults", problems)
    problems += [
        f"defaults.{key}: unknown key, expected all, text or image"
        for key in sorted(set(defaults) - {"all", "text", "image"})
    ]
    schedules = _check(Schedules, document.get("schedules"), "schedules", problems)
    entries = _mapping(document, "backbones", problems)
    backbones: dict[str, Backbone | None] = {**dict.fromkeys(entries), **_backbones(entries, problems)}
    models = {}
    for name, entry in _mapping(document, "models", problems).items():
        if model := _model(name, entry, defaults, backbones, problems):
            models[name] = model
    problems = list(dict.fromkeys(problems))  # what stands in defaults is wrong in each model alike
    if problems:
        older = any(OLDER.search(problem) for problem in problems)
        raise ParamsError(
            f"{(named or path).name} has {len(problems)} problem{'s' if len(problems) > 1 else ''}:\n"
            f"{listed(problems)}\n",
            action=f"Mend {named or path} and try again."
            + (" `headstart migrate` brings a file of an older headstart up to date." if older else ""),
        )
    assert schedules is not None
    checked = {name: backbone for name, backbone in backbones.items() if backbone}
    return Params(schedules=schedules, backbones=checked, models=models)


def read(path: Path) -> dict[str, Any]:
    """The file as a mapping, unchecked but for being YAML.

    Raises:
        ParamsError: if the file is absent, is not YAML, or is not a mapping.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParamsError(f"{path} does not exist.", action="Run in a workspace, or pass its path.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path} is not YAML: {error}.", action="Mend the line named and try again.") from None
    if not isinstance(document, dict):
        raise ParamsError(f"{path} holds {type(document).__name__}, a mapping was expected.")
    return document


def _model(
    name: str,
    entry: Any,
    defaults: Mapping[str, Any],
    backbones: Mapping[str, Backbone | None],
    problems: list[str],
) -> Model | None:
    """One model's sections: defaults for all, then of its modality, then its own keys."""
    where = f"models.{name}"
    if not isinstance(name, str) or not NAME.fullmatch(name):
        problems.append(f"{where}: a name is lower-case letters, digits, - and _ (at most 63), like 'tickets-eu'")
        return None
    if not isinstance(entry, dict):
        problems.append(f"{where}: {type(entry).__name__} arrived, a mapping was expected")
        return None
    modality, backbone = entry.get("modality"), entry.get("backbone")
    if modality not in ("text", "image"):
        problems.append(f"{where}.modality: {modality!r} arrived, text or image was expected")
        return None
    if not isinstance(backbone, str) or backbone not in backbones:
        problems.append(f"{where}.backbone: {backbone!r} is not under backbones{_nearest(str(backbone), backbones)}")
        return None
    known = backbones[backbone]
    if known and known.modality != modality:
        problems.append(f"{where}.backbone: {backbone} is for {known.modality}, the model for {modality}")
        return None
    merged = _merge(_merge(defaults.get("all") or {}, defaults.get(modality) or {}), entry)
    shared = {key: merged.pop(key, None) for key in (*STRATEGIES, "forgetting", "screen")}
    for stage, keys in SHARED.items():
        held = {key: shared[key] for key in keys if shared[key] is not None}
        merged[stage] = _merge(held, merged.get(stage) or {})
    for stage in STAGES_WITH_MODALITY:
        merged[stage] = {"modality": modality, **(merged.get(stage) or {})}
    for stage in STAGES_WITH_BACKBONE:
        merged[stage]["backbone"] = backbone
    merged["evaluate"]["expected_shares"] = _expected_shares(merged.get("data"))
    layers = {where: entry, f"defaults.{modality}": defaults.get(modality), "defaults.all": defaults.get("all")}
    for place, layer in layers.items():
        problems += [
            f"{place}.{stage}.adapt arrived, {place}.adapt was expected: plan and training read one adapted backbone"
            for stage in ("plan", "train")
            if _holds(layer, (stage, "adapt"))
        ]
        if _holds(layer, ("evaluate", "expected_shares")):
            problems.append(f"{place}.evaluate.expected_shares arrived, {place}.data.expected_shares was expected")
    return _check(Model, merged, where, problems, named=lambda key, missing: _standing(layers, key, missing))


def _expected_shares(data: Any) -> dict[Any, Any] | None:
    """`data.expected_shares`, which the stage `evaluate` reads too; None where it is wrong, which is said of `data`."""
    shares = data.get("expected_shares") if isinstance(data, Mapping) else None
    if not isinstance(shares, dict) or not all(isinstance(share, int | float) for share in shares.values()):
        return None
    return shares if all(isinstance(name, str) for name in shares) else None


def _standing(layers: Mapping[str, Any], key: Key, missing: bool) -> str:
    """The dotted key under which a merged value stands in the file, or a missing one should.

    Args:
        layers: the mappings that were merged by their own dotted key, the one that counts most first.
        key: of the merged value.
        missing: whether it stands nowhere: then it is a default's, all but the source of the data.
    """
    stage, *rest = key
    missing = missing and not any(isinstance(part, int) for part in key)  # an entry of a list is not inherited
    shared = tuple(rest) if rest and rest[0] in SHARED.get(stage, ()) else None
    if missing:
        wanted = shared or key
        where = next(iter(layers)) if stage == "data" else "defaults.all"
        return ".".join(map(str, (where, *wanted)))
    for wanted in filter(None, (key, shared)):
        for where, layer in layers.items():
            if _holds(layer, wanted):
                return ".".join(map(str, (where, *wanted)))
    return ".".join(map(str, (next(iter(layers)), *key)))


def _holds(layer: Any, key: Sequence[Any]) -> bool:
    """Whether a nested mapping has a value under the key; what lies inside a list is not looked for."""
    for part in key:
        if not isinstance(layer, Mapping) or part not in layer:
            return isinstance(layer, list)
        layer = layer[part]
    return True


def _backbones(entries: Mapping[str, Any], problems: list[str]) -> dict[str, Backbone]:
    result = {}
    for name, entry in entries.items():
        where = f"backbones.{name}"
        if not isinstance(name, str) or not NAME.fullmatch(name):
            problems.append(f"{where}: a name is lower-case letters, digits, - and _ (at most 63)")
            continue
        filled = {**ABSENT, **entry} if isinstance(entry, dict) else entry
        if backbone := _check(Backbone, filled, where, problems):
            if (backbone.source is None) == (backbone.pretrain is None):
                problems.append(f"{where}: needs either source or pretrain, exactly one of them")
            if backbone.pretrain is not None and backbone.reference is not None:
                problems.append(f"{where}.reference: pretraining done here keeps a sample of its own; leave it out")
            if backbone.pretrain is not None and backbone.layers is not None:
                problems.append(f"{where}.layers: pretraining done here makes as many as pretrain.depths says")
            result[name] = backbone
    return result


def _check(
    kind: type[T],
    value: Any,
    where: str,
    problems: list[str],
    *,
    named: Callable[[Key, bool], str] | None = None,
) -> T | None:
    """The value as `kind`; its problems under the keys that `named` gives them, else as they lie below `where`."""
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            key = detail["loc"]
            dotted = named(key, detail["type"] == "missing") if named else ".".join([where, *map(str, key)])
            problems.append(_sentence(kind, dotted, detail))
        return None


def _sentence(kind: type[BaseModel], key: str, detail: Any) -> str:
    if detail["type"] == "extra_forbidden":
        if told := retired.sentence(key):
            return told
        section: Any = kind
        for part in detail["loc"][:-1]:
            section = _within(section, part)
        return f"{key}: unknown key{_nearest(str(detail['loc'][-1]), getattr(section, 'model_fields', {}))}"
    if detail["type"] == "missing":
        return f"{key}: is missing"
    arrived, hint = detail["input"], ""
    if detail["type"] == "literal_error":
        close = get_close_matches(str(arrived), re.findall(r"'([^']+)'", detail["ctx"]["expected"]), n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
    if detail["type"] == "float_type" and EXPONENT.fullmatch(str(arrived)):
        hint = f": YAML reads {arrived} as text; write {arrived.replace('e', '.0e')}"
    expected = detail["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return f"{key}: {arrived!r} arrived, {expected} was expected{hint}"


def _within(section: Any, part: str | int) -> Any:
    """The type of a section's key, or of a list's entry; None where it is no type whose keys are known."""
    if isinstance(part, int):
        return next(iter(get_args(section)), None)
    known = section.model_fields[part].annotation if hasattr(section, "model_fields") else None
    return get_args(known)[0] if isinstance(known, UnionType) else known


def _merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """`high` over `low`, mappings merged key by key, everything else replaced."""
    result = dict(low)
    for key, value in high.items():
        inherited = result.get(key)
        if isinstance(inherited, Mapping) and isinstance(value, Mapping):
            result[key] = _merge(inherited, value)
        else:
            result[key] = value
    return result


def _mapping(document: Mapping[str, Any], key: str, problems: list[str]) -> dict[Any, Any]:
    value = document.get(key)
    if isinstance(value, dict):
        return value
    problems.append(f"{key}: {type(value).__name__} arrived, a mapping was expected (empty: {key}: {{}})")
    return {}


def _nearest(word: str, known: Any) -> str:
    close = get_close_matches(word, list(known), n=1)
    return f", did you mean {close[0]}?" if close else f", expected one of {', '.join(sorted(known))}" if known else ""
