"""A network cut off above its lowest blocks, as a network of its own.

The last layer of a pretrained network is made for what it was pretrained on; a middle one may serve another task
better, and what lies above it costs time for nothing.
"""

from typing import Any

from headstart.backbones import checkpoint, layers
from headstart.errors import BackboneError

OF_STAGES = ("stage_names", "out_features", "out_indices", "num_stages")  # follow from `depths`


def lowest(model: Any, count: int) -> Any:
    """The stem and the lowest `count` blocks of transformers' `model`, the same weights, its configuration shortened.

    What follows the last block of all (the norm of ViT and ConvNeXt) then follows the last one kept.

    Raises:
        BackboneError: if there are no more than `count` blocks, or the architecture can't be shortened.
    """
    kind, blocks = model.config.model_type, len(layers.backbone_groups(model)) - 1
    if count >= blocks:
        raise BackboneError(
            f"layers is {count}, and this {kind} has {blocks} blocks above its stem.",
            action=f"Set it between 1 and {blocks - 1}, or leave it out.",
        )
    impossible = BackboneError(f"a {kind} can't be cut after {count} blocks.", action="Leave layers out.")
    try:
        short = checkpoint.untrained_of(_shortened(model.config, count))
    except checkpoint.FAILURES as error:  # whatever an architecture says of odd sizes
        raise impossible from error
    weights, wanted = model.state_dict(), short.state_dict()
    unfit = [name for name, value in wanted.items() if name not in weights or weights[name].shape != value.shape]
    groups, left = layers.backbone_groups(model), layers.backbone_groups(short)
    lower = groups[: count + 1]
    if unfit or left not in (lower, [*lower, groups[-1]]) or left == groups:  # the last may be a norm, alone in a group
        raise impossible
    short.load_state_dict({name: weights[name] for name in wanted})
    return short.eval()


def can_end_at(model: Any, count: int) -> bool:
    """Whether `lowest` can do it."""
    try:
        lowest(model, count)
    except BackboneError:
        return False
    return True


def _shortened(config: Any, count: int) -> Any:
    """The configuration of the lowest `count` blocks; the whole one where it does not say how many there are."""
    values = {name: value for name, value in config.to_dict().items() if name not in OF_STAGES}
    if getattr(config, "depths", None) and getattr(config, "hidden_sizes", None):
        left, depths = count, []
        for depth in config.depths:
            depths += [min(depth, left)] if left else []
            left -= min(depth, left)
        values |= {"depths": depths, "hidden_sizes": list(config.hidden_sizes)[: len(depths)]}
        if hasattr(config, "num_stages"):
            values["num_stages"] = len(depths)
    elif hasattr(config, "num_hidden_layers"):
        values[config.attribute_map.get("num_hidden_layers", "num_hidden_layers")] = count
        values |= {name: list(each)[:count] for name, each in values.items() if name.endswith("layer_types") and each}
    return type(config).from_dict(values)
