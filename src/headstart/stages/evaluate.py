"""Stage `evaluate`: the exported file on validation and test -> evaluation, calibration, predictions."""

from headstart import artifacts
from headstart.bundle import Calibration
from headstart.contract import spec
from headstart.data import cures
from headstart.evaluation import evaluate
from headstart.params.evaluation import Evaluate
from headstart.predictor import Predictor
from headstart.stages import emptied, main


def run(model: str, params: Evaluate) -> None:
    """Measure what will be served, not what was trained."""
    data = artifacts.stage_output(model, "data")
    labels = spec.read(data / "contract").labels
    predictor = Predictor.open(
        model=artifacts.stage_output(model, "export") / "model.onnx",
        contract=data / "contract",
        calibration=Calibration.identity(len(labels)),
    )
    prior = cures.prior(artifacts.cures(model), labels, params.expected_shares)
    evaluate.evaluate(predictor, data, params, emptied(artifacts.stage_output(model, "evaluate")), prior=prior)


if __name__ == "__main__":
    main(run)
