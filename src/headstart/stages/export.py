"""Stage `export`: a trained network that passed its screen -> model.onnx, batchnorm.onnx, and what they show."""

from headstart import artifacts
from headstart.backbones.network import Network
from headstart.batchnorm.instrumented import GRAPH
from headstart.data import cures, dataset
from headstart.evaluation import screen
from headstart.export import graph, instrumented, parity, paths, statistics
from headstart.params.evaluation import Export
from headstart.stages import emptied, main


def run(model: str, params: Export) -> None:
    """Refuse a failed screen, export with the cure, and compare the networks on validation inputs and on hard ones."""
    data, train = artifacts.stage_output(model, "data"), artifacts.stage_output(model, "train")
    screened = artifacts.read_json(train / "screen.json")
    screen.require(screened, params.override, model)
    out = emptied(artifacts.stage_output(model, "export"))
    network = Network.load(train / "model").eval()
    validation = dataset.read(data / "validation.parquet")
    cure = cures.read_batchnorm(artifacts.cures(model))
    layers = instrumented.export(network, out / GRAPH, graph.OPSET)
    document = statistics.check(
        network,
        out / GRAPH,
        data / "contract",
        kept=artifacts.read_json(train / "batchnorm.json")["kept"],
        train=dataset.read(data / "train.parquet"),
        validation=validation,
        cure=cure,
    )
    artifacts.write_json(out / "batchnorm.json", document)
    if layers and instrumented.cured(network, cure):
        instrumented.serve(out / GRAPH, instrumented.statistics(network, layers))
    graph.export(network, params.modality, out / "model.onnx", graph.OPSET)
    inputs = validation.inputs[: parity.EXAMPLES]
    artifacts.write_json(out / "parity.json", parity.check(network, out / "model.onnx", data / "contract", inputs))
    artifacts.write_json(out / "preprocessing.json", paths.check(network, out / "model.onnx", data / "contract"))
    if screened["verdict"] != "pass" and params.override:
        artifacts.write_json(out / "override.json", {"format": artifacts.FORMAT, **params.override.model_dump()})


if __name__ == "__main__":
    main(run)
