import numpy as np
import pytest

from headstart.errors import DataError
from headstart.statistics.representation import a_distance, linear_cka

RANDOM = np.random.default_rng(3)
A, B = RANDOM.normal(size=(40, 5)) @ RANDOM.normal(size=(5, 5)), 1 + RANDOM.normal(size=(30, 5))


def test_cka_of_features_is_that_of_their_centred_gram_matrices():
    # the form between examples, equations 1 to 3 of the paper, written out
    other = A[:, :3] ** 2 + RANDOM.normal(size=(40, 3))
    centre = np.eye(40) - 1 / 40
    k, m = centre @ A @ A.T @ centre, centre @ other @ other.T @ centre
    assert linear_cka(A, other) == pytest.approx((k * m).sum() / np.sqrt((k * k).sum() * (m * m).sum()))


def test_cka_worked_out_by_hand():
    # centred columns (-1, 0, 1) and (1, -2, 1) / their product: -1 + 0 + 1 = 0, so nothing is shared
    assert linear_cka(np.array([[0.0], [1.0], [2.0]]), np.array([[1.0], [-2.0], [1.0]])) == pytest.approx(0.0)


def test_turning_scaling_and_moving_features_leaves_cka_at_one():
    turn, _ = np.linalg.qr(RANDOM.normal(size=(5, 5)))
    assert linear_cka(A, 3 * A @ turn + 7) == pytest.approx(1.0)


def test_features_that_are_the_same_for_every_example_share_nothing():
    assert linear_cka(A, np.ones((40, 2))) == 0.0


def test_cka_of_other_examples_is_refused():
    with pytest.raises(DataError, match="40 and 30 examples"):
        linear_cka(A, B)


@pytest.mark.parametrize(
    ("error", "distance"),
    [
        pytest.param(0.0, 2.0, id="always told apart"),
        pytest.param(0.25, 1.0, id="half way"),
        pytest.param(0.5, 0.0, id="not told apart"),
        pytest.param(0.6, 0.0, id="worse than chance counts as chance"),
    ],
)
def test_the_a_distance_falls_with_the_error(error, distance):
    assert a_distance(error) == distance
