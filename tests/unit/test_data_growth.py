"""When data grows: no test row is ever learned from, and a larger test set stands in what is said of the revisions."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headstart.data import revisions
from tests.unit.test_data_prepare import params, prepared

TEXTS = [f"text {number}" for number in range(60)]
FREE = st.lists(st.tuples(st.none(), st.sampled_from(TEXTS), st.sampled_from("xy")), max_size=40)
OWN = st.lists(
    st.tuples(st.sampled_from(["train", "validation", "test"]), st.sampled_from(TEXTS), st.sampled_from("xy")),
    max_size=40,
)
# rows in every split, so that nothing is refused whatever is drawn beside them
SOUND = [(f"sound {number}", "xy"[number % 2]) for number in range(60)]
BEGINNINGS = {
    "carved": [(None, *row) for row in SOUND],
    "own": [(("train", "validation", "test")[place % 3], *row) for place, row in enumerate(SOUND)],
}
GROWTH = st.one_of(st.tuples(st.just("carved"), FREE, FREE), st.tuples(st.just("own"), OWN, OWN))


def texts(result):
    return {name: set(dataset.inputs) for name, dataset in result.splits.items()}


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(GROWTH)
def test_no_test_row_is_learned_from_however_data_grows(tmp_path, growth):
    """Carved or the source's own, with repeats, contradictions and rows that stand in several splits."""
    kind, old, new = growth
    before = texts(prepared(tmp_path / "before", [*BEGINNINGS[kind], *old], leaked_share=1.0))
    after = texts(prepared(tmp_path / "after", [*BEGINNINGS[kind], *old, *new], leaked_share=1.0))
    assert not before["test"] & (after["train"] | after["validation"])
    assert before["test"] <= after["test"]


def test_a_test_set_that_grows_is_recorded_with_its_sizes_and_nothing_moves(tmp_path):
    # of 60 rows a third is test; 9 new ones join it, and one row of train is repeated
    old = BEGINNINGS["own"]
    new = [*old, *(("test", f"new {number}", "x") for number in range(9)), old[0]]
    for name, rows in (("old", old), ("new", new)):
        prepared(tmp_path / name, rows)
    said = revisions.compare(tmp_path / "old/raw/m", tmp_path / "new/raw/m", params())
    assert said["splits"] == {
        "train": {"before": 20, "after": 20},
        "validation": {"before": 20, "after": 20},
        "test": {"before": 20, "after": 29},
    }
    assert (said["moved"]["count"], said["rows"]["in"]) == (0, 10)
