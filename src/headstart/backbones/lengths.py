"""How many tokens texts have for a backbone that lies on this machine, before it is fetched; needs no torch."""

from collections.abc import Sequence
from pathlib import Path

from headstart import artifacts
from headstart.backbones import fetch


def count(source: str, texts: Sequence[str]) -> list[int] | None:
    """Tokens of each text, special ones included; None where the backbone's tokenizer does not lie here.

    Args:
        source: as in `backbones.NAME.source`.
        texts: what is counted.

    Raises:
        BackboneError: if the source does not exist.
    """
    from tokenizers import Tokenizer

    path = fetch.local_file(source, "tokenizer.json")
    if path is None:
        return None
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return [len(encoding.ids) for encoding in tokenizer.encode_batch(list(texts))]


def most(source: str) -> int | None:
    """How many tokens the backbone takes at most, as its files say; None where they do not lie here or do not say.

    Position embeddings that are counted from the padding leave a few fewer: the contract is made of the exact number.
    """
    limits = []
    for name, key in (("config.json", "max_position_embeddings"), ("tokenizer_config.json", "model_max_length")):
        path: Path | None = fetch.local_file(source, name)
        value = artifacts.read_json(path).get(key) if path else None
        if isinstance(value, int) and value > 0:
            limits.append(value)
    return min(limits, default=None)
