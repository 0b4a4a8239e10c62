from dataclasses import replace

import numpy as np
import pytest

from headstart.errors import DataError
from headstart.statistics.learning_curve import fit

MANY = 10_000_000  # answers judged: counts as good as the rates themselves


def points(floor, scale, power, sizes=(100, 200, 400, 800), judged=MANY):
    errors = [floor + scale * size**-power for size in sizes]
    return sizes, [judged - round(judged * error) for error in errors], judged


def fitted(shown, *, seed=1, resamples=200, level=0.9):
    return fit(*shown, level=level, resamples=resamples, generator=np.random.default_rng(seed))


def test_a_power_law_is_found_again_and_carried_on():
    # 0.1 + 2 / sqrt(n): 0.3 at 100, 0.2 at 400; so 0.1 + 2 / sqrt(1600) = 0.15 at 1,600
    assert fitted(points(0.1, 2.0, 0.5)).at(1600).value == pytest.approx(0.85, abs=0.001)


def test_the_share_of_errors_that_more_labels_leave_and_how_sure_that_is():
    # 0.1 + 2 / sqrt(n): 0.3 at 100, 0.2 at 400
    share, doubt = fitted(points(0.1, 2.0, 0.5)).left(100, 400)
    assert (share, doubt) == (pytest.approx(2 / 3, abs=0.001), pytest.approx(0.0, abs=0.001))
    curve = replace(fitted(points(0.1, 2.0, 0.5)), floor=0.0, scale=1.0, power=0.5)
    curve = replace(curve, replicas=np.array([[0.0, 1.0, 0.5], [0.0, 1.0, 0.25]]))
    share, doubt = curve.left(100, 400)  # 1 / 2 by the curve; its two replicas say 0.5 and 0.7071
    assert (share, doubt) == (pytest.approx(0.5), pytest.approx((2**-0.5 - 0.5) / 2))
    without = replace(curve, floor=0.0, scale=0.0, replicas=np.zeros((2, 3)))
    assert without.left(100, 400) == (1.0, 0.0)


def test_the_labels_needed_are_those_at_which_the_curve_gets_there():
    # 0.1 + 2 / sqrt(n) = 0.15 at n = (2 / 0.05)^2 = 1,600
    assert fitted(points(0.1, 2.0, 0.5)).labels_needed(0.85) == pytest.approx(1600, rel=0.03)


def test_an_accuracy_above_the_floor_is_never_reached():
    assert fitted(points(0.1, 2.0, 0.5)).labels_needed(0.95) is None


def test_beyond_a_hundred_times_the_data_nothing_is_promised():
    # 0.1 + 2 / sqrt(n) = 0.105 at n = 160,000, twice as far as 100 times 800
    assert fitted(points(0.1, 2.0, 0.5)).labels_needed(0.895) is None


def test_an_accuracy_that_the_fewest_labels_gave_needs_no_more_than_those():
    assert fitted(points(0.1, 2.0, 0.5)).labels_needed(0.6) == 100


def test_errors_that_do_not_fall_make_a_flat_curve():
    # weights are equal, so the flat curve is the mean error: 30 of 100, in all 90 of 300
    flat = fitted(((10, 20, 40), (71, 70, 69), 100))
    assert flat.at(400).value == pytest.approx(0.7, abs=0.001)
    assert flat.labels_needed(0.9) is None


def test_no_error_anywhere_leaves_the_doubt_of_the_number_judged():
    perfect = fitted(((10, 20, 40), (50, 50, 50), 50)).at(80)
    assert perfect.value == 1.0
    assert 0.9 < perfect.low < 1.0


def test_an_error_judged_by_more_answers_weighs_more():
    # sizes are as good as equal, so the curve is flat; the error in the middle is judged by a thousand times more
    shown = (10, 11, 12), (60, 80_000, 60), (100, 100_000, 100)
    assert fitted(shown).at(11).value == pytest.approx(0.8, abs=0.001)


def test_more_answers_judged_make_a_narrower_interval():
    few, many = (fitted(points(0.1, 2.0, 0.5, judged=judged)).at(1600) for judged in (200, 20_000))
    assert many.high - many.low < (few.high - few.low) / 4


def test_the_interval_holds_the_value_and_stays_a_share():
    curve = fitted(points(0.0, 3.0, 1.0, judged=50))
    for size in (50, 800, 80_000):
        found = curve.at(size)
        assert 0.0 <= found.low <= found.value <= found.high <= 1.0


def test_the_order_of_the_points_does_not_matter():
    shown = (100, 200, 400), (60, 130, 210), (100, 200, 300)
    assert fitted(shown).at(1600) == fitted([column[::-1] for column in shown]).at(1600)


def test_the_same_generator_gives_the_same_interval():
    shown = points(0.05, 1.0, 0.4, judged=300)
    assert fitted(shown, seed=3).at(1600) == fitted(shown, seed=3).at(1600)


def test_two_sizes_are_no_curve():
    with pytest.raises(DataError, match=r"sizes \[10, 20\] .*at least 3 different sizes"):
        fitted(((10, 20), (5, 6), 10))


def test_a_size_without_an_answer_is_refused():
    with pytest.raises(DataError, match=r"right of \[10, 0, 10\]"):
        fitted(((10, 20, 40), (5, 0, 6), (10, 0, 10)))


def test_its_document_shows_what_was_measured_and_what_twice_the_labels_bring():
    # 0.1 + 2 / sqrt(n): 0.3, 0.241, 0.2, 0.171 of ten million answers, then 0.15 at 1,600
    found = fitted(points(0.1, 2.0, 0.5)).document(800)
    assert [each["labels"] for each in found["measured"]] == [100, 200, 400, 800]
    assert found["measured"][0]["value"] == pytest.approx(0.7)
    assert (found["twice"]["labels"], found["twice"]["value"]) == (1600, pytest.approx(0.85, abs=0.001))
    assert found["twice"]["gain"]["value"] == pytest.approx(0.171 - 0.15, abs=0.001)


def test_what_more_labels_bring_reaches_up_as_far_as_down_at_least():
    # 1 / sqrt(n) errors: 0.1 at 100, 0.05 at 400; the replicas say 0.1 - 0.05, and 0.3162 - 0.2236
    curve = replace(fitted(points(0.1, 2.0, 0.5)), floor=0.0, scale=1.0, power=0.5)
    both = replace(curve, replicas=np.array([[0.0, 1.0, 0.5], [0.0, 1.0, 0.25]]))
    high = np.quantile([0.05, 0.31623 - 0.22361], 0.95)
    assert both.gain(100, 400) == pytest.approx({"value": 0.05, "low": 0.05, "high": high}, abs=1e-4)
    steady = replace(curve, replicas=np.array([[0.1, 0.0, 1.0], [0.1, 0.0, 1.0]]))  # replicas that gain nothing
    assert steady.gain(100, 400) == pytest.approx({"value": 0.05, "low": 0.0, "high": 0.1})


@pytest.mark.slow
def test_the_interval_holds_the_truth_as_often_as_its_docstring_says():
    # 6 curves x 3 numbers judged x 60 runs: a standard error of 0.009 on a coverage of 0.9
    generator, held, gained = np.random.default_rng(7), [], []
    laws = [(0.0, 1.2, 0.3), (0.05, 2.0, 0.5), (0.1, 4.0, 0.8), (0.02, 0.9, 0.2), (0.2, 1.0, 0.4), (0.01, 20.0, 1.0)]
    for floor, scale, power in laws:
        for judged in (200, 1000, 4000):
            for _ in range(60):
                errors = {size: floor + scale * size**-power for size in (50, 100, 200, 400)}
                right = [judged - int(generator.binomial(judged, min(0.98, error))) for error in errors.values()]
                curve = fit(list(errors), right, judged, level=0.9, resamples=200, generator=generator)
                found, gain = curve.at(800), curve.gain(400, 800)
                held.append(found.low <= 1 - floor - scale * 800**-power <= found.high)
                gained.append(gain["low"] <= scale * (400**-power - 800**-power) <= gain["high"])
    assert 0.87 < np.mean(held) < 0.94
    assert 0.86 < np.mean(gained) < 0.94
