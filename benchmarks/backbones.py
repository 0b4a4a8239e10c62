"""Which architectures of transformers can be backbones: tiny ones of random weights, tried as `headstart add` would.

    python benchmarks/backbones.py [FAMILY...] [--write docs/backbones.md]

Each is written in the Hugging Face layout (configuration, weights, tokenizer or image processor), stored, prepared
for, run alone and in batches, exported and held against itself; what happens is a row of the table. Sizes are tiny,
so the table says what an architecture can do, not how good a checkpoint of it is.
"""

import argparse
import json
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from headstart import artifacts
from headstart.backbones import checkpoint, processor, store
from headstart.backbones.quiet_logging import quiet
from headstart.errors import HeadstartError
from headstart.export import trial
from headstart.params.backbones import Backbone

SENTENCES = (
    "the train is late again rain my card was charged twice for same order and nobody answers letters snow fell on "
    "hills all night in morning road to village closed it works as described delivered two days"
)
WORDS = tuple(dict.fromkeys(SENTENCES.split()))
PLAIN = (
    "bert roberta distilbert electra camembert xlm-roberta xlm-roberta-xl ernie rembert roberta-prelayernorm "
    "data2vec-text layoutlm nystromformer convbert megatron-bert splinter roformer mra yoso ibert markuplm esm"
)
SPECIAL = ("[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]")
PAD_ID = 1
TOKENS = {"bos_token_id": 0, "pad_token_id": PAD_ID, "eos_token_id": 2}
LAYERS = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
POSITIONS = 130
TEXT = {**LAYERS, "max_position_embeddings": POSITIONS, **TOKENS}
VIT = {**LAYERS, "image_size": 32, "patch_size": 8}
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
MARKERS = ("<!-- table -->", "<!-- end of table -->")


@dataclass(frozen=True)
class Family:
    """An architecture, tiny.

    Attributes:
        kind: its `model_type`.
        modality: `text` or `image`.
        options: of its configuration.
        processor: of its image processor; the architecture's own kind, with these options.
    """

    kind: str
    modality: str
    options: Mapping[str, Any]
    processor: Mapping[str, Any] = field(default_factory=dict)


def _texts() -> Iterable[Family]:
    for kind in PLAIN.split():
        yield Family(kind, "text", TEXT)
    yield Family("lilt", "text", {**TEXT, "hidden_size": 96})
    yield Family("albert", "text", {**TEXT, "embedding_size": 16})
    yield Family("squeezebert", "text", {**TEXT, "embedding_size": 32})
    yield Family("deberta", "text", TEXT)
    yield Family("deberta-v2", "text", {**TEXT, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]})
    yield Family("mpnet", "text", TEXT)
    yield Family("xmod", "text", {**TEXT, "languages": ["en_XX"], "default_language": "en_XX"})
    yield Family("mobilebert", "text", {**TEXT, "embedding_size": 16, "intra_bottleneck_size": 16})
    yield Family("modernbert", "text", {**TEXT, "cls_token_id": 0, "sep_token_id": 2, "global_attn_every_n_layers": 2})
    yield Family("nomic_bert", "text", TEXT)
    yield Family("eurobert", "text", TEXT)
    yield Family("big_bird", "text", {**TEXT, "max_position_embeddings": 1024, "block_size": 16})
    yield Family("longformer", "text", {**TEXT, "attention_window": 16})
    yield Family(
        "funnel",
        "text",
        {
            "d_model": 32,
            "n_head": 4,
            "d_head": 8,
            "d_inner": 64,
            "block_sizes": [1, 1],
            "block_repeats": [1, 1],
            "architectures": ["FunnelModel"],
            **TOKENS,
        },
    )
    yield Family("xlnet", "text", {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 64, **TOKENS})
    yield Family(
        "xlm", "text", {"emb_dim": 32, "n_layers": 2, "n_heads": 4, "max_position_embeddings": POSITIONS, **TOKENS}
    )
    yield Family(
        "flaubert", "text", {"emb_dim": 32, "n_layers": 2, "n_heads": 4, "max_position_embeddings": POSITIONS, **TOKENS}
    )
    yield Family("fnet", "text", TEXT)
    yield Family("canine", "text", {**TEXT, "downsampling_rate": 4})
    yield Family(
        "reformer",
        "text",
        {
            "hidden_size": 32,
            "axial_pos_shape": [8, 16],
            "axial_pos_embds_dim": [16, 16],
            "attn_layers": ["local", "lsh"],
            **TOKENS,
        },
    )
    yield Family("gpt2", "text", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": POSITIONS, **TOKENS})
    yield Family("llama", "text", TEXT)
    yield Family("t5", "text", {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, **TOKENS})
    yield Family(
        "bart",
        "text",
        {
            "d_model": 32,
            "encoder_layers": 2,
            "decoder_layers": 2,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "encoder_ffn_dim": 64,
            "decoder_ffn_dim": 64,
            "max_position_embeddings": POSITIONS,
            "decoder_start_token_id": 2,
            **TOKENS,
        },
    )
    yield Family("clip_text_model", "text", TEXT)
    yield Family("mamba", "text", {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8, **TOKENS})


def _images() -> Iterable[Family]:
    square = {"size": {"height": 32, "width": 32}}
    cropped = {"size": {"shortest_edge": 36}, "crop_size": {"height": 32, "width": 32}}
    larger = {"size": {"shortest_edge": 72}, "crop_size": {"height": 64, "width": 64}}
    edge = {"size": {"shortest_edge": 32}}
    for kind in ["vit", "vit_msn", "ijepa", "beit", "data2vec-vision", "vit_mae"]:
        yield Family(kind, "image", VIT, square)
    yield Family("deit", "image", VIT, {**square, "crop_size": {"height": 32, "width": 32}})
    yield Family("dinov2", "image", VIT, cropped)
    yield Family("dinov2_with_registers", "image", VIT, {"image_processor_type": "BitImageProcessor", **cropped})
    yield Family("dinov3_vit", "image", VIT, square)
    yield Family(
        "dinov3_convnext",
        "image",
        {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]},
        {"image_processor_type": "DINOv3ViTImageProcessorFast", **square},
    )
    yield Family("siglip_vision_model", "image", VIT, {"image_processor_type": "SiglipImageProcessor", **square})
    yield Family("clip_vision_model", "image", VIT, {"image_processor_type": "CLIPImageProcessor", **cropped})
    swin = {"image_size": 32, "patch_size": 2, "embed_dim": 16, "depths": [1, 1], "num_heads": [2, 2], "window_size": 4}
    yield Family("swin", "image", swin, square)
    yield Family("swinv2", "image", swin, square)
    yield Family("donut-swin", "image", swin, {"image_processor_type": "ViTImageProcessor", **square})
    yield Family(
        "hiera",
        "image",
        {
            "image_size": [32, 32],
            "patch_size": [3, 3],
            "patch_stride": [2, 2],
            "patch_padding": [1, 1],
            "embed_dim": 16,
            "depths": [1, 1],
            "num_heads": [1, 2],
            "masked_unit_size": [4, 4],
            "query_stride": [2, 2],
            "num_query_pool": 1,
            "embed_dim_multiplier": 2.0,
        },
        cropped,
    )
    convolutional = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}
    yield Family("convnext", "image", convolutional, edge)
    yield Family("convnextv2", "image", convolutional, edge)
    yield Family("resnet", "image", {**convolutional, "embedding_size": 8}, {**edge, **IMAGENET})
    yield Family("regnet", "image", {**convolutional, "embedding_size": 8, "groups_width": 8}, {**edge, **IMAGENET})
    yield Family("bit", "image", {**convolutional, "embedding_size": 8, "num_groups": 4}, cropped)
    yield Family("mobilenet_v1", "image", {"depth_multiplier": 0.25, "image_size": 32}, cropped)
    yield Family("mobilenet_v2", "image", {"depth_multiplier": 0.25, "image_size": 32}, cropped)
    efficient = {"image_size": 32, "width_coefficient": 0.25, "depth_coefficient": 0.25, "hidden_dim": 320}
    yield Family("efficientnet", "image", efficient, {**square, "rescale_factor": 1 / 127.5, "rescale_offset": True})
    mobilevit = {
        "image_size": 64,
        "hidden_sizes": [16, 24, 32],
        "neck_hidden_sizes": [8, 8, 16, 16, 24, 24, 40],
        "num_attention_heads": 2,
    }
    yield Family("mobilevit", "image", mobilevit, larger)
    yield Family("mobilevitv2", "image", {"image_size": 64, "width_multiplier": 0.5}, larger)
    yield Family(
        "poolformer",
        "image",
        {**convolutional, "num_encoder_blocks": 4},
        {**edge, "crop_size": {"height": 32, "width": 32}},
    )
    yield Family(
        "levit",
        "image",
        {
            "image_size": 64,
            "hidden_sizes": [16, 24, 32],
            "num_attention_heads": [2, 2, 2],
            "depths": [1, 1, 1],
            "key_dim": [8, 8, 8],
        },
        {"size": {"shortest_edge": 64}, "crop_size": {"height": 64, "width": 64}},
    )
    yield Family("cvt", "image", {"embed_dim": [8, 16, 16], "num_heads": [1, 1, 2], "depth": [1, 2, 3]}, edge)
    yield Family(
        "pvt",
        "image",
        {
            "image_size": 64,
            "hidden_sizes": [8, 16, 24, 32],
            "depths": [1, 1, 1, 1],
            "num_attention_heads": [1, 2, 2, 4],
        },
        {"size": {"height": 64, "width": 64}},
    )
    yield Family(
        "pvt_v2",
        "image",
        {
            "image_size": 64,
            "hidden_sizes": [8, 16, 24, 32],
            "depths": [1, 1, 1, 1],
            "num_attention_heads": [1, 2, 2, 4],
        },
        {"size": {"height": 64, "width": 64}},
    )
    yield Family(
        "segformer",
        "image",
        {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]},
        {"size": {"height": 64, "width": 64}},
    )
    yield Family(
        "focalnet",
        "image",
        {
            "image_size": 32,
            "patch_size": 2,
            "embed_dim": 16,
            "depths": [1, 1],
            "hidden_sizes": [16, 32],
            "focal_levels": [2, 2],
            "focal_windows": [3, 3],
        },
        cropped,
    )
    yield Family(
        "swiftformer",
        "image",
        {"image_size": 64, "embed_dims": [8, 16, 24, 32], "depths": [1, 1, 1, 1]},
        {"size": {"height": 64, "width": 64}},
    )
    yield Family("vitdet", "image", VIT, {"image_processor_type": "ViTImageProcessor", **square})
    yield Family("yolos", "image", {**VIT, "image_size": [32, 32]}, {"size": {"shortest_edge": 32, "longest_edge": 64}})
    yield Family("dpt", "image", VIT, square)
    yield Family(
        "glpn",
        "image",
        {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1], "num_attention_heads": [1, 2, 2, 4]},
        {},
    )
    yield Family("imagegpt", "image", {"n_embd": 32, "n_layer": 2, "n_head": 4}, square)
    yield Family("perceiver", "image", {"d_model": 32, "d_latents": 32, "num_latents": 8}, square)
    yield Family("vivit", "image", VIT, square)
    yield Family("textnet", "image", {}, {})
    yield Family("hgnet_v2", "image", {}, {"image_processor_type": "ViTImageProcessor", **square})


FAMILIES: dict[str, Family] = {family.kind: family for family in (*_texts(), *_images())}


def write(family: Family, folder: Path) -> None:
    """The family's files, as a stranger would have them."""
    from transformers import AutoConfig, AutoModel

    folder.mkdir(parents=True, exist_ok=True)
    options = dict(family.options)
    if family.modality == "text":
        options["vocab_size"] = len(SPECIAL) + len(WORDS)
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AutoModel.from_config(AutoConfig.for_model(family.kind, **options)).save_pretrained(folder)
    if family.modality == "text":
        _write_tokenizer(folder)
    else:
        _write_processor(family, folder)


def outcome(family: Family, folder: Path) -> dict[str, Any]:
    """What happens to the family: `stage` it came to (`works` is the last), the refusal's sentence, and seconds."""
    began = time.perf_counter()
    try:
        write(family, folder / "fetched")
    except (OSError, *checkpoint.FAILURES) as error:  # built otherwise by this version of transformers: mend the family
        return {"stage": "not built", "sentence": f"{type(error).__name__}: {error}", "seconds": 0.0}
    try:
        spec = Backbone(modality=family.modality, source="x", sha256={}, pretrain=None)  # type: ignore[arg-type]
        store.make(folder / "fetched", spec, folder / "made")
        trial.run(folder / "made")
    except HeadstartError as error:
        return {"stage": "refused", "sentence": error.message, "seconds": time.perf_counter() - began}
    document = artifacts.read_json(folder / "made" / "backbone.json")
    found = {finding["check"]: finding for finding in document["findings"]}
    return {
        "stage": "works",
        "sentence": "",
        "seconds": time.perf_counter() - began,
        "max_tokens": document["max_tokens"],
        "batching": found["batching"]["statistic"],
        "layers": found["layers"]["verdict"],
    }


def _write_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordLevel({word: at for at, word in enumerate((*SPECIAL, *WORDS))}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 0))
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {
        "cls_token": "[CLS]",
        "pad_token": "[PAD]",
        "sep_token": "[SEP]",
        "unk_token": "[UNK]",
        "mask_token": "[MASK]",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps({**names, "tokenizer_class": "PreTrainedTokenizerFast"}))


def _write_processor(family: Family, folder: Path) -> None:
    """The architecture's own kind of processor with the family's options; nothing where transformers has none."""
    names = processor._mapped(family.kind)
    options = dict(family.processor)
    options.setdefault("image_processor_type", names.get("torchvision") or names.get("pil") or "")
    if options["image_processor_type"]:
        (folder / processor.PROCESSOR_FILE).write_text(json.dumps(options))


def rows(families: Sequence[Family], say: Callable[[str], None]) -> dict[str, dict[str, Any]]:
    """The outcome of each family."""
    found = {}
    for family in families:
        with tempfile.TemporaryDirectory() as folder:
            result = outcome(family, Path(folder))
            result["sentence"] = re.sub(r"/\S*?/(fetched|made)/?", "", result["sentence"]).replace(folder, "")
        found[family.kind] = result
        say(f"{family.modality:6}{family.kind:24}{result['stage']:10}{result['seconds']:5.1f} s  {result['sentence']}")
    return found


def table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The rows as Markdown, those that work first."""
    import transformers

    lines = [f"Measured with transformers {transformers.__version__} and torch {torch.__version__.split('+')[0]}."]
    for modality, title in (("text", "Texts"), ("image", "Images")):
        kinds = [kind for kind in found if FAMILIES[kind].modality == modality]
        works = [kind for kind in kinds if found[kind]["stage"] == "works"]
        lines += ["", f"### {title}", "", f"{len(works)} of {len(kinds)} work.", ""]
        lines += [
            "| architecture | layers known | largest change in a batch |"
            + (" most tokens of 130 |" if modality == "text" else "")
        ]
        lines += ["| --- | --- | --- |" + (" --- |" if modality == "text" else "")]
        for kind in works:
            row = found[kind]
            cells = [kind, "yes" if row["layers"] == "pass" else "read off the module tree", f"{row['batching']:.0e}"]
            cells += [str(row["max_tokens"] or "no limit")] if modality == "text" else []
            lines.append(f"| {' | '.join(cells)} |")
        lines += ["", "| refused | sentence |", "| --- | --- |"]
        lines += [
            f"| {kind} | {' '.join(found[kind]['sentence'].replace('|', chr(92) + '|').split())} |"
            for kind in kinds
            if found[kind]["stage"] != "works"
        ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*", metavar="FAMILY", help="model types; all where none is named")
    parser.add_argument("--write", type=Path, help="a Markdown file whose table is replaced")
    options = parser.parse_args()
    chosen = [FAMILIES[kind] for kind in options.families] or list(FAMILIES.values())
    found = rows(chosen, lambda line: print(line, flush=True))
    if options.write:
        before, _, rest = options.write.read_text(encoding="utf-8").partition(MARKERS[0])
        after = rest.partition(MARKERS[1])[2]
        text = f"{before}{MARKERS[0]}\n\n{table(found)}\n\n{MARKERS[1]}{after}"
        options.write.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
