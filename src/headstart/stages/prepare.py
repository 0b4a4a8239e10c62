"""Stage `prepare`: data/raw/<model>/ and the backbone's files -> splits, quarantine, findings, contract."""

from dataclasses import replace

from headstart import artifacts
from headstart.backbones import processor
from headstart.contract import agreement, files, spec
from headstart.data import dataset, prepare
from headstart.data.checks import inspectors, rows
from headstart.params.prepare import Prepare
from headstart.predictor import Preprocessor
from headstart.stages import emptied, main
from headstart.transfer import inspection

COMPARED = 64
UNLIMITED = 1 << 20  # tokens: more than any backbone takes, so that its own limit shows


def run(model: str, params: Prepare) -> None:
    """Sort the examples out, make the contract, hold it against the backbone's own processor, look at labels."""
    out, backbone = emptied(artifacts.stage_output(model, "data")), artifacts.backbone(params.backbone)
    raw_spec, tokenizer_json = processor.input_spec(backbone, params.limits)
    most = None
    if isinstance(raw_spec, spec.TextSpec):
        widest, _ = processor.input_spec(backbone, params.limits.model_copy(update={"tokens": UNLIMITED}))
        most = widest.max_tokens if isinstance(widest, spec.TextSpec) else None
    looking = inspectors.of_payloads(raw_spec, processor.counter(tokenizer_json), most=most)
    decodes = rows.by_contract(raw_spec)
    prepared = prepare.prepare(artifacts.raw(model), params, out=out, decodes=decodes, inspectors=looking)
    prepare.judge(prepared.findings)
    contract = spec.Contract(params.modality, raw_spec, tuple(prepared.classes))
    files.write(out / "contract", contract, tokenizer_json=tokenizer_json)
    samples = list(dataset.read(out / "train.parquet", first=COMPARED).inputs)
    ours = Preprocessor.load(out / "contract").prepare(samples)
    theirs = processor.reference(backbone, params.limits)(samples)
    agreed = agreement.compare(ours, theirs, agreement.tolerance(raw_spec))
    seen = inspection.inspect(params, backbone=backbone, data=out, raw=artifacts.raw(model), cache=artifacts.CACHE)
    found = [*prepared.findings, *processor.token_limit(raw_spec, params.limits), agreed, *seen]
    prepare.write(replace(prepared, findings=found))
    prepare.judge([agreed])


if __name__ == "__main__":
    main(run)
