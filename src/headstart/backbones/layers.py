"""A network as a stack of layer groups, input first: what learning rates decay over and what is frozen from below.

Known architectures are a table: where the stem is and where the blocks are. A parameter outside both (ConvNeXt's
downsampling, a last norm) goes to the block that follows it in registration order, or to the last one. Other
architectures are read off their module tree, and `recognised` says so.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from headstart.findings import Finding


@dataclass(frozen=True)
class LayerGroup:
    """Layers that learn at one rate.

    Attributes:
        name: where it stands in the backbone (`encoder.layer.3`), or `head`.
        depth: 0 is nearest the input; the head has the highest.
        parameters: name in the network and parameter; each parameter of a network is in exactly one group.
        modules: what owns the parameters; the last one's output is the group's.
    """

    name: str
    depth: int
    parameters: list[tuple[str, nn.Parameter]]
    modules: list[nn.Module]


@dataclass(frozen=True)
class Anatomy:
    """Where an architecture keeps its layers: paths in the backbone, `*` for each index; `step` blocks are one."""

    stem: tuple[str, ...]
    blocks: str
    step: int = 1


_BERT = Anatomy(("embeddings",), "encoder.layer.*")
_VIT = Anatomy(("embeddings",), "layers.*")
_STAGED = Anatomy(("embedder",), "encoder.stages.*.layers.*")
KNOWN = {
    "bert": _BERT,
    "roberta": _BERT,
    "xlm-roberta": _BERT,
    "camembert": _BERT,
    "electra": _BERT,
    "mpnet": Anatomy(("encoder.relative_attention_bias", "embeddings"), "encoder.layer.*"),
    "distilbert": Anatomy(("embeddings",), "transformer.layer.*"),
    "dinov2": _BERT,
    "vit": _VIT,
    "deit": _VIT,
    "convnext": Anatomy(("embeddings",), "encoder.stages.*.layers.*"),
    "resnet": _STAGED,
    "regnet": _STAGED,
    "mobilenet_v1": Anatomy(("conv_stem",), "layer.*", step=2),
    "mobilenet_v2": Anatomy(("conv_stem",), "layer.*"),
}


def groups(network: Any) -> list[LayerGroup]:
    """The layer groups of a `Network`, from the input (depth 0) to the head (last)."""
    backbone: nn.Module = network.backbone
    units = backbone_groups(backbone)
    owner = _owners(backbone, units)
    result = []
    for depth, paths in enumerate(units):
        names = [name for name, _ in backbone.named_parameters() if owner[name] == depth]
        loose = dict.fromkeys(name.rpartition(".")[0] for name in names if not _within(name, paths))
        modules = [backbone.get_submodule(path) for path in (*loose, *paths)]
        if depth == len(units) - 1:  # what follows the last block is the group's output
            modules = [backbone.get_submodule(path) for path in (*paths, *loose)]
        parameters = [(f"backbone.{name}", backbone.get_parameter(name)) for name in names]
        result.append(LayerGroup(paths[-1], depth, parameters, modules))
    head = [(f"head.{name}", parameter) for name, parameter in network.head.named_parameters()]
    return [*result, LayerGroup("head", len(units), head, [network.head])]


def recognised(backbone: Any) -> Finding:
    """Whether the architecture stands in the table; unsure where its layers are read off the module tree."""
    kind, count = backbone.config.model_type, len(backbone_groups(backbone))
    known = kind in KNOWN and _from_table(backbone, KNOWN[kind])
    return Finding("layers", "pass" if known else "unsure", count, None, evidence={"kind": kind})


def backbone_groups(backbone: Any) -> list[tuple[str, ...]]:
    """Module paths of each group below the head, the stem's first."""
    anatomy = KNOWN.get(backbone.config.model_type)
    return (anatomy and _from_table(backbone, anatomy)) or _from_tree(backbone)


def _from_table(backbone: nn.Module, anatomy: Anatomy) -> list[tuple[str, ...]]:
    """Groups as the table says; empty where this version of transformers builds the architecture otherwise."""
    modules = dict(backbone.named_modules())
    blocks = list(_expand(modules, anatomy.blocks))
    stem = tuple(path for path in anatomy.stem if path in modules)
    if not blocks or not stem:
        return []
    steps = [tuple(blocks[at : at + anatomy.step]) for at in range(0, len(blocks), anatomy.step)]
    return [stem, *steps]


def _expand(modules: dict[str, nn.Module], pattern: str) -> Iterator[str]:
    """Paths that match `pattern`, indices in numerical order."""
    before, star, after = pattern.partition("*")
    if not star:
        if pattern in modules:
            yield pattern
        return
    container = modules.get(before.rstrip("."))
    for index in range(len(container) if isinstance(container, (nn.ModuleList, nn.Sequential)) else 0):
        yield from _expand(modules, f"{before}{index}{after}")


def _from_tree(backbone: nn.Module) -> list[tuple[str, ...]]:
    """Each element of a list of modules is a group, and so is each part with parameters beside the lists."""
    found: list[tuple[str, ...]] = []

    def walk(module: nn.Module, path: str) -> None:
        children = [(name, child) for name, child in module.named_children() if any(True for _ in child.parameters())]
        listed = any(isinstance(inner, nn.ModuleList) for inner in module.modules())
        if not children or not listed:
            found.append((path,))
            return
        for name, child in children:
            walk(child, f"{path}.{name}".lstrip("."))

    for name, child in backbone.named_children():
        if any(True for _ in child.parameters()):
            walk(child, name)
    return found


def _owners(backbone: nn.Module, units: list[tuple[str, ...]]) -> dict[str, int]:
    """Parameter name -> index of the group it belongs to."""
    owner: dict[str, int] = {}
    waiting: list[str] = []
    for name, _ in backbone.named_parameters():
        unit = next((at for at, paths in enumerate(units) if _within(name, paths)), None)
        if unit is None:
            waiting.append(name)
            continue
        owner[name] = unit
        owner |= dict.fromkeys(waiting, unit)
        waiting = []
    return owner | dict.fromkeys(waiting, len(units) - 1)


def _within(name: str, paths: tuple[str, ...]) -> bool:
    return any(name.startswith(f"{path}.") for path in paths)
