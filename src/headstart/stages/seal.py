"""Stage `seal`: everything a deployment needs, in one folder whose manifest is written last."""

from headstart import artifacts, bundle, profile
from headstart.batchnorm import instrumented
from headstart.bundle import Calibration
from headstart.data import dataset
from headstart.evaluation import golden
from headstart.faults import signatures
from headstart.params.evaluation import Seal
from headstart.predictor import Predictor
from headstart.stages import emptied, main
from headstart.stages.lineage import lineage, resolved_params


def run(model: str, params: Seal) -> None:
    """Profile and golden answers are the exported file's own, on examples it never learned from."""
    data, plan, export, evaluate = (
        artifacts.stage_output(model, stage) for stage in ("data", "plan", "export", "evaluate")
    )
    out = emptied(artifacts.stage_output(model, "bundle"))
    calibration = Calibration.from_document(artifacts.read_json(evaluate / "calibration.json"))
    predictor = Predictor.open(model=export / "model.onnx", contract=data / "contract", calibration=calibration)
    test = dataset.read(data / "test.parquet")
    chosen = golden.choose(test, golden.SPARE * golden.KEPT)
    expected = predictor.predict(chosen.inputs)
    kept = golden.clear(expected, golden.KEPT)
    golden.write(out, chosen.select(kept), [expected[row] for row in kept])
    logits, features, moments = predictor.outputs(test.inputs)
    answers, properties = predictor.predictions(logits), predictor.preprocessor.properties(test.inputs)
    seen = profile.build(
        answers, test.labels, properties, predictor.labels, features=features, seed=profile.SEED, rows=params.profile
    )
    profile.write(out, seen)
    instrumented.write(out, export, predictor, test.inputs, moments, seed=profile.SEED)
    signatures.seal(out, predictor.preprocessor, test.inputs, seed=profile.SEED)
    artifacts.write_json(out / "lineage.json", lineage(f"evaluate@{model}"))
    artifacts.write_text(out / "params.yaml", resolved_params(model))
    copied = {path.name: path for path in (data / "contract").iterdir()}
    copied |= {"model.onnx": export / "model.onnx", "plan.json": plan / "plan.json"}
    copied |= {name: evaluate / name for name in ("evaluation.json", "calibration.json")}
    bundle.seal(out, copied)


if __name__ == "__main__":
    main(run)
