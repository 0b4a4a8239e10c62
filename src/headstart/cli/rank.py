"""`rank`: which of several backbones a model should stand on, before one is trained."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from headstart import artifacts
from headstart.cli.output import Json, emit, metric, say
from headstart.cli.workspace import chosen, enter, start_flow
from headstart.errors import OutsideError, UsageError
from headstart.params.workspace import Params


def rank(
    name: Annotated[str, typer.Argument(help="The model.")],
    backbones: Annotated[
        list[str] | None,
        typer.Argument(metavar="[BACKBONE]...", help="Names in params.yaml; all of the modality when left out."),
    ] = None,
    as_json: Json = False,
) -> int:
    """Compare backbones on a model's training data: a linear probe of each; no model is made.

    The model's own backbone is always among them. Each is judged by its last layer, also where the plan would end it at
    a middle one. At most `prepare.checks.featured` rows are shown to each. A backbone that is pretrained here is
    pretrained first.
    """
    workspace, params = enter()
    chosen(params, [name])
    names = candidates(params, name, backbones or [])
    from headstart.cli.staleness import unbuilt_models

    if unbuilt_models(workspace, params, [name], until="prepare"):
        refusal = start_flow(workspace, "training", [name], "--until", "prepare")
        if refusal:
            raise refusal
    folder = artifacts.stage_output(name, "data")
    if not (folder / "summary.json").is_file():
        raise OutsideError(f"the data of {name} was not prepared.", action="Read what was printed above.")
    own = params.models[name].backbone
    folders = {each: artifacts.backbone(each) if each == own else _stored(params, each) for each in names}
    from headstart.data import dataset
    from headstart.predictor import Preprocessor
    from headstart.transfer import ranking

    model = params.models[name]
    ranks = ranking.rank(
        folders,
        dataset.sample(folder / "train.parquet", model.prepare.checks.featured, seed=model.plan.probe.seed),
        Preprocessor.load(folder / "contract").contract.labels,
        limits=model.prepare.limits,
        params=model.plan.probe,
        cache=artifacts.CACHE,
    )
    document = {
        name: {
            "present": model.backbone,
            "recommended": ranking.recommended(ranks).backbone,
            "backbones": [one.document() for one in ranks],
        }
    }
    emit(document, as_json, _lines)
    return 0


def candidates(params: Params, model: str, asked: Sequence[str]) -> list[str]:
    """The model's own backbone and those named, or all of its modality.

    Raises:
        UsageError: if a name is no backbone, or one of the other modality, or there is nothing to compare.
    """
    modality = params.models[model].modality
    fitting = [name for name, entry in params.backbones.items() if entry.modality == modality]
    for name in asked:
        if name not in params.backbones:
            raise UsageError(
                f"there is no backbone {name!r} in params.yaml; it has {', '.join(params.backbones)}.",
                action="Add an entry under backbones: with its source and modality.",
            )
        if name not in fitting:
            raise UsageError(f"{name} is for {params.backbones[name].modality}s, {model} has {modality}s.")
    names = list(dict.fromkeys([params.models[model].backbone, *asked])) if asked else fitting
    if len(names) < 2:
        raise UsageError(
            f"{names[0]}, which {model} has, is the only candidate; ranking needs two.",
            action=f"Name another of {', '.join(fitting)}."
            if len(fitting) > 1
            else "Add another entry under backbones: in params.yaml.",
        )
    return names


def _stored(params: Params, name: str) -> Path:
    """Another model's backbone, or none's yet, made below `.cache` of its entry as it is now."""
    from headstart.backbones import fetch, store
    from headstart.determinism import digest, folder_digest
    from headstart.export import trial
    from headstart.stages import code

    spec, home = params.backbones[name], artifacts.CACHE / "backbones"
    say(f"fetching {name}" + (", which is pretrained here: this takes minutes" if spec.pretrain else ""))
    fetched = home / "fetched" / name
    fetch.fetch(name, spec, fetched)
    key = digest([folder_digest(fetched), spec.model_dump(mode="json"), code.describe("backbone")])
    made = home / key[:16] / name
    if not made.is_dir():
        with artifacts.built(made) as folder:
            store.make(fetched, spec, folder)
            if spec.pretrain is None:
                trial.run(folder)
    return made


def _lines(document: dict[str, Any]) -> Iterable[str]:
    for name, found in document.items():
        yield f"\n{name}: {len(found['backbones'])} backbones, the most accurate probe first"
        for one in found["backbones"]:
            behind = one["behind"]
            told = "the best" if behind is None else f"{100 * behind['value']:.1f} points behind"
            if behind is not None and one["tied"]:
                told += ", not significantly"
            size = f"{one['parameters'] / 1e6:.1f} M parameters, {one['seconds']:.1f} s for 1,000 examples"
            yield f"  {one['backbone']:12} {metric('probe', one['probe'])}; {told}"
            yield f"  {'':12} {size}"
        yield "  A probe judges, on each one's last layer; which serves fine-tuning best, only a plan of each can say."
        if found["recommended"] == found["present"]:
            yield f"  keep       {found['present']}: the smallest of those not significantly worse than the best"
        else:
            yield (
                f"  recommend  {found['recommended']}: the smallest of those not significantly worse than the "
                f"best; set models.{name}.backbone in params.yaml (now {found['present']})"
            )
