"""A backbone, pooled to one feature vector an example, under a linear head: what is trained, probed and exported.

    inputs ─► backbone (transformers' AutoModel) ─► pooling ─► features (n, d) ─► dropout ─► head ─► logits (n, k)

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
from headstart.backbones import batchnorm, checkpoint, layers
from headstart.errors import BackboneError
from headstart.params.section import Modality

FORMAT = 1
DESCRIPTION_FILE = "backbone.json"


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
        shape: channels, height and width of the images it is given; None for texts.
        keeps_statistics: whether BatchNorms keep theirs in training too; not where weights are random.
    """

    def __init__(
        self, backbone: nn.Module, classes: int, *, dropout: float, shape: tuple[int, int, int] | None = None
    ) -> None:
        """Put a new head on `backbone`; a `shape` left out is the one its configuration was made for."""
        super().__init__()
        self.backbone: Any = backbone
        self.modality: Modality = "text" if self.backbone.main_input_name == "input_ids" else "image"
        self.shape = None if self.modality == "text" else shape or _configured_shape(backbone)
        self.hidden_size = _hidden_size(backbone, self.shape)
        self.classes = classes
        self.keeps_statistics = False
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.hidden_size, classes)

    @classmethod
    def from_backbone(cls, folder: Path, classes: int, *, dropout: float) -> "Network":
        """Pretrained weights from a folder in the Hugging Face layout; the head is all zeros.

        A zero head is a probe's place: it answers every class alike until `set_head` or training.

        Raises:
            BackboneError: if the folder is not a backbone, or weights are missing from it.
        """
        with torch.random.fork_rng(devices=[]):  # a new head draws random numbers: not the caller's
            network = cls(checkpoint.pretrained(folder)[0], classes, dropout=dropout, shape=_stored_shape(folder))
        network.set_head(np.zeros((classes, network.hidden_size)), np.zeros(classes))
        network.keeps_statistics = True
        return network.eval()

    @classmethod
    def from_scratch(cls, folder: Path, classes: int, *, dropout: float, seed: int) -> "Network":
        """The same architecture with random weights drawn from `seed`, head included: the control."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = cls(checkpoint.untrained(folder), classes, dropout=dropout, shape=_stored_shape(folder))
        batchnorm.mend_momentum(network)
        return network.eval()

    def train(self, mode: bool = True) -> "Network":
        """As any module's, but for BatchNorms of a pretrained backbone: they stay in evaluation mode.

        Batches that are augmented, few, or of one class say little of what will be served; and under the moments of a
        batch the network is another one than its head was fitted to, which no gentler rate mends. Their scale and
        shift do learn. Sources: Kanavati and Tsuneki 2021, arXiv:2102.05543; our own numbers,
        `docs/transfer-learning.md`.
        """
        super().train(mode)
        if self.keeps_statistics:
            for norm in batchnorm.norms([self.backbone]):
                norm.training = False
        return self

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        features = self.features(**inputs)
        return {"logits": self.head(self.dropout(features)), "features": features}

    def features(self, **inputs: Tensor) -> Tensor:
        """Pooled output of the backbone, `(n, d)`, before dropout."""
        output = self.backbone(**inputs)
        last: Tensor = output.last_hidden_state
        if last.dim() == 4:
            own = getattr(output, "pooler_output", None)
            pooled: Tensor = last.mean(dim=(2, 3)) if own is None else own.flatten(1)
            return pooled
        return self._pool(last, inputs.get("attention_mask"))

    def layer_features(self, **inputs: Tensor) -> list[tuple[str, Tensor]]:
        """The pooled output of each layer group, from the input side to the output side: `[(name, (n, width))]`.

        Names are those of `layers.groups`, the head left out; widths differ where the architecture's do. The last one
        is what the head sees, `features`, whatever norm the architecture puts between.
        """
        outputs, found = self.traced(**inputs)
        mask = inputs.get("attention_mask")
        if mask is not None:
            self._require_vector_a_token(found, mask)
        rows = len(next(iter(inputs.values())))
        pooled = [(name, self._pool(output, mask)) for name, output in found.items() if _is_layer(output, rows)]
        last = pooled[-1][0] if pooled else layers.groups(self)[-2].name
        return [*pooled[:-1], (last, outputs["features"])]

    def traced(self, **inputs: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """What the network gives, and what each layer group gives by its name, from the input side to the head.

        A group that gives several things is left out.
        """
        found: dict[str, Tensor] = {}
        hooks = []
        groups = layers.groups(self)[:-1]
        for group in groups:

            def keep(_module: nn.Module, _inputs: Any, output: Any, name: str = group.name) -> None:
                output = output[0] if isinstance(output, tuple) else output
                if isinstance(output, Tensor):
                    found[name] = output

            hooks.append(group.modules[-1].register_forward_hook(keep))
        try:
            outputs = self(**inputs)
        finally:
            for hook in hooks:
                hook.remove()
        return outputs, {group.name: found[group.name] for group in groups if group.name in found}

    def _require_vector_a_token(self, outputs: dict[str, Tensor], mask: Tensor) -> None:
        for name, output in outputs.items():
            if output.dim() == 3 and len(output) == len(mask) and output.shape[1] != mask.shape[1]:
                raise BackboneError(
                    f"{self.backbone.config.model_type} pads or shortens texts inside: its layer {name} gives "
                    f"{output.shape[1]} vectors for texts of {mask.shape[1]} tokens; one a token is needed to probe "
                    "layers and to export the network to ONNX.",
                    action="Use an encoder whose layers give one vector a token, such as BERT or RoBERTa.",
                )

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
        checkpoint.write(self.backbone, folder / "backbone")
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
            "shape": self.shape,
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
        shape = document["shape"] and tuple(document["shape"])
        backbone = checkpoint.pretrained(folder / "backbone")[0]
        with torch.random.fork_rng(devices=[]):
            network = cls(backbone, document["classes"], dropout=document["dropout"], shape=shape)
        network.head.load_state_dict(load_file(folder / "head.safetensors"))
        network.keeps_statistics = True
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


def _is_layer(output: Tensor, rows: int) -> bool:
    """Whether a part's output is a layer's, one row an example; tables of positions and the like are not."""
    return output.dim() >= 2 and len(output) == rows


def _has_class_token(backbone: nn.Module) -> bool:
    return any(name.rpartition(".")[2] == "cls_token" for name, _ in backbone.named_parameters())


def _stored_shape(folder: Path) -> tuple[int, int, int] | None:
    """The shape of images that `store` wrote down; None for texts, and for folders that `store` did not make."""
    path = folder / DESCRIPTION_FILE
    shape = artifacts.read_json(path)["shape"] if path.is_file() else None
    return tuple(shape) if shape else None


def _configured_shape(backbone: Any) -> tuple[int, int, int]:
    """Channels, height and width from the configuration; 224 x 224 where it names no size."""
    config = backbone.config
    side = getattr(config, "image_size", None) or 224
    height, width = side if isinstance(side, (list, tuple)) else (side, side)
    return getattr(config, "num_channels", 3), height, width


def _hidden_size(backbone: Any, shape: tuple[int, int, int] | None) -> int:
    """Width of the features: what the configuration of a text network says, else measured on one black image.

    What configurations of image networks call their sizes is often that of a layer before the last.
    """
    if shape is None:
        return int(backbone.config.hidden_size)
    mode = backbone.training
    with torch.no_grad():
        last: Tensor = backbone.eval()(pixel_values=torch.zeros(1, *shape)).last_hidden_state
    backbone.train(mode)
    return int(last.shape[1] if last.dim() == 4 else last.shape[-1])
