"""An older params.yaml brought to the installed version's: steps between formats, keys that went, keys that it lacks.

All else of the user's own, comments included, stays as it is (a step may change more).
"""

from collections.abc import Callable
from typing import Any

import yaml

from headstart.cli import yaml_io
from headstart.errors import ParamsError
from headstart.params.loader import FORMAT
from headstart.params.retired import REMOVED, RENAMED

Step = Callable[[Any], None]
STEPS: dict[int, Step] = {}  # from format n to n + 1, in place, on ruamel's mapping, which keeps comments
FILLED = ("schedules", "defaults")  # `backbones` and `models` are the user's


def upgrade(text: str, found: int) -> str:
    """The document in the installed format, step by step.

    Raises:
        ParamsError: if it is of a newer format, or of one so old that no step leads on.
    """
    if found > FORMAT:
        raise ParamsError(
            f"params.yaml has format {found}, this version of headstart knows formats up to {FORMAT}.",
            action="Install the headstart that wrote it, or a newer one.",
        )
    if found == FORMAT:
        return text
    if absent := [number for number in range(found, FORMAT) if number not in STEPS]:
        raise ParamsError(
            f"params.yaml has format {found}, and no step leads on from format {absent[0]}.",
            action="Make a new workspace with `headstart init`, and copy your entries over.",
        )
    document = yaml_io.loads(text)
    for number in range(found, FORMAT):
        STEPS[number](document)
        document["format"] = number + 1
    return yaml_io.dumps(document)


def prune(text: str) -> tuple[str, dict[str, str]]:
    """`text` without the keys that are no longer read, and what became of each, by its dotted name.

    A renamed key keeps its value and its place among its neighbours; a section that is left empty goes too.
    """
    document, went = yaml_io.loads(text), dict[str, str]()
    for where in ("defaults", "models"):
        for name, layer in (document.get(where) or {}).items():
            for old, new in RENAMED.items():
                if (value := _taken(layer, old.split("."))) is not _ABSENT:
                    _put(layer, new.split("."), value)
                    went[f"{where}.{name}.{old}"] = f"is called {new} now"
            for old, reason in REMOVED.items():
                if _taken(layer, old.split(".")) is not _ABSENT:
                    went[f"{where}.{name}.{old}"] = reason
    return (yaml_io.dumps(document), went) if went else (text, went)


_ABSENT = object()


def _taken(layer: Any, key: list[str]) -> Any:
    """The value under a key, which is taken out of its mapping; `_ABSENT` where there is none."""
    first, *rest = key
    if not isinstance(layer, dict) or first not in layer:
        return _ABSENT
    if not rest:
        return layer.pop(first)
    value = _taken(layer[first], rest)
    if value is not _ABSENT and layer[first] == {}:
        del layer[first]
    return value


def _put(layer: Any, key: list[str], value: Any) -> None:
    for part in key[:-1]:
        layer = layer.setdefault(part, {})
    layer.setdefault(key[-1], value)


def fill(text: str, shipped: str) -> tuple[str, list[str]]:
    """`text` with every key of `schedules` and `defaults` that `shipped` has besides, and their dotted names.

    A key comes with its value and comment, behind the one that it follows in `shipped`; values that are there stay.
    """
    added: list[str] = []
    installed = yaml.compose(shipped)
    while place := _first_gap(yaml.compose(text), installed, "", added):
        user, theirs, at, key = place
        text = _insert(text, user, shipped, theirs, at)
        added.append(key)
    return text, added


def _first_gap(user: Any, shipped: Any, where: str, added: list[str]) -> tuple[Any, Any, int, str] | None:
    """The user's mapping, the shipped one, the place in it of the first key that the user's lacks, and that key."""
    values = {key.value: value for key, value in user.value}
    for at, (key, value) in enumerate(shipped.value):
        name = f"{where}{key.value}"
        if not where and key.value not in FILLED:
            continue
        if key.value not in values:
            if _comes_along(name, added):
                return user, shipped, at, name
            continue
        mine = values[key.value]
        if isinstance(value, yaml.MappingNode) and isinstance(mine, yaml.MappingNode) and not _free(name):
            gap = _first_gap(mine, value, f"{name}.", added)
            if gap:
                return gap
    return None


def _comes_along(name: str, added: list[str]) -> bool:
    """Whether a key is to be added: what only overrides for one modality comes with the key it overrides, else never.

    One that the user took out of `defaults.image` was taken out to let the value of `defaults.all` stand.
    """
    _, _, rest = name.removeprefix("defaults.").partition(".")
    if not name.startswith(("defaults.text.", "defaults.image.")):
        return True
    key = f"defaults.all.{rest}"
    return any(new == key or new.startswith(f"{key}.") or key.startswith(f"{new}.") for new in added)


def _free(name: str) -> bool:
    """Mappings whose keys are the user's own: a map of labels to labels."""
    return name.endswith("prepare.labels")


def _insert(text: str, user: Any, shipped: str, theirs: Any, at: int) -> str:
    key, value = theirs.value[at]
    if user.flow_style:
        return _insert_in_braces(text, user, key, value)
    lines, source = text.splitlines(keepends=True), shipped.splitlines(keepends=True)
    first = _first_line(source, key)
    shift = user.value[0][0].start_mark.column - key.start_mark.column
    block = [_shifted(line, shift) for line in source[first : _last_line(key, value) + 1]]
    present = {mine.value: (mine, its) for mine, its in user.value}
    before = [other.value for other, _ in theirs.value[:at] if other.value in present]
    line = _last_line(*present[before[-1]]) + 1 if before else _first_line(lines, user.value[0][0])
    if line and not lines[line - 1].endswith("\n"):
        lines[line - 1] += "\n"
    return "".join(lines[:line] + block + lines[line:])


def _insert_in_braces(text: str, user: Any, key: Any, value: Any) -> str:
    """A mapping that stands in braces gets the key at its end, in braces too."""
    inside = yaml.safe_dump(
        yaml.safe_load(yaml.serialize(value)), default_flow_style=True, width=10_000, sort_keys=False
    )
    end = user.end_mark.index - 1
    head, comma = text[:end].rstrip(), ", " if user.value else ""
    return f"{head}{comma}{key.value}: {inside.removesuffix(chr(10)).removesuffix('...').strip()}{text[end:]}"


def _first_line(lines: list[str], key: Any) -> int:
    """The line where a key begins, or the comments right above it that are as far to the right."""
    first = int(key.start_mark.line)
    while first and lines[first - 1].lstrip().startswith("#") and _indent(lines[first - 1]) == key.start_mark.column:
        first -= 1
    return first


def _last_line(key: Any, value: Any) -> int:
    """The last line that a key's value stands on; the end mark of a block lies at the next token, comments included."""
    if isinstance(value, yaml.MappingNode) and not value.flow_style and value.value:
        return _last_line(*value.value[-1])
    if isinstance(value, yaml.SequenceNode) and not value.flow_style and value.value:
        return _last_line(key, value.value[-1])
    end = value.end_mark
    return max(
        int(key.start_mark.line), int(end.line - (1 if end.column == 0 and end.line > value.start_mark.line else 0))
    )


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _shifted(line: str, shift: int) -> str:
    return " " * shift + line if shift >= 0 else line[min(-shift, _indent(line)) :]
