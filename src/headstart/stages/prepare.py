"""Stage `prepare`: data/raw/<model>/ and the backbone's files -> splits, quarantine, findings, contract."""

from headstart import artifacts
from headstart.backbones import processor
from headstart.contract import agreement, spec
from headstart.data import prepare
from headstart.params.prepare import Prepare
from headstart.predictor import Preprocessor
from headstart.stages import emptied, main

COMPARED = 32


def run(model: str, params: Prepare) -> None:
    """Sort the examples out, make the contract, and hold it against the backbone's own processor."""
    out = emptied(artifacts.stage_output(model, "data"))
    backbone = artifacts.backbone(params.backbone)
    prepared = prepare.prepare(artifacts.raw(model), params)
    input_spec, tokenizer_json = processor.input_spec(backbone, params.limits)
    contract = spec.Contract(params.modality, input_spec, tuple(prepared.classes))
    spec.write(out / "contract", contract, tokenizer_json=tokenizer_json)
    samples = list(prepared.train.inputs[:COMPARED])
    ours = Preprocessor.load(out / "contract").prepare(samples)
    finding = agreement.compare(ours, processor.reference(backbone, params.limits)(samples))
    prepare.write(prepared.with_findings(finding), out)


if __name__ == "__main__":
    main(run)
