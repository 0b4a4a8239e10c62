"""Documents of the formats before: a plan of format 2, with its race, and a history of format 1."""

from typing import Any

from tests.unit.report_plan import interval

ALL = {"linear_probe": 1_800_000, "lora": 18_000_000, "fine_tune": 84_100_000, "scratch": 72_000_000}


def plan(strategy: str, classes: int, per_class: int) -> dict[str, Any]:
    names = ["embeddings", *(f"encoder.layer.{depth}" for depth in range(1, 7))]
    return {
        "format": 2,
        "strategy": strategy,
        "runner_up": "linear_probe" if strategy == "fine_tune" else "fine_tune",
        "reason": "The probe reaches 91.2% (89.6% to 92.6%), below 98.0% that is good enough; 108 examples a class and "
        "84.1 million pixels of work are within the budget of 100 million.",
        "otherwise": ["lora is 0.8 points behind fine_tune, within doubt: more judged examples may tell them apart."],
        "predicted": {"metric": "accuracy", "value": 0.93, "low": 0.896, "high": 0.964, "level": 0.9, "n": 360,
                      "basis": "93.0% in the race after learning from 538, its errors falling as labels grow to 1,077"},
        "work": {
            "unit": "pixels",
            "budget": 100_000_000,
            "of": dict(ALL),
            "memory_mb": {"linear_probe": 1, "lora": 2, "fine_tune": 4, "scratch": 4},
        },
        "barred": {"lora": "resnet has no linear layers below its head."},
        "labels_needed": {"accuracy": 0.98, "labels": 12_000, "more": 10_923, "strategy": strategy},
        "race": race(strategy),
        "evidence": {
            "backbone": {"name": "glyphs", "kind": "resnet", "parameters": 690_000},
            "examples": {"train": 1077, "validation": 180, "test": 360, "classes": classes, "small_classes": 2,
                         "imbalance": 1.2, "conflicts": 1,
                         "per_class": {"min": 96, "median": 3 * per_class, "max": 119}},
            "gap": {"domain": {"value": 1.72, "low": 1.6, "high": 1.81, "meaning": "less is nearer"}},
            "transferability": {
                "log_me": 0.412,
                "neighbours": {"k": 5, **interval(0.871, 0.017, 1077)},
                "curve": {
                    "measured": [{"labels": 1077, **interval(0.909, 0.02, 400)}],
                    "twice": {"labels": 2154, **interval(0.931, 0.014, 400),
                              "gain": {"value": 0.022, "low": 0.009, "high": 0.034}},
                },
            },
            "probe": {**interval(0.912, 0.015, 1077), "strength": 1.0},
            "layers": [{"layer": name, **interval(0.58 + 0.065 * at - 0.006 * max(0, at - 4) ** 2, 0.025, 1077)}
                       for at, name in enumerate(names)],
            "few_labels": {"per_class": 10, "classes": classes, "repeats": 2, "transfer": interval(0.861, 0.024, 360),
                           "scratch": interval(0.432, 0.037, 360)},
        },
    }  # fmt: skip


def race(leader: str) -> dict[str, Any]:
    legs = [
        {"strategy": name, "rows": rows, "work": round(ALL[name] * rows / 1077), **interval(value, 0.02, 720)}
        for name, rows, value in (
            ("linear_probe", 269, 0.86), ("fine_tune", 269, 0.89), ("linear_probe", 538, 0.88), ("fine_tune", 538, 0.93)
        )
    ]  # fmt: skip
    return {
        "legs": legs,
        "left": {"lora": "In the worse half of this rung (accuracy 85.0%; right alone on 20 of 720, fine_tune on 49)."},
        "standing": [leader],
        "leader": leader,
        "gaps": {"fine_tune": interval(0.05, 0.02, 720)},
        "behind": {},
        "spent": 1_614_000,
        "budget": 2_000_000,
        "ended": "All rungs were run.",
    }


def history(strategy: str) -> dict[str, Any]:
    epochs = [
        {"epoch": at, "loss": 0.52 * 0.86**at + 0.03, "validation/loss": 0.40 * 0.88**at + 0.11 + 0.0006 * at * at,
         "validation/accuracy": 0.966 - 0.055 * 0.8**at - 0.0002 * max(0, at - 12)}
        for at in range(1, 19)
    ]  # fmt: skip
    names = ["embedder", *(f"encoder.stages.{at // 2}.layers.{at % 2}" for at in range(6)), "head"]
    return {
        "format": 1,
        "strategy_planned": strategy,
        "strategy_used": strategy,
        "reason": "Fine-tuning is better than the probe it started from.",
        "probe": {"strength": 1.0, "validation/accuracy": 0.917, "validation/loss": 0.31},
        "groups": [
            {"name": name, "depth": at, "learning_rate": 1e-2 if name == "head" else 1e-3 * 0.85 ** (6 - at),
             "parameters": 4_000 * (at + 1), "frozen": at == 0}
            for at, name in enumerate(names)
        ],
        "steps": [],
        "epochs": epochs if strategy == "fine_tune" else [],
        "best_epoch": 10 if strategy == "fine_tune" else 0,
    }  # fmt: skip
