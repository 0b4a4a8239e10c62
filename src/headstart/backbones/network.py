"""A backbone, pooled to one feature vector an example, under a linear head: what is trained, probed and exported.

    inputs ──► backbone (AutoModel, eager attention) ──► pooling ──► features (n, d) ──► dropout ──► head ──► logits (n, k)

Pooling is decided by the shape of the backbone's last output alone:
text (n, tokens, d): mean over the tokens that the attention mask keeps;
images (n, c, height, width): the backbone's own global average pool (ConvNeXt normalises after it), else the mean;
images (n, patches, d): the class token, else the mean over patches.
Learned poolers (BERT's, ViT's) are left out: few checkpoints train them, and an untrained one is noise.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from headstart import artifacts
from headstart.backbones import layers
from headstart.backbones.silence import quiet
from headstart.errors import BackboneError, listed
from headstart.params.section import Modality

FORMAT = 1


class Network(nn.Module):
    """A classifier: `network(**inputs)` gives `{"logits": (n, k), "features": (n, d)}`, both float32 on the CPU.

    Inputs go by name: `input_ids` and `attention_mask` (int64, `(n, tokens)`), or `pixel_values` (float32,
    `(n, channels, height, width)`). `dropout` acts on the features on their way to the head; what the backbone's
    own configuration drops inside it stays as it is.

    Attributes:
        backbone: the transformers model, without a learned pooler.
        head: `nn.Linear(d, k)`.
        modality: `text` or `image`.
        hidden_size: d.
        classes: k.
    """

    def __init__(self, backbone: nn.Module, classes: int, *, dropout: float) -> None:
        super().__init__()
        self.backbone: Any = backbone
        self.modality: Modality = "text" if self.backbone.main_input_name == "input_ids" else "image"
        self.hidden_size = _hidden_size(backbone, self.modality)
        self.classes = classes
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.hidden_size, classes)

    @classmethod
    def from_backbone(cls, folder: Path, classes: int, *, dropout: float) -> "Network":
        """Pretrained weights from a folder in the Hugging Face layout; the head is all zeros.

        A zero head is a probe's place: it answers every class alike until `set_head` or training.

        Raises:
            BackboneError: if the folder is not a backbone, or weights are missing from it.
        """
        network = cls(pretrained(folder)[0], classes, dropout=dropout)
        network.set_head(np.zeros((classes, network.hidden_size)), np.zeros(classes))
        return network.eval()

    @classmethod
    def from_scratch(cls, folder: Path, classes: int, *, dropout: float, seed: int) -> "Network":
        """The same architecture with random weights drawn from `seed`, head included: the control."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = cls(untrained(folder), classes, dropout=dropout)
        return network.eval()

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        features = self.features(**inputs)
        return {"logits": self.head(self.dropout(features)), "features": features}

    def features(self, **inputs: Tensor) -> Tensor:
        """Pooled output of the backbone, `(n, d)`, before dropout."""
        output = self.backbone(**inputs)
        last = output.last_hidden_state
        if last.dim() == 4:
            own = getattr(output, "pooler_output", None)
            return last.mean(dim=(2, 3)) if own is None else own.flatten(1)
        return self._pool(last, inputs.get("attention_mask"))

    def layer_features(self, **inputs: Tensor) -> list[tuple[str, Tensor]]:
        """The pooled output of each layer group, from the input side to the output side: `[(name, (n, width))]`.

        Names are those of `layers.groups`, the head left out; widths differ where the architecture's do.
        """
        outputs: dict[str, Tensor] = {}
        hooks = []
        for group in layers.groups(self)[:-1]:

            def keep(_module: nn.Module, _inputs: Any, output: Any, name: str = group.name) -> None:
                outputs[name] = output[0] if isinstance(output, tuple) else output

            hooks.append((group.name, group.modules[-1].register_forward_hook(keep)))
        try:
            self.backbone(**inputs)
        finally:
            for _, hook in hooks:
                hook.remove()
        mask = inputs.get("attention_mask")
        return [(name, self._pool(outputs[name], mask)) for name, _ in hooks if name in outputs]

    def set_head(self, weight: Any, bias: Any) -> None:
        """Put `weight` `(k, d)` and `bias` `(k,)`, arrays or tensors, into the head.

        Raises:
            BackboneError: if a shape is another.
        """
        for name, value in (("weight", weight), ("bias", bias)):
            target: Tensor = getattr(self.head, name)
            tensor = torch.as_tensor(value, dtype=target.dtype)
            if tensor.shape != target.shape:
                arrived, expected = tuple(tensor.shape), tuple(target.shape)
                raise BackboneError(f"head {name} of shape {arrived} arrived, {expected} (classes first) was expected.")
            with torch.no_grad():
                target.copy_(tensor)

    def save(self, folder: Path) -> None:
        """Write `backbone/` (Hugging Face layout), `head.safetensors` and, last, `network.json`."""
        (folder / "backbone").mkdir(parents=True, exist_ok=True)
        write_backbone(self.backbone, folder / "backbone")
        head = {name: value.detach().contiguous() for name, value in self.head.state_dict().items()}
        with artifacts.replaced(folder / "head.safetensors") as temporary:
            save_file(head, temporary)
        document = {
            "format": FORMAT,
            "kind": self.backbone.config.model_type,
            "modality": self.modality,
            "classes": self.classes,
            "hidden_size": self.hidden_size,
            "dropout": self.dropout.p,
        }
        artifacts.write_json(folder / "network.json", document)

    @classmethod
    def load(cls, folder: Path) -> "Network":
        """The network that `save` wrote, in evaluation mode.

        Raises:
            BackboneError: if the folder is incomplete or of a newer format.
        """
        if not (folder / "network.json").is_file():
            raise BackboneError(f"{folder} has no network.json.", action="Run the stage that writes it: headstart run.")
        document = artifacts.read_json(folder / "network.json")
        if document["format"] != FORMAT:
            raise BackboneError(f"{folder} has format {document['format']}, this version reads {FORMAT}.")
        network = cls(pretrained(folder / "backbone")[0], document["classes"], dropout=document["dropout"])
        network.head.load_state_dict(load_file(folder / "head.safetensors"))
        return network.eval()

    def _pool(self, output: Tensor, mask: Tensor | None) -> Tensor:
        """One vector an example from a layer's output of any of the shapes named at the top."""
        if output.dim() == 4:
            return output.mean(dim=(2, 3))
        if output.dim() == 2:
            return output
        if self.modality == "image":
            return output[:, 0] if _has_class_token(self.backbone) else output.mean(dim=1)
        if mask is None:
            return output.mean(dim=1)
        kept = mask.unsqueeze(-1).to(output.dtype)  # (n, tokens, 1)
        return (output * kept).sum(dim=1) / kept.sum(dim=1).clamp(min=1.0)


def pretrained(folder: Path) -> tuple[nn.Module, list[str]]:
    """The model of a folder in float32 and evaluation mode, and the names of weights in the file it has no use for.

    Raises:
        BackboneError: if transformers does not know the architecture, the files do not load, or weights are missing
            or of another shape (they would be random numbers).
    """
    from transformers import AutoModel

    config = configuration(folder)
    extra = {"add_pooling_layer": False} if _optional_pooler(config) else {}
    with quiet(), torch.random.fork_rng(devices=[]):
        try:
            model, info = AutoModel.from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                attn_implementation="eager",
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
                **extra,
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise BackboneError(
                f"{folder} does not load as {config.model_type}: {' '.join(str(error).split())[:300]}",
                action="Expected config.json and model.safetensors in the Hugging Face layout.",
            ) from error
    problems = [f"{name}: missing from the file" for name in sorted(info["missing_keys"])]
    problems += [f"{entry}: another shape than the configuration's" for entry in sorted(map(str, info["mismatched_keys"]))]
    if problems:
        raise BackboneError(
            f"{folder} lacks weights that {config.model_type} needs; they would be random numbers:\n{listed(problems)}",
            action="Take the checkpoint that config.json belongs to.",
        )
    return model.eval(), sorted(info["unexpected_keys"])


def untrained(folder: Path) -> nn.Module:
    """The same architecture with the weights torch's global generator gives it."""
    from transformers import AutoModel

    config = configuration(folder)
    extra = {"add_pooling_layer": False} if _optional_pooler(config) else {}
    with quiet():
        model: nn.Module = AutoModel.from_config(config, dtype=torch.float32, attn_implementation="eager", **extra)
    return model


def configuration(folder: Path) -> Any:
    """The transformers configuration of a folder; code shipped beside the weights is never run.

    Raises:
        BackboneError: if there is no `config.json`, or its `model_type` is not an architecture of transformers.
    """
    from transformers import AutoConfig

    path = folder / "config.json"
    if not path.is_file():
        there = ", ".join(sorted(file.name for file in folder.iterdir())[:10]) if folder.is_dir() else "no such folder"
        raise BackboneError(f"{path} does not exist ({there}).", action="A backbone folder holds config.json.")
    try:
        with quiet():
            return AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        kind = artifacts.read_json(path).get("model_type") if _is_json(path) else None
        raise BackboneError(
            f"{path} names model_type {kind!r}, which this version of transformers does not know.",
            action="Use a backbone whose architecture is part of transformers; trust_remote_code stays off.",
        ) from error


def write_backbone(model: Any, folder: Path) -> None:
    """Write `config.json` and `model.safetensors`, nothing that names a place or a moment."""
    with quiet():
        model.save_pretrained(folder)


def _is_json(path: Path) -> bool:
    try:
        return isinstance(artifacts.read_json(path), dict)
    except ValueError:
        return False


def _optional_pooler(config: Any) -> bool:
    """Whether the architecture can be built without its pooler."""
    import inspect

    from transformers import MODEL_MAPPING

    kind = MODEL_MAPPING.get(type(config), None)
    return kind is not None and "add_pooling_layer" in inspect.signature(kind.__init__).parameters


def _has_class_token(backbone: nn.Module) -> bool:
    return any(name.rpartition(".")[2] == "cls_token" for name, _ in backbone.named_parameters())


def _hidden_size(backbone: Any, modality: Modality) -> int:
    """Width of the features: the configuration's, or measured on one black image where it is not stated."""
    config = backbone.config
    if modality == "text":
        return int(config.hidden_size)
    if sizes := getattr(config, "hidden_sizes", None):
        return int(sizes[-1])
    side = getattr(config, "image_size", None) or 64
    height, width = side if isinstance(side, (list, tuple)) else (side, side)
    mode = backbone.training
    with torch.no_grad():
        output = backbone.eval()(pixel_values=torch.zeros(1, getattr(config, "num_channels", 3), height, width))
    backbone.train(mode)
    last: Tensor = output.last_hidden_state
    return int(last.shape[1] if last.dim() == 4 else last.shape[-1])
