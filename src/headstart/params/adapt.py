"""`adapt`: what pretraining goes on with, on unlabelled text or images of the target's domain."""

from headstart.params.section import Count, Positive, Section, Seed, Share


class Adapt(Section):
    """How a text backbone goes on guessing hidden words; images need none of it.

    `budget` is the most tokens that learn, and bounds what is held in memory; what is measured comes on top. An epoch
    passes a part of it, `budget / epochs`, in new texts while there are any; no text passes more than `epochs` times.
    `held_out` is a share of texts, by a hash of their content, and of the budget: no more of them is measured at a
    time.
    """

    epochs: Count
    budget: Count
    learning_rate: Positive
    held_out: Share
    seed: Seed
