"""The one table is whole: every fault has a cause, every cause a family and remedies, cheapest first."""

import pytest

from headstart.faults.table import CAUSES, FAULTS, REMEDIES


def test_every_fault_leads_to_a_known_cause():
    assert {fault.cause for fault in FAULTS.values()} <= set(CAUSES)


def test_every_cause_has_a_fault_but_those_that_no_injector_can_plant():
    planted = {fault.cause for fault in FAULTS.values()}
    # a class left out of training, labels exchanged, a watch that stands still: made by their drills
    assert set(CAUSES) - planted == {"none", "unknown_shift", "new_class", "concept_drift", "monitor_fault"}


@pytest.mark.parametrize("cause", CAUSES.values(), ids=lambda cause: cause.name)
def test_remedies_are_known_and_stand_cheapest_first(cause):
    places = [REMEDIES.index(remedy) for remedy in cause.remedies]
    assert places == sorted(places)
    assert cause.remedy == cause.remedies[0]
