"""What changed between two recorded revisions: found once, with DVC's cache and no flow."""

import pytest

from headstart import artifacts
from headstart.stages import changes, graph
from tests.unit.test_data_prepare import params
from tests.unit.test_data_revisions import recorded

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # DVC's own, of pygtrie
__all__ = ["recorded"]  # a fixture


def test_a_new_revision_is_compared_with_the_one_before_until_that_was_shown(recorded):
    assert changes.earlier("tickets") == recorded[0]
    change = changes.unseen("tickets", params())
    assert (change["old"]["revision"], change["new"]["revision"]) == tuple(recorded)
    assert (change["rows"]["in"], change["rows"]["out"], change["rows"]["stayed"]) == (1, 0, 1)
    changes.see("tickets", change)
    assert changes.unseen("tickets", params()) is None


def test_the_first_revision_has_nothing_to_be_compared_with(recorded):
    folder = artifacts.raw("tickets")
    (folder.parent / ".revisions/tickets.jsonl").unlink()
    assert graph.revisions(folder) == [recorded[1]]
    assert changes.unseen("tickets", params()) is None
