"""The contract's folder: `contract.json` and what carries it out; see `contract.spec` for what is in it."""

from pathlib import Path
from typing import cast

from headstart import artifacts
from headstart.contract.spec import CONTRACT_FILE, PREPROCESS_FILE, TOKENIZER_FILE, Contract, ImageSpec
from headstart.determinism import digest
from headstart.errors import BackboneError


def write(folder: Path, contract: Contract, *, tokenizer_json: str | None) -> None:
    """Write the contract and what carries it out into `folder`; `contract.json` comes last.

    Args:
        folder: made where it does not exist; other files in it are left alone.
        contract: what to write.
        tokenizer_json: the text of `tokenizer.json`; None for images.

    Raises:
        BackboneError: if `tokenizer_json` is not the one whose hash the contract holds.
    """
    if isinstance(contract.input, ImageSpec):
        from headstart.contract import preprocess  # and onnx with it, which texts do without

        with artifacts.replaced(folder / PREPROCESS_FILE) as temporary:
            temporary.write_bytes(preprocess.author(contract.input).SerializeToString(deterministic=True))
    else:
        arrived = "none" if tokenizer_json is None else digest(tokenizer_json)
        if arrived != contract.input.tokenizer_sha256:
            raise BackboneError(
                f"{TOKENIZER_FILE} has SHA-256 {arrived}; the contract was made for {contract.input.tokenizer_sha256}."
            )
        artifacts.write_text(folder / TOKENIZER_FILE, cast(str, tokenizer_json))
    artifacts.write_json(folder / CONTRACT_FILE, contract.document())
