"""Texts of like length in one batch, batches in random order.

transformers' own grouping leaves the batches of a stretch in falling length, so that an epoch ends on the shortest
texts, which is what the network has learned last. Mixed, one epoch on banking77 (2,000 texts, 77 classes, from the
probe) ended at a validation loss of 0.432 instead of 0.457, with the same padding; in four other pairs of runs it was
lower too. (Measured before the longest batch was put first again; with ten labels a class no difference was seen.)
"""

from collections.abc import Iterator

import torch
from transformers import Trainer
from transformers.trainer_pt_utils import LengthGroupedSampler


class Grouped(LengthGroupedSampler):
    """transformers' sampler, its batches in random order; drawn from torch's generator, as checkpoints restore it."""

    def __iter__(self) -> Iterator[int]:
        rows = list(super().__iter__())
        batches = [rows[start : start + self.batch_size] for start in range(0, len(rows), self.batch_size)]
        order = torch.randperm(len(batches), generator=self.generator).tolist()
        order.sort(key=lambda place: place > 0)  # the longest batch stays first: memory that is short shows at once
        full = [place for place in order if len(batches[place]) == self.batch_size]
        short = [place for place in order if len(batches[place]) < self.batch_size]  # torch cuts batches by count
        return iter([row for place in full + short for row in batches[place]])


class GroupedTrainer(Trainer):
    """`Trainer` with this sampler."""

    def _get_train_sampler(self, train_dataset=None):  # type: ignore[no-untyped-def]
        sampler = super()._get_train_sampler(train_dataset)
        if isinstance(sampler, LengthGroupedSampler):
            return Grouped(sampler.batch_size, lengths=sampler.lengths, generator=sampler.generator)
        return sampler
