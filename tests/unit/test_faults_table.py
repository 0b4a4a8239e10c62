"""The one table is whole: every fault has a cause, every cause a family and remedies, cheapest first."""

import pytest

from headstart.faults.table import CAUSES, FAULTS, REMEDIES


def test_every_fault_leads_to_a_known_cause():
    assert set(FAULTS.values()) <= set(CAUSES)


def test_every_cause_but_the_two_that_name_nothing_has_a_fault():
    assert set(CAUSES) - set(FAULTS.values()) == {"none", "unknown_shift"}


@pytest.mark.parametrize("cause", CAUSES.values(), ids=lambda cause: cause.name)
def test_remedies_are_known_and_stand_cheapest_first(cause):
    places = [REMEDIES.index(remedy) for remedy in cause.remedies]
    assert places == sorted(places)
    assert cause.remedy == cause.remedies[0]
