"""Stage `train`: plan, prepared data and backbone -> a network, its history and its screen."""

import shutil

from headstart import artifacts
from headstart.determinism import digest, folder_digest
from headstart.params.transfer import Train
from headstart.stages import Seconds, emptied, main
from headstart.transfer import training


def run(model: str, params: Train) -> Seconds:
    """Train as planned; checkpoints are kept by what went in, so a killed run goes on where it was."""
    data, plan = artifacts.stage_output(model, "data"), artifacts.stage_output(model, "plan") / "plan.json"
    backbone, code = artifacts.backbone(params.backbone), artifacts.stage_code("train").read_text()
    parts = [params.model_dump(), plan.read_text(), folder_digest(data), folder_digest(backbone), code]
    partial = artifacts.partial(digest(parts))
    seconds = training.train(
        params,
        plan=artifacts.read_json(plan),
        backbone=backbone,
        data=data,
        out=emptied(artifacts.stage_output(model, "train")),
        partial=partial,
        cache=artifacts.CACHE,
    )
    shutil.rmtree(partial, ignore_errors=True)
    return seconds


if __name__ == "__main__":
    main(run)
