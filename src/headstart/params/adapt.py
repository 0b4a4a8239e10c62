"""`adapt`: what pretraining goes on with, on unlabelled text or images of the target's domain."""

from typing import Literal

from headstart.params.section import Amount, Count, Positive, Section, Seed, Share


class Adapt(Section):
    """Guessing hidden words of texts, with the rates below; BatchNorm statistics of images by `source_images` alone.

    `budget` is the most tokens that learn, and bounds what is held in memory; what is measured comes on top. An epoch
    passes a part of it, `budget / epochs`, in new texts while there are any; no text passes more than `epochs` times.
    `held_out` is a share of texts, by a hash of their content, and of the budget: no more of them is measured at a
    time. `head_warmup` is the share of tokens in which only a head that had to be made here learns.
    """

    epochs: Count
    batch_size: Count
    budget: Count
    learning_rate: Positive
    head_learning_rate: Positive
    head_warmup: Share
    warmup: Share
    weight_decay: Amount
    clip_norm: Positive
    masked: Share
    held_out: Share
    patience: Count
    precision: Literal["auto", "float32", "bfloat16"]
    source_images: Amount
    seed: Seed
