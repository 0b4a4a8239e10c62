"""`backbones`: pretrained networks, from a source or pretrained here."""

from typing import Literal

from headstart.params.section import Count, Modality, Positive, Section, Seed, Share


class Pretrain(Section):
    """A small ResNet pretrained on glyphs rendered from the fonts that matplotlib ships."""

    recipe: Literal["glyphs"]
    size: Count
    embedding: Count
    hidden: list[Count]
    depths: list[Count]
    glyphs_per_class: Count
    rotation: float
    shift: Share
    slant: float
    warp: Share
    coarse: Share
    epochs: Count
    batch_size: Count
    learning_rate: Positive
    seed: Seed


class Backbone(Section):
    """Either `source` (`hub:org/model@revision`, a folder, `package:NAME`) or `pretrain`.

    `reference`: a data source of the backbone's own domain, a sample of which is kept beside it; None, which is what
    its absence says, where none is known. Pretraining done here draws its own.
    `layers`: only so many blocks above the stem are kept, the lowest; None, which is what its absence says: all.
    """

    modality: Modality
    source: str | None
    sha256: dict[str, str]
    pretrain: Pretrain | None
    reference: str | None = None
    layers: Count | None = None
