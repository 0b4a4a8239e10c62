"""What the page says of forgetting."""

from headstart.report import forgetting

POINTS = [
    {"name": "trained", "accuracy": 0.92, "loss": 0.3, "lost": 0.21},
    {"name": "interpolation 0.5", "accuracy": 0.918, "loss": 0.31, "lost": 0.04},
]
ENTRY = {
    "retention": {
        "kept": {"value": -0.04, "low": -0.06, "high": -0.02, "n": 500},
        "accuracy": {"before": 0.90, "after": 0.86},
        "similarity": {"embeddings": 0.99, "encoder.layer.5": 0.41},
        "moved": {"embeddings": 0.01, "encoder.layer.5": 0.08},
        "words": {"before": {"value": 2.104}, "after": {"value": 3.5}},
    },
    "mitigation": {"budget": 0.1, "points": POINTS, "chosen": "interpolation 0.5", "code": "mitigated"},
}


def test_what_was_kept_what_was_done_and_the_layers_that_changed_most_are_said():
    told = " ".join(forgetting.told(ENTRY))
    parts = [
        "90.0% right before training, 86.0% after",
        "Training cost 21.0% of accuracy",
        "With interpolation 0.5 it loses 4.0%",
        "encoder.layer.5: similarity 0.41",
    ]
    parts += ["costs 3.50 nats a token, before training 2.10", "encoder.layer.5: by 8.0% of their length"]
    assert all(part in told for part in parts)


def test_each_network_is_a_dot_with_its_name_and_the_drawing_is_told_in_words():
    drawing = forgetting.view(ENTRY)["chart"]
    assert "interpolation 0.5 91.8%, lost 4.0%" in drawing
    assert drawing.count("trained") >= 1 and "the budget" in drawing


def test_without_a_reference_there_is_no_drawing():
    unknown = {
        **ENTRY,
        "mitigation": {**ENTRY["mitigation"], "points": [{**POINTS[0], "lost": None}], "code": "unknown"},
    }
    assert forgetting.view(unknown)["chart"] is None


def test_an_entry_that_does_not_know_of_forgetting_shows_nothing():
    assert forgetting.view(None) is None
    assert forgetting.view({"strategy": "linear_probe"}) is None
