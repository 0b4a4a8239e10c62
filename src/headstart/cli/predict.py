"""`predict`: a champion's answers for files, strings or lines, without a server."""

import contextlib
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from headstart.cli.output import Json, emit
from headstart.cli.workspace import chosen, enter
from headstart.contract import picture
from headstart.errors import ContractError, UsageError

AT_ONCE = 32  # inputs prepared and answered together: what bounds memory


def predict(
    name: Annotated[str, typer.Argument(help="The model.")],
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT...", help="Files, strings, or - for lines.")],
    as_json: Json = False,
) -> int:
    """Answer with the champion: image files for an image model, strings or text files for a text model.

    `-` reads standard input: a line is a text, or the path of an image. A warning says what is odd about an input.
    """
    here = Path.cwd()
    workspace, params = enter()
    chosen(params, [name])
    with contextlib.chdir(here):  # files are named from where the person stands
        raw = raw_inputs(inputs, params.models[name].modality)
    from headstart import profile, registry, tracking
    from headstart.predictor import Predictor
    from headstart.serving.plausibility import Plausibility

    tracking.open(workspace)
    bundle = registry.download(name)
    predictor, plausibility = Predictor.load(bundle), Plausibility.of(profile.read(bundle))
    document: list[dict[str, Any]] = []
    for first in range(0, len(raw), AT_ONCE):
        part = raw[first : first + AT_ONCE]
        try:
            examined = predictor.preprocessor.examine(part, first=first)
        except ContractError as error:  # people count from 1
            message = error.message.replace(f"input {error.index} ", f"input {error.index + 1} ", 1)
            raise ContractError(message, index=error.index, action=error.action) from None
        logits = predictor.run([item for item, _ in examined]).logits
        for prediction, value, (_, properties) in zip(predictor.predictions(logits), part, examined, strict=True):
            answer = {
                "label": prediction.label,
                "probability": prediction.probability,
                "probabilities": dict(zip(predictor.labels, prediction.probabilities, strict=True)),
            }
            odd = list(plausibility.warnings(value, properties))
            document.append(answer | {"warnings": odd} if odd else answer)
    emit(document, as_json, _lines)
    return 0


def raw_inputs(inputs: list[str], modality: str) -> list[Any]:
    """Inputs as the contract takes them: strings, or encoded images."""
    given: list[str] = []
    for value in inputs:
        given += [line.rstrip("\r\n") for line in sys.stdin] if value == "-" else [value]
    if modality == "image":
        if missing := [value for value in given if not Path(value).is_file()]:
            raise UsageError(f"{missing[0]!r} is no image file.", action="Name files in PNG, JPEG or another format.")
        return [Path(value).read_bytes() for value in given]
    return [_text(value) for value in given]


def _text(value: str) -> str:
    """A string as it stands; the contents where it names a file."""
    try:
        is_file = len(value) < 4096 and Path(value).is_file()
    except (OSError, ValueError):
        is_file = False
    if not is_file and Path(value).suffix in (".txt", ".md", ".json", ".csv") and not any(map(str.isspace, value)):
        raise UsageError(f"{value!r} looks like a file and is none.", action="Check the path, or write a sentence.")
    if not is_file:
        return value
    with Path(value).open("rb") as file:
        kind = picture.kind(file.read(16))
    if kind is not None:
        raise UsageError(
            f"{value} is a picture ({kind}); this model takes texts.", action="Name a text file, or write a sentence."
        )
    try:
        return Path(value).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{value} is not text in UTF-8: {error}.") from None


def _lines(document: list[dict[str, Any]]) -> Any:
    for answer in document:
        odd = "".join(f"  (warning: {sentence})" for sentence in answer.get("warnings", ()))
        yield f"{answer['probability']:.3f}  {answer['label']}{odd}"
