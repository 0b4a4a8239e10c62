"""Stage `plan`: prepared data and backbone -> artifacts/models/<model>/plan/plan.json."""

from headstart import artifacts
from headstart.params.transfer import Plan
from headstart.stages import Seconds, emptied, main
from headstart.transfer import planner


def run(model: str, params: Plan) -> Seconds:
    """Measure, choose, and write down why."""
    document, seconds = planner.plan(
        params,
        backbone=artifacts.backbone(params.backbone),
        data=artifacts.stage_output(model, "data"),
        cache=artifacts.CACHE,
    )
    artifacts.write_json(emptied(artifacts.stage_output(model, "plan")) / "plan.json", document)
    return seconds


if __name__ == "__main__":
    main(run)
