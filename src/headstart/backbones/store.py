"""Turn what was fetched into one clean, checked folder that everything later reads.

config.json model.safetensors             the network, float32, no learned pooler, no head
masked_language_head.safetensors          text, where the checkpoint brought one: see `masked_language`
tokenizer.json tokenizer_config.json      text
preprocessor_config.json                  images
reference.parquet                         a sample of its own domain, where one is known: see `reference`
backbone.json                             what it is, the SHA-256 of each file, findings; written last
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headstart import artifacts
from headstart.backbones import checkpoint, compatibility, depth, glyphs, layers, masked_language, processor, reference
from headstart.backbones.masked_language import MaskedLanguageModel
from headstart.backbones.network import DESCRIPTION_FILE, Network
from headstart.backbones.quiet_logging import quiet
from headstart.determinism import file_digest
from headstart.errors import BackboneError
from headstart.findings import Finding
from headstart.params.backbones import Backbone
from headstart.params.prepare import Limits

FORMAT = 2
WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
TOKENIZER_FILES = ("tokenizer_config.json", "special_tokens_map.json")
MODALITIES = {"input_ids": "text", "pixel_values": "image"}
ANY_LIMITS = Limits(tokens=8, characters=1, pixels=1, megabytes=1)


def make(fetched: Path, spec: Backbone, out: Path) -> None:
    """Write the backbone into the empty folder `out`, checked by loading it and running it once.

    Args:
        fetched: what `fetch` left: the files of a backbone, or the fonts to pretrain from.
        spec: its modality, and whether and how it is pretrained here.
        out: an empty folder.

    Raises:
        BackboneError: if the files are incomplete, not of a known architecture, not of the modality stated, or do
            not fit each other.
    """
    out.mkdir(parents=True, exist_ok=True)
    if spec.pretrain is not None:
        findings = glyphs.pretrain(sorted(fetched.glob("*.ttf")), spec.pretrain, out)
    else:
        findings = _clean(fetched, out, spec)
        reference.keep(fetched, out, spec.modality)
    network, most, batching = _tried(checkpoint.pretrained(out)[0], out)
    findings += [batching, layers.recognised(network.backbone)]
    if (sample := reference.finding(out)) is not None:
        findings.append(sample)
    document = {
        "format": FORMAT,
        "kind": network.backbone.config.model_type,
        "modality": network.modality,
        "hidden_size": network.hidden_size,
        "shape": network.shape,
        "max_tokens": most,
        "layers": len(layers.groups(network)) - 1,
        "parameters": sum(parameter.numel() for parameter in network.backbone.parameters()),
        "files": {path.name: file_digest(path) for path in sorted(out.iterdir()) if path.is_file()},
        "findings": [finding.document() for finding in findings],
    }
    artifacts.write_json(out / DESCRIPTION_FILE, document)


def with_weights(
    backbone: Path, weights: Mapping[str, Any], out: Path, *, head: MaskedLanguageModel | None = None
) -> None:
    """Write a stored backbone anew with other weights, its hashes brought up to date; all else byte for byte.

    Args:
        backbone: the folder that `make` wrote.
        weights: of transformers' model, by name: its `state_dict()`.
        out: another folder, made where it does not exist.
        head: whose masked-language head is kept beside it; None leaves the backbone's own, if any, as it is.
    """
    model = checkpoint.pretrained(backbone)[0]
    model.load_state_dict(weights)
    checkpoint.write(model, out)
    document = artifacts.read_json(backbone / DESCRIPTION_FILE)
    for name in sorted(set(document["files"]) - {WEIGHTS_FILE}):
        shutil.copyfile(backbone / name, out / name)
    if head is not None:
        masked_language.write(head, out)
    document["files"] = {name: file_digest(out / name) for name in document["files"]}
    artifacts.write_json(out / DESCRIPTION_FILE, document)


def shortened(backbone: Path, count: int, out: Path) -> None:
    """Write the lowest `count` blocks of a stored backbone as one of its own, with all that stands beside its weights.

    Its masked-language head, which reads the last layer of all, is left out.

    Raises:
        BackboneError: if it can't be cut there.
    """
    checkpoint.write(depth.lowest(checkpoint.pretrained(backbone)[0], count), out)
    document = artifacts.read_json(backbone / DESCRIPTION_FILE)
    for name in set(document["files"]) - {WEIGHTS_FILE, CONFIG_FILE, masked_language.HEAD_FILE}:
        shutil.copyfile(backbone / name, out / name)
    network = Network.from_backbone(out, 2, dropout=0.0)
    document |= {
        "hidden_size": network.hidden_size,
        "layers": len(layers.groups(network)) - 1,
        "parameters": sum(parameter.numel() for parameter in network.backbone.parameters()),
        "files": {path.name: file_digest(path) for path in sorted(out.iterdir()) if path.is_file()},
    }
    artifacts.write_json(out / DESCRIPTION_FILE, document)


def _clean(fetched: Path, out: Path, spec: Backbone) -> list[Finding]:
    """Load and write again: weights in one file, float32, under transformers' present names."""
    model, unused = checkpoint.pretrained(fetched)
    modality = MODALITIES.get(model.main_input_name)
    if modality is None:
        raise BackboneError(
            f"{fetched} holds the architecture {model.config.model_type}, which takes {model.main_input_name}; a "
            "network of texts (input_ids) or of images (pixel_values) was expected.",
            action=compatibility.ENCODERS,
        )
    if modality != spec.modality:
        raise BackboneError(
            f"{fetched} holds the architecture {model.config.model_type}, which takes {model.main_input_name}; "
            f"params.yaml calls its modality {spec.modality!r}.",
            action=f"Write modality: {modality}, or name another source.",
        )
    if spec.layers is not None:
        model = depth.lowest(model, spec.layers)
    checkpoint.write(model, out)
    kept = masked_language.keep(fetched, out, unused) if spec.layers is None else []  # it reads the last layer
    findings = [_weights([name for name in unused if name not in kept], len(kept))]
    if modality == "image":
        findings.append(_image_processor(fetched, out))
    else:
        _tokenizer(fetched, out, model.config)
    return findings


def _weights(unused: list[str], kept: int) -> Finding:
    """What the file held beyond the backbone: a masked-language head, kept; other heads and poolers, left out."""
    return Finding("weights", "pass", len(unused), None, evidence={"kept": kept, "left_out": unused[:5]})


def _tokenizer(fetched: Path, out: Path, config: Any) -> None:
    """Copy `tokenizer.json` byte for byte, or make it from an older vocabulary, and hold it against the embeddings."""
    from tokenizers import Tokenizer

    target = out / processor.TOKENIZER_FILE
    if (fetched / processor.TOKENIZER_FILE).is_file():
        shutil.copyfile(fetched / processor.TOKENIZER_FILE, target)
    else:
        backend = getattr(processor.load_tokenizer(fetched), "backend_tokenizer", None)
        if backend is None:
            raise BackboneError(
                f"{fetched} has no tokenizer.json, and its tokenizer cannot be written as one.",
                action="Save the checkpoint's fast tokenizer beside it.",
            )
        artifacts.write_text(target, backend.to_str(pretty=True))
    for name in TOKENIZER_FILES:
        if (fetched / name).is_file():
            shutil.copyfile(fetched / name, out / name)
    highest = max(Tokenizer.from_file(str(target)).get_vocab(with_added_tokens=True).values(), default=-1)
    if highest >= config.vocab_size:
        raise BackboneError(
            f"the tokenizer of {fetched} gives ids up to {highest}; "
            f"the network has embeddings for {config.vocab_size}.",
            action="They belong to different checkpoints: fetch both from the same place.",
        )


def _image_processor(fetched: Path, out: Path) -> Finding:
    """Copy the processor file; without one, write the architecture's default and say so."""
    source = fetched / processor.PROCESSOR_FILE
    if source.is_file():
        shutil.copyfile(source, out / processor.PROCESSOR_FILE)
        return Finding("processor", "pass", None, None, evidence={"file": processor.PROCESSOR_FILE})
    default = processor.default_processor(fetched)
    with quiet():
        default.save_pretrained(out)
    evidence = {
        "file": processor.PROCESSOR_FILE,
        "kind": checkpoint.configuration(fetched).model_type,
        "size": processor.set_sizes(default),
        "mean": list(default.image_mean),
        "std": list(default.image_std),
    }
    return Finding("processor", "unsure", None, None, evidence=evidence)


def _tried(model: Any, out: Path) -> tuple[Network, int | None, Finding]:
    """Read its input specification and run it, so that a stranger fails here, not in training.

    Returns:
        The network, for images of the shape its processor makes; the most tokens it takes, None for images and where
        it sets no limit; and the finding that its answers do not depend on what else is in a batch.

    Raises:
        BackboneError: if it can't be prepared for, does not run, or answers otherwise in a batch than alone.
    """
    if model.main_input_name == "pixel_values":
        network = compatibility.built(model, processor.image_spec(out, ANY_LIMITS).shape)
        return network, None, compatibility.check(network)
    network = compatibility.built(model, None)
    text = (out / processor.TOKENIZER_FILE).read_text(encoding="utf-8")
    spec = processor.text_spec(out, ANY_LIMITS, text, longest=None)
    most = compatibility.longest_text(network, spec.pad_id)
    return network, most, compatibility.check(network, pad_id=spec.pad_id, longest=most)
