"""Gate `baseline`: paired, against the best baseline there is."""

import pytest

from headstart.evaluation.gates import baseline


def rival(accuracy, wins, losses, n=200):
    return {
        "accuracy": {"value": accuracy, "low": accuracy - 0.05, "high": accuracy + 0.05, "n": n},
        "paired": {"wins": wins, "losses": losses, "n": n},
    }


@pytest.mark.parametrize(
    ("wins", "losses", "verdict"),
    [
        pytest.param(40, 5, "pass", id="plainly better"),
        pytest.param(12, 8, "unsure", id="perhaps better"),
        pytest.param(0, 0, "unsure", id="the same answers"),
        pytest.param(5, 40, "fail", id="plainly worse"),
    ],
)
def test_better_than_what_costs_nothing(wins, losses, verdict):
    finding = baseline.judge({"baselines": {"majority": rival(0.5, wins, losses)}}, 0.0, 0.05)
    assert finding.verdict == verdict
    assert finding.statistic == pytest.approx((wins - losses) / 200)


def test_the_best_baseline_counts_not_the_easiest():
    document = {"baselines": {"majority": rival(0.1, 150, 2), "tfidf_logistic": rival(0.85, 9, 9)}}
    finding = baseline.judge(document, 0.0, 0.05)
    assert finding.verdict == "unsure"
    assert finding.evidence["baseline"] == "tfidf_logistic"
    assert "right on 9 of 200 test examples where that is wrong, and wrong on 9" in finding.reason


def test_a_lead_that_rests_on_a_few_groups_is_unsure():
    document = rival(0.5, 40, 5)
    document["paired"]["cluster_robust"] = {"groups": 4, "effective": 4.0, "error": 0.08}
    finding = baseline.judge({"baselines": {"majority": document}}, 0.0, 0.05)
    assert finding.verdict == "unsure"  # 0.175, and t(0.95, 3 degrees) = 2.353 errors of 0.08 below
    assert "of 200 test examples in 4 groups" in finding.reason
    assert finding.action.startswith("About 1 more groups of test rows would settle it")  # 4 * (0.18826 / 0.175)^2: 5


def test_a_lead_that_is_not_beyond_doubt_says_how_sure_it_is_and_how_many_more_rows_would_settle_it():
    # one-sided score test of 12 wins against 8 losses: z = (12 - 8) / sqrt(12 + 8) = 0.894, 81.4% sure
    finding = baseline.judge({"baselines": {"words_svm": rival(0.5, 12, 8)}}, 0.0, 0.05)
    assert finding.verdict == "unsure"
    assert finding.evidence["sure"] == pytest.approx(0.8144, abs=1e-4)
    # Tango's lower end at level 0.9 is -0.0177 (R's PropCIs::scoreci.mp): 200 * (0.0377 / 0.02)^2 = 711, 511 more
    assert finding.evidence["more"] == pytest.approx(520, abs=20)
    assert "that only 81% sure" in finding.reason
    assert finding.action.startswith(f"About {finding.evidence['more']} more test rows would settle it")
    assert baseline.is_better(finding.document())


@pytest.mark.parametrize(("wins", "losses"), [(8, 12), (10, 10), (40, 5)])
def test_only_an_unsure_lead_makes_a_candidate_provisional(wins, losses):
    finding = baseline.judge({"baselines": {"words_svm": rival(0.5, wins, losses)}}, 0.0, 0.05)
    assert not baseline.is_better(finding.document())


def test_a_candidate_behind_the_baseline_is_not_ahead_of_it_whatever_the_margin():
    finding = baseline.judge({"baselines": {"words_svm": rival(0.5, 8, 12)}}, -0.05, 0.05)
    assert finding.verdict == "unsure" and finding.statistic < 0
    assert not baseline.is_better(finding.document())


def test_a_lead_that_rests_on_groups_is_no_surer_than_their_scatter():
    document = rival(0.5, 12, 8)
    document["paired"]["cluster_robust"] = {"groups": 11, "effective": 11.0, "error": 0.04}
    finding = baseline.judge({"baselines": {"words_svm": document}}, 0.0, 0.05)
    assert finding.evidence["sure"] == pytest.approx(0.6860, abs=1e-3)  # t = 0.02 / 0.04 = 0.5 with 10 degrees
    assert finding.evidence["unit"] == "groups"


@pytest.mark.parametrize("robust", [{"groups": 3}, {"groups": 0, "effective": 0.0, "error": 0.1}, "many"])
def test_evidence_that_does_not_say_how_groups_vary_closes_the_gate(robust):
    document = rival(0.5, 40, 5)
    document["paired"]["cluster_robust"] = robust
    assert baseline.judge({"baselines": {"majority": document}}, 0.0, 0.05).verdict == "fail"


def test_a_margin_asks_for_more_than_being_better():
    document = {"baselines": {"majority": rival(0.5, 40, 5)}}  # 17.5 points better
    assert baseline.judge(document, 0.1, 0.05).verdict == "pass"
    assert baseline.judge(document, 0.17, 0.05).verdict == "unsure"
    assert baseline.judge(document, 0.4, 0.05).verdict == "fail"


def test_a_margin_below_zero_lets_about_as_good_pass_and_unsure_names_it():
    document = {"baselines": {"words_svm": rival(0.5, 12, 10)}}
    unsure = baseline.judge(document, 0.0, 0.05)
    assert unsure.verdict == "unsure"
    # (12 - 10) / 200 = 0.01; by Wald 1.645 * sqrt(0.11 - 0.01^2) / sqrt(200) = 0.039 below it, by Tango a little more
    assert unsure.action.endswith("; or set gates.baseline_margin to -0.03, if being about as good will do.")
    found = baseline.judge(document, -0.03, 0.05)
    assert found.verdict == "pass"
    assert found.reason.endswith("it may be worse by less than 0.03.")


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(None, id="no evaluation"),
        pytest.param({"baselines": {}}, id="no baseline"),
        pytest.param({"baselines": {"majority": {"accuracy": None}}}, id="not measured"),
        pytest.param({"baselines": {"majority": {"accuracy": rival(0.5, 1, 1)["accuracy"]}}}, id="not paired"),
    ],
)
def test_missing_evidence_fails(document):
    finding = baseline.judge(document, 0.0, 0.05)
    assert finding.verdict == "fail"
    assert "without evidence nothing is deployed" in finding.reason
