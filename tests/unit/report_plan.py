"""A plan as the stage `plan` writes it, and a history as training does: an image model, two candidates."""

from typing import Any


def interval(value: float, half: float, n: int) -> dict[str, Any]:
    return {"value": float(value), "low": max(0.0, float(value - half)), "high": float(value + half), "n": n}


def entry(strategy: str, label: str, reason: dict[str, Any], work: int) -> dict[str, Any]:
    return {"strategy": strategy, "label": label, "reason": reason, "work": work, "memory_mb": 3}


def plan(classes: int = 10, per_class: int = 36, *, forced: bool = False) -> dict[str, Any]:
    names = ["embeddings", *(f"encoder.layer.{depth}" for depth in range(1, 7))]
    probe = entry("linear_probe", "linear probe", {"code": "always"}, 1_800_000)
    reason = {"code": "forced"} if forced else {"code": "enough_labels", "per_class": 108.0, "least": 4}
    fine_tune = entry("fine_tune", "fine-tuning", reason, 135_000_000)
    return {
        "format": 3,
        "forced": forced,
        "unit": "pixels",
        "level": 0.95,
        "shortlist": [fine_tune] if forced else [probe, fine_tune],
        "excluded": []
        if forced
        else [
            entry("lora", "low-rank adapters (LoRA)", {"code": "no_linear_layers", "kind": "resnet"}, 72_000_000),
            entry("scratch", "training from scratch", {"code": "baseline"}, 216_000_000),
        ],
        "head_strength": 1.0,
        "truncation": {"code": "none_significantly_better"},
        "evidence": {
            "backbone": {"name": "glyphs", "kind": "resnet", "parameters": 690_000},
            "examples": {"train": 1077, "groups": None, "validation": 180, "test": 360, "classes": classes,
                         "conflicts": 1, "per_class": {"min": 96, "median": 3 * per_class, "max": 119}},
            "probe": {**interval(0.912, 0.015, 1077), "strength": 1.0},
            "layers": [{"layer": name, **interval(0.58 + 0.065 * at - 0.006 * max(0, at - 4) ** 2, 0.025, 1077)}
                       for at, name in enumerate(names)],
            "neighbours": {"k": 5, **interval(0.871, 0.017, 1077)},
            "twice_the_labels": {"labels": 1077, "half": interval(0.89, 0.02, 1077),
                                 "gain": {"value": 0.022, "low": 0.009, "high": 0.034, "n": 1077}},
            "domain_shift": {**interval(1.72, 0.1, 600), "error": interval(0.07, 0.02, 600), "saturated": False},
        },
    }  # fmt: skip


def history(kept: str = "fine_tune") -> dict[str, Any]:
    """Format 2: a probe and a fine-tuned network, of which one was kept."""
    epochs = [
        {"epoch": at, "loss": 0.52 * 0.86**at + 0.03, "validation/loss": 0.40 * 0.88**at + 0.11 + 0.0006 * at * at,
         "validation/accuracy": 0.966 - 0.055 * 0.8**at - 0.0002 * max(0, at - 12)}
        for at in range(1, 19)
    ]  # fmt: skip
    names = ["embedder", *(f"encoder.stages.{at // 2}.layers.{at % 2}" for at in range(6)), "head"]
    rates = [
        {"name": name, "depth": at, "learning_rate": 1e-2 if name == "head" else 1e-3 * 0.85 ** (6 - at),
         "parameters": 4_000 * (at + 1), "frozen": at == 0}
        for at, name in enumerate(names)
    ]  # fmt: skip
    apart = {**interval(0.045, 0.03, 180), "fixed": 10, "regressed": 2, "p_value": 0.04}
    probe = {
        "strategy": "linear_probe",
        "label": "linear probe",
        "work": 1_800_000,
        "outcome": "trained",
        "start_loss": 0.31,
        "validation": {"accuracy": interval(0.917, 0.04, 180), "macro_f1": interval(0.91, 0.04, 180), "loss": 0.31},
        "training": None,
        "difference": None if kept == "linear_probe" else apart,
    }
    trained = {
        "strategy": "fine_tune",
        "label": "fine-tuning",
        "work": 135_000_000,
        "outcome": "trained",
        "start_loss": 0.31,
        "validation": {"accuracy": interval(0.962, 0.03, 180), "macro_f1": interval(0.96, 0.03, 180), "loss": 0.19},
        "training": {"steps": [], "epochs": epochs, "best_epoch": 10, "precision": "float32", "checks": [],
                     "attempts": [], "notes": [], "rates": rates},
        "difference": None if kept == "fine_tune" else apart,
    }  # fmt: skip
    code = {"fine_tune": "significantly_better", "linear_probe": "lower_loss"}[kept]
    return {
        "format": 3,
        "level": 0.95,
        "kept": kept,
        "reason": {"code": code, "against": "linear_probe" if kept == "fine_tune" else "fine_tune"},
        "candidates": [probe, trained],
    }
