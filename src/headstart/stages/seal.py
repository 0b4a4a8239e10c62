"""Stage `seal`: everything a deployment needs, in one folder whose manifest is written last."""

from headstart import artifacts, bundle, profile
from headstart.bundle import Calibration
from headstart.data import dataset
from headstart.evaluation import golden
from headstart.params.evaluation import Seal
from headstart.predictor import Predictor
from headstart.stages import emptied, main
from headstart.stages.lineage import lineage, resolved_params


def run(model: str, params: Seal) -> None:
    """Profile and golden answers are the exported file's own, on examples it never learned from."""
    data, export, evaluate = (artifacts.stage_output(model, stage) for stage in ("data", "export", "evaluate"))
    out = emptied(artifacts.stage_output(model, "bundle"))
    calibration = Calibration.from_document(artifacts.read_json(evaluate / "calibration.json"))
    predictor = Predictor.open(model=export / "model.onnx", contract=data / "contract", calibration=calibration)
    test = dataset.read(data / "test.parquet")
    golden.write(out / "golden.parquet", golden.choose(predictor, test, params.golden))
    seen = test.select(range(min(len(test), params.profile)))
    profile.write(
        out,
        profile.build(
            predictor.predict(seen.inputs), seen.labels, predictor.preprocessor.properties(seen.inputs), predictor.labels
        ),
    )
    artifacts.write_json(out / "lineage.json", lineage(f"evaluate@{model}"))
    artifacts.write_text(out / "params.yaml", resolved_params(model))
    contract = {path.name: path for path in (data / "contract").iterdir()}
    plan = artifacts.stage_output(model, "plan") / "plan.json"
    copied = {"model.onnx": export / "model.onnx", "plan.json": plan, **contract}
    copied |= {name: evaluate / name for name in ("evaluation.json", "calibration.json")}
    bundle.seal(out, copied)


if __name__ == "__main__":
    main(run)
