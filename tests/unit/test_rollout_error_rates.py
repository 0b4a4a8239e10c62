"""How often a rollout promotes a worse model, by simulation: the numbers that docs/rollout.md quotes."""

import numpy as np
import pytest

from benchmarks import rollout
from headstart.statistics import betting

STREAMS = 300


def test_a_model_worse_by_the_margin_passes_at_any_of_a_thousand_looks_in_one_stream_of_twenty_at_most():
    """A short one of those below: the hardest case, every label at once."""
    passed, _ = rollout.simulate(0.04, rollout.MARGIN, "at once", STREAMS, 10_000)
    assert len(passed) / STREAMS <= 0.05


@pytest.mark.nightly
@pytest.mark.parametrize("labels", ["at once", "all", "a fifth", "none", "favourable"])
@pytest.mark.parametrize("differ", [0.02, 0.04, 0.08, 0.16])
def test_whichever_labels_come_a_model_worse_by_the_margin_passes_in_one_stream_of_twenty_at_most(differ, labels):
    passed, _ = rollout.simulate(differ, rollout.MARGIN, labels, 1000, 20_000)
    assert len(passed) / 1000 <= 0.05


@pytest.mark.nightly
def test_an_equal_model_is_not_taken_back():
    _, failed = rollout.simulate(0.08, 0.0, "all", 1000, 20_000)
    assert len(failed) / 1000 <= 0.05 / 3


def test_the_simulated_evidence_is_that_of_the_library():
    counts = [40, 30, 900]
    found = rollout._evidence(-0.02, [np.array([count]) for count in counts])
    assert found == pytest.approx(betting.above([1.0, -1.0, 0.0], -0.02, least=-1.0, counts=counts))
