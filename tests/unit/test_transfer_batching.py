"""Texts of like length share a batch, and batches come in random order."""

from collections.abc import Sequence

import pytest
import torch
from torch.utils.data import RandomSampler
from transformers import TrainingArguments
from transformers.trainer_pt_utils import LengthGroupedSampler

from headstart.transfer.finetune.batching import Grouped, GroupedTrainer

LENGTHS = torch.randint(3, 120, (1003,), generator=torch.Generator().manual_seed(0)).tolist()
BATCH = 16


def batches(sampler: LengthGroupedSampler) -> list[list[int]]:
    rows = list(sampler)
    return [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]


def padded(grouped: Sequence[Sequence[int]]) -> int:
    return sum(len(batch) * max(LENGTHS[row] for row in batch) for batch in grouped)


def correlation(grouped: Sequence[Sequence[int]]) -> float:
    """Of the place of a batch in its quarter of the epoch with its mean length."""
    means = torch.tensor([sum(LENGTHS[row] for row in batch) / len(batch) for batch in grouped[:60]])
    place = torch.arange(60.0) % 15
    return float(torch.corrcoef(torch.stack([place, means]))[0, 1])


def test_every_example_comes_once_and_only_the_last_batch_is_short() -> None:
    torch.manual_seed(1)
    found = batches(Grouped(BATCH, lengths=LENGTHS))
    assert LENGTHS[found[0][0]] == max(LENGTHS), "what memory does not hold shows at once"
    assert sorted(row for batch in found for row in batch) == list(range(len(LENGTHS)))
    assert [len(batch) for batch in found] == [BATCH] * (len(LENGTHS) // BATCH) + [len(LENGTHS) % BATCH]


def test_the_order_says_nothing_of_the_length_and_most_padding_is_gone() -> None:
    torch.manual_seed(1)
    stock, ours = batches(LengthGroupedSampler(BATCH, lengths=LENGTHS)), batches(Grouped(BATCH, lengths=LENGTHS))
    assert correlation(stock) < -0.9
    assert abs(correlation(ours)) < 0.4
    order = torch.randperm(len(LENGTHS)).tolist()
    random = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
    assert padded(ours) - sum(LENGTHS) < 0.2 * (padded(random) - sum(LENGTHS))


def test_no_more_than_eight_batches_are_sorted_together() -> None:
    # of texts of all lengths alike, a batch then holds an eighth of them; sorted in stretches of 15, a fifteenth
    lengths = torch.randperm(960, generator=torch.Generator().manual_seed(2)).tolist()
    torch.manual_seed(1)
    found = batches(Grouped(BATCH, lengths=lengths))
    spans = torch.tensor(
        [float(max(lengths[row] for row in batch) - min(lengths[row] for row in batch)) for batch in found]
    )
    assert float(spans.mean()) == pytest.approx(960 / 8, rel=0.15)


def test_the_same_seed_gives_the_same_order_and_epochs_differ() -> None:
    orders = []
    for seed in (3, 3):
        torch.manual_seed(seed)
        sampler = Grouped(BATCH, lengths=LENGTHS)
        orders.append((list(sampler), list(sampler)))
    assert orders[0] == orders[1]
    assert orders[0][0] != orders[0][1]


@pytest.mark.parametrize(("strategy", "kind"), [("group_by_length", Grouped), ("random", RandomSampler)])
def test_the_trainer_takes_it_where_lengths_are_grouped(tmp_path: object, strategy: str, kind: type) -> None:
    examples = [{"input_ids": [1] * length, "labels": 0} for length in LENGTHS[:40]]
    arguments = TrainingArguments(output_dir=str(tmp_path), train_sampling_strategy=strategy, report_to="none")
    trainer = GroupedTrainer(model=torch.nn.Linear(1, 1), args=arguments, train_dataset=examples)
    assert type(trainer._get_train_sampler()) is kind
