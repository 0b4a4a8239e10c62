"""A backbone with the head that guesses hidden words, and where that head is kept.

    model.safetensors                   the backbone
    masked_language_head.safetensors    what transformers' AutoModelForMaskedLM has beyond it; only where the
                                        checkpoint brought one

The matrix that turns a vector into words is the backbone's own embedding matrix where the architecture ties the two;
then it learns as one and is stored once.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from headstart import artifacts
from headstart.backbones import checkpoint
from headstart.backbones.quiet_logging import quiet
from headstart.errors import BackboneError, listed

HEAD_FILE = "masked_language_head.safetensors"
HEADS = {  # the modules beside the backbone, in the order in which they are applied
    "bert": ("cls",),
    "roberta": ("lm_head",),
    "xlm-roberta": ("lm_head",),
    "camembert": ("lm_head",),
    "mpnet": ("lm_head",),
    "distilbert": ("vocab_transform", "activation", "vocab_layer_norm", "vocab_projector"),
    "electra": ("generator_predictions", "generator_lm_head"),
}


class MaskedLanguageModel(nn.Module):
    """Answers for hidden tokens only: of the others, the widest part of the work, no logits are made.

    Attributes:
        backbone: the transformers model, without a learned pooler.
    """

    def __init__(self, whole: Any) -> None:
        """Take up transformers' model `whole`, head and all."""
        super().__init__()
        self.whole = whole
        self._path = HEADS[whole.config.model_type]

    @property
    def backbone(self) -> Any:
        return self.whole.base_model

    def forward(self, hidden: Tensor, **inputs: Tensor) -> Tensor:
        """Logits over the vocabulary, `(hidden tokens, vocabulary)`, row by row.

        Args:
            hidden: `(n, tokens)`, true where a token is to be guessed.
            inputs: `input_ids` and `attention_mask`, both `(n, tokens)`.
        """
        vectors: Tensor = self.backbone(**inputs).last_hidden_state[hidden]
        for name in self._path:
            vectors = self.whole.get_submodule(name)(vectors)
        return vectors

    def head_parameters(self) -> dict[str, nn.Parameter]:
        """What the head has of its own, tied matrices left out, by transformers' names; shared ones stand once."""
        within = f"{self.whole.base_model_prefix}."
        return {name: value for name, value in self.whole.named_parameters() if not name.startswith(within)}

    def words(self) -> Tensor:
        """The bias of each word of the vocabulary, `(vocabulary,)`: what the head answers when it sees nothing."""
        bias: Tensor = self.whole.get_output_embeddings().bias
        return bias


def keep(fetched: Path, out: Path, unused: Sequence[str]) -> list[str]:
    """Write the head of a fetched checkpoint beside its backbone, if it has a whole one.

    Args:
        fetched: the checkpoint's folder.
        out: the stored backbone's.
        unused: names of the weights in the file that the backbone has no use for.

    Returns:
        Which of `unused` are kept; none where there is no such head.
    """
    config = checkpoint.configuration(fetched)
    path = HEADS.get(config.model_type, ())
    if not any(name.startswith(f"{module}.") for name in unused for module in path):
        return []
    from transformers import AutoModelForMaskedLM

    whole, info = checkpoint.loaded(AutoModelForMaskedLM, fetched, config)
    if info["missing_keys"]:
        return []
    write(MaskedLanguageModel(whole), out)
    of_others = set(info["unexpected_keys"])
    return [name for name in unused if name not in of_others]


def write(model: MaskedLanguageModel, folder: Path) -> None:
    """Write the head, without the backbone."""
    weights = {name: value.detach().cpu().contiguous() for name, value in model.head_parameters().items()}
    with artifacts.replaced(folder / HEAD_FILE) as temporary:
        save_file(weights, temporary)


def load(folder: Path) -> MaskedLanguageModel | None:
    """Backbone and head of a stored backbone, in evaluation mode; None where it has no head.

    Raises:
        BackboneError: if the files do not fit each other.
    """
    if not (folder / HEAD_FILE).is_file():
        return None
    model = fresh(folder, seed=0)
    weights, own = load_file(folder / HEAD_FILE), model.head_parameters()
    problems = [f"{name}: missing" for name in sorted(set(own) - set(weights))]
    problems += [
        f"{name}: shape {tuple(value.shape)}, expected {tuple(own[name].shape) if name in own else 'no such weight'}"
        for name, value in sorted(weights.items())
        if name not in own or own[name].shape != value.shape
    ]
    if problems:
        raise BackboneError(
            f"{folder / HEAD_FILE} does not belong to the backbone beside it:\n{listed(problems)}",
            action="Run the stage `backbone` again.",
        )
    with torch.no_grad():
        for name, value in weights.items():
            own[name].copy_(value)
    return model


def fresh(folder: Path, *, seed: int) -> MaskedLanguageModel:
    """The backbone of a folder under a new head drawn from `seed`, in evaluation mode.

    Raises:
        BackboneError: if the folder is no backbone, or its architecture has no head of this kind that is known here.
    """
    from transformers import AutoModelForMaskedLM

    config = checkpoint.configuration(folder)
    if config.model_type not in HEADS:
        raise BackboneError(
            f"{folder} is a {config.model_type}; a head that guesses hidden words is known for {', '.join(HEADS)}.",
            action="Choose another strategy than adapt_then_fine_tune, or another backbone.",
        )
    backbone = checkpoint.pretrained(folder)[0]
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        whole = AutoModelForMaskedLM.from_config(
            config, dtype=torch.float32, attn_implementation="eager", trust_remote_code=False
        )
    whole.base_model.load_state_dict(backbone.state_dict())
    return MaskedLanguageModel(whole).eval()
