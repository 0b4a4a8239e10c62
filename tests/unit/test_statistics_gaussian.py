"""Moments add up exactly; the divergence is the one worked out by hand and by integration."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from headstart.statistics.gaussian import Moments, symmetric_divergence


def moments(values):
    return Moments(np.array([float(len(values))]), values.sum(keepdims=True), np.square(values).sum(keepdims=True))


def test_moments_of_shards_add_up_to_those_of_the_whole():
    values = np.random.default_rng(0).normal(3.0, 2.0, 999)
    added = moments(values[:100]) + moments(values[100:700]) + moments(values[700:])
    assert added.mean == pytest.approx(values.mean())
    assert added.variance == pytest.approx(values.var())


def test_equal_distributions_have_no_divergence():
    assert symmetric_divergence(np.array([1.0]), np.array([4.0]), np.array([1.0]), np.array([4.0]), epsilon=1e-5) == 0.0


def test_a_mean_moved_by_one_deviation_is_one_nat():
    # equal variances v: (v + v) / 2v + (v + v) / 2v - 1 = 1
    found = symmetric_divergence(np.array([2.0]), np.array([4.0]), np.array([0.0]), np.array([4.0]), epsilon=1e-12)
    assert found == pytest.approx(1.0)


def test_it_is_the_sum_of_both_integrals():
    one, other = norm(0.3, 1.2), norm(-0.4, 0.7)

    def divergence(p, q):
        return quad(lambda x: p.pdf(x) * (p.logpdf(x) - q.logpdf(x)), -12, 12)[0]

    found = symmetric_divergence(np.array(0.3), np.array(1.2**2), np.array(-0.4), np.array(0.7**2), epsilon=1e-15)
    assert found == pytest.approx(divergence(one, other) + divergence(other, one), rel=1e-6)
