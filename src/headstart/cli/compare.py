"""`compare`: every possible strategy trained on a model's data, side by side; nothing is released."""

from collections.abc import Iterable
from typing import Annotated, Any

import typer

from headstart import artifacts
from headstart.cli.output import Json, emit, metric
from headstart.cli.run import plan_document, planned
from headstart.cli.workspace import chosen, enter


def compare(name: Annotated[str, typer.Argument(help="The model.")], as_json: Json = False) -> int:
    """Train every strategy that is possible, from scratch included, and show how each does on validation.

    It writes `artifacts/compare/NAME/`, outside DVC, and releases nothing. A second call with the same data, parameters
    and code trains nothing; one that was interrupted goes on.
    """
    workspace, params = enter()
    chosen(params, [name])
    planned(workspace, params, [name])
    from headstart.stages import code
    from headstart.transfer import comparison

    found = comparison.compare(
        params.models[name].train,
        plan=plan_document(name),
        backbone=artifacts.backbone(params.models[name].backbone),
        data=artifacts.stage_output(name, "data"),
        plan_file=artifacts.stage_output(name, "plan") / "plan.json",
        out=artifacts.comparison(name),
        cache=artifacts.CACHE,
        code=code.describe("train"),
    )
    emit({name: document(found)}, as_json, _lines)
    return 0


def document(found: dict[str, Any]) -> dict[str, Any]:
    """What `headstart compare --json` prints for a model."""
    return {
        "strategies": [
            {
                "strategy": one["strategy"],
                "accuracy": one["validation"]["accuracy"],
                "macro_f1": one["validation"]["macro_f1"],
                "loss": one["validation"]["loss"],
                "outcome": one["outcome"],
                "kept": one["strategy"] == found["kept"],
                "work": one["work"],
                "seconds": round(found["seconds"][one["strategy"]], 1),
            }
            for one in found["candidates"]
        ],
        "impossible": found["impossible"],
        "unit": found["unit"],
    }


def _lines(documents: dict[str, Any]) -> Iterable[str]:
    from headstart.report import plan

    for name, found in documents.items():
        yield f"\n{name}: {len(found['strategies'])} strategies on validation, cheapest first"
        for one in found["strategies"]:
            kept = "  best" if one["kept"] else "" if one["outcome"] == "trained" else f"  {one['outcome']}"
            cost = f"{one['work']:,} {found['unit']}, {one['seconds']:.0f} s"
            yield f"  {one['strategy']:21} {metric('accuracy', one['accuracy'])}; {cost}{kept}"
            yield f"  {'':21} {metric('macro_f1', one['macro_f1'])}"
        for strategy, reason in found["impossible"].items():
            yield f"  {strategy:21} impossible: {plan.reason(reason)}"
    yield f"  kept in    {', '.join(str(artifacts.comparison(name)) for name in documents)}"
