"""Every possible strategy trained on the same examples and measured on the same validation rows."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headstart import artifacts
from headstart.determinism import digest, file_digest, folder_digest, versions
from headstart.params.section import Strategy as Name
from headstart.params.transfer import Train
from headstart.transfer import evidence, selection, training
from headstart.transfer.context import LEVEL
from headstart.transfer.strategies import STRATEGIES

FORMAT = 1


def compare(
    params: Train,
    *,
    plan: Mapping[str, Any],
    backbone: Path,
    data: Path,
    plan_file: Path,
    out: Path,
    cache: Path,
    code: str,
) -> dict[str, Any]:
    """The document `compare.json`, which is also written to `out`: as `history.json`, with work and seconds.

    Args:
        params: how strategies train.
        plan: the document of the stage `plan`.
        backbone: folder of the backbone.
        data: what `prepare` wrote.
        plan_file: where the plan is.
        out: folder of finished candidates too, by the hash of all inputs.
        cache: features already computed.
        code: what the code that trains amounts to.
    """
    key = digest([params.model_dump(), plan, folder_digest(backbone), folder_digest(data), code, versions()])[:16]
    path = out / "compare.json"
    if path.is_file() and (known := artifacts.read_json(path))["key"] == key:
        return dict(known)
    context, found = training.prepared(params, plan=plan, backbone=backbone, data=data, cache=cache)
    impossible = {name: reason for name, one in STRATEGIES.items() if (reason := one.obstacle(context))}
    learn = found["fine_tune"][0]
    unit, once = evidence.one_pass(context, learn)
    work = {name: one.work(context, once=once, rows=len(learn)) for name, one in STRATEGIES.items()}
    names: list[Name] = sorted((name for name in STRATEGIES if name not in impossible), key=lambda name: work[name])
    for other in out.glob("*") if out.is_dir() else ():
        if other.is_dir() and other.name != key:
            shutil.rmtree(other)
    trained = list(training.each(names, context, found, partial=out / key, growth=params.screen.loss_growth))
    scores = {one.name: one.score for one in trained}
    failed = {one.name: one.document["outcome"] for one in trained if one.document["outcome"] != "trained"}
    best = selection.select(scores, failed)
    document = {
        "format": FORMAT,
        "key": key,
        "plan": file_digest(plan_file),
        "level": LEVEL,
        "unit": unit,
        "kept": best.kept,
        "reason": best.document(),
        "candidates": [{**one.document, "work": work[one.name]} for one in trained],
        "seconds": {one.name: one.seconds for one in trained},
        "impossible": impossible,
    }
    artifacts.write_json(path, document)
    shutil.rmtree(out / key)
    return document
