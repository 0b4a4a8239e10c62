"""Stage `export`: a trained network that passed its screen -> model.onnx, parity.json and preprocessing.json."""

from headstart import artifacts
from headstart.backbones.network import Network
from headstart.data import dataset
from headstart.evaluation import screen
from headstart.export import graph, parity, paths
from headstart.params.evaluation import Export
from headstart.stages import emptied, main


def run(model: str, params: Export) -> None:
    """Refuse a failed screen, export, and compare the two networks on validation inputs and on hard ones."""
    data, train = artifacts.stage_output(model, "data"), artifacts.stage_output(model, "train")
    screened = artifacts.read_json(train / "screen.json")
    screen.require(screened, params.override, model)
    out = emptied(artifacts.stage_output(model, "export"))
    network = Network.load(train / "model").eval()
    graph.export(network, params.modality, out / "model.onnx", params.opset)
    inputs = dataset.read(data / "validation.parquet").inputs[: params.parity_examples]
    document = parity.check(network, out / "model.onnx", data / "contract", inputs)
    artifacts.write_json(out / "parity.json", document)
    artifacts.write_json(out / "preprocessing.json", paths.check(network, out / "model.onnx", data / "contract"))
    if screened["verdict"] != "pass" and params.override:
        artifacts.write_json(out / "override.json", {"format": artifacts.FORMAT, **params.override.model_dump()})


if __name__ == "__main__":
    main(run)
