"""Stage `prepare`: data/raw/<model>/ and the backbone's files -> splits, quarantine, findings, contract."""

from dataclasses import replace

from headstart import artifacts
from headstart.backbones import processor
from headstart.contract import agreement, spec
from headstart.data import checks, prepare
from headstart.params.prepare import Prepare
from headstart.predictor import Preprocessor
from headstart.stages import emptied, main

COMPARED = 64


def run(model: str, params: Prepare) -> None:
    """Sort the examples out, make the contract, and hold it against the backbone's own processor."""
    out, backbone = emptied(artifacts.stage_output(model, "data")), artifacts.backbone(params.backbone)
    raw_spec, tokenizer_json = processor.input_spec(backbone, params.limits)
    prepared = prepare.prepare(artifacts.raw(model), params, decodes=checks.by_contract(raw_spec))
    prepare.write(prepared, out)
    prepare.judge(prepared.findings)
    contract = spec.Contract(params.modality, raw_spec, tuple(prepared.classes))
    spec.write(out / "contract", contract, tokenizer_json=tokenizer_json)
    samples = list(prepared.train.inputs[:COMPARED])
    ours = Preprocessor.load(out / "contract").prepare(samples)
    agreed = agreement.compare(
        ours, processor.reference(backbone, params.limits)(samples), agreement.tolerance(raw_spec)
    )
    prepare.write(replace(prepared, findings=[*prepared.findings, agreed]), out)
    prepare.judge([agreed])


if __name__ == "__main__":
    main(run)
