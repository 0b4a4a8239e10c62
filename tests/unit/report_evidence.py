"""Small but realistic evidence of one run, written as the stages write it: an image and a text model.

Numbers come from formulas and a seeded generator; the confusion matrix decides accuracy, per-class figures and
mistakes, so that the page can be checked against itself.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from PIL import Image, ImageDraw

from headstart import artifacts
from headstart.data import dataset
from headstart.findings import Finding
from tests.unit.report_plan import history, interval, plan

TOPICS = ["card", "transfer", "top_up", "exchange_rate", "cash_withdrawal", "direct_debit", "identity", "passcode",
          "apple_pay", "refund", "country_support"]  # fmt: skip
MATTERS = ["arrival", "declined", "pending", "fee_charged", "not_recognised", "cancel", "limits"]
INTENTS = [f"{topic}_{matter}" for topic in TOPICS for matter in MATTERS]
DIGITS = [str(digit) for digit in range(10)]


def write(
    model: str,
    modality: str,
    classes: list[str],
    *,
    strategy: str = "fine_tune",
    verdict: str = "pass",
    version: str | None = "3",
    champion: str | None = "2",
    alias: str | None = "champion",
    errors: float = 0.06,
    per_class: int = 36,
    text: str = "I was charged twice for one {}: how can I have it back?",
) -> None:
    """All of a run's documents under the current folder."""
    rng = np.random.default_rng(7)
    counts = confusion(rng, len(classes), per_class, errors)
    baseline = "tfidf_logistic" if modality == "text" else "pixels_logistic"
    evaluation = evaluated(classes, counts, baseline)
    for part, document in {
        "plan/plan.json": plan(len(classes), per_class),
        "train/history.json": history(strategy),
        "train/screen.json": screen(),
        "evaluate/evaluation.json": evaluation,
        "evaluate/calibration.json": {
            "format": 1,
            "temperature": 1.31,
            "bias": [0.0] * len(classes),
            "abstain_below": 0.0,
        },
        "data/contract/contract.json": {
            "format": 1,
            "modality": modality,
            "labels": classes,
            "hash": {"input": "01" * 32, "labels": "23" * 32},
        },
        "data/findings.json": [finding.document() for finding in data_findings()],
        "bundle/lineage.json": {
            "format": 1,
            "stages": {
                f"export@{model}": {
                    "command": "export",
                    "deps": {},
                    "outs": {f"artifacts/models/{model}/export": "45" * 16},
                }
            },
        },
        "bundle/MANIFEST.json": {"format": 1, "files": {"model.onnx": "ab" * 32}},
    }.items():
        artifacts.write_json(Path("artifacts/models") / model / part, document)
    write_data(model, modality, classes, evaluation, counts, text)
    write_surroundings(model, modality)
    artifacts.write_json(
        artifacts.release(model) / "judgement.json",
        {"format": 1, "verdict": verdict, "findings": [one.document() for one in gates(evaluation, verdict)],
         "champion": champion, "version": version},
    )  # fmt: skip
    artifacts.write_json(artifacts.release(model) / "run.json", {"format": 1, "version": version, "alias": alias})


def confusion(rng: np.random.Generator, classes: int, per_class: int, errors: float) -> np.ndarray:
    """Mostly right; wrong answers fall on a few neighbours, as they do in life."""
    counts = np.zeros((classes, classes), dtype=int)
    for row in range(classes):
        support = int(per_class * rng.uniform(0.6, 1.2)) + 1
        wrong = int(rng.binomial(support, errors * rng.uniform(0.0, 2.4)))
        counts[row, row] = support - wrong
        for _ in range(wrong):
            counts[row, (row + int(rng.choice([1, 1, 1, 3, classes // 2, 7]))) % classes] += 1
    return counts


def evaluated(classes: list[str], counts: np.ndarray, baseline: str) -> dict[str, Any]:
    n, right = int(counts.sum()), int(np.trace(counts))
    precision = np.diag(counts) / np.maximum(counts.sum(axis=0), 1)
    recall = np.diag(counts) / counts.sum(axis=1)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
    accuracy, macro_f1 = right / n, float(f1.mean())
    wrong = [(row, column) for row, column in np.argwhere(counts) if row != column]
    return {
        "format": 1,
        "n": {"train": 3 * n, "validation": n // 2, "test": n},
        "classes": classes,
        "metrics": {
            "accuracy": interval(accuracy, 1.96 * np.sqrt(accuracy * (1 - accuracy) / n), n),
            "macro_f1": interval(macro_f1, 0.018, n),
            "nll": interval(0.19, 0.05, n),
            "ece": interval(0.013, 0.009, n),
        },
        "uncalibrated": {"nll": interval(0.24, 0.06, n), "ece": interval(0.041, 0.012, n)},
        "per_class": [
            {"label": name, "precision": precision[at], "recall": recall[at], "f1": f1[at],
             "support": int(counts[at].sum())}
            for at, name in enumerate(classes)
        ],
        "confusion": counts,
        "baselines": {
            "majority": {"accuracy": interval(1.2 / len(classes), 0.01, n), "macro_f1": interval(0.02, 0.005, n)},
            baseline: {"accuracy": interval(accuracy - 0.08, 0.025, n), "macro_f1": interval(0.8, 0.03, n)},
        },
        "reliability": [
            {"low": low / 10, "high": (low + 1) / 10, "n": int(4 * 1.9**low * (low > 2)),
             "confidence": low / 10 + 0.06 if low > 2 else None, "accuracy": low / 10 + 0.04 if low > 2 else None}
            for low in range(10)
        ],
        "mistakes": [
            {"id": f"test-{at}", "label": classes[row], "predicted": classes[column], "probability": 0.97 - 0.025 * at}
            for at, (row, column) in enumerate(wrong[:24])
        ],
    }  # fmt: skip


def screen() -> dict[str, Any]:
    findings = [
        Finding("nonfinite", "pass", 0.0, 0.0, "Fine-tuning and its 612 training steps have finite losses."),
        Finding("diverged", "pass", 0.61, 1.5, "Fine-tuning: validation loss went from 0.31 to 0.19, 0.61 times its "
                "start; up to 1.5 is allowed."),
        Finding("above_majority", "pass", 0.96, 0.11, "Fine-tuning is right on 0.960 of validation; always giving the "
                "commonest class on 0.110."),
    ]  # fmt: skip
    return {"format": 1, "verdict": "pass", "findings": [finding.document() for finding in findings]}


def gates(evaluation: dict[str, Any], verdict: str) -> list[Finding]:
    metrics = evaluation["metrics"]

    def against(check: str, name: str, bar: float, told: str) -> Finding:
        one = metrics[name]
        return Finding(check, "pass", one["value"], bar, f"{told} {one['value']:.3f} ({one['low']:.3f} to "
                       f"{one['high']:.3f}) on {one['n']} test examples; the bar is {bar:g}.", "", one)  # fmt: skip

    last = Finding("champion", "pass", 0.011, -0.02, "Against the champion it is right on 9 of 360 test examples where "
                   "that is wrong, and wrong on 5 where that is right: accuracy differs by 0.011 (-0.008 to 0.031).",
                   "", {"value": 0.011, "low": -0.008, "high": 0.031, "n": 360})  # fmt: skip
    if verdict != "pass":
        last = Finding("champion", verdict, -0.061, -0.02, "Accuracy differs from the champion's by -0.061 (-0.091 to "
                       "-0.031); at most 0.02 less is allowed.", "Compare the two by class (headstart data digits), "
                       "and add examples where it lost.",
                       {"value": -0.061, "low": -0.091, "high": -0.031, "n": 360})  # fmt: skip
    return [
        against("accuracy", "accuracy", 0.6, "Accuracy is"),
        against("macro_f1", "macro_f1", 0.5, "Macro F1 is"),
        against("calibration_error", "ece", 0.15, "Calibration error is"),
        Finding("baseline", "pass", 0.08, 0.0, "The baseline words_svm reaches 0.832; the candidate is right on "
                "38 of 360 test examples where that is wrong, and wrong on 9 where that is right: accuracy differs by "
                "0.080 (0.049 to 0.112); more than 0 is asked.", "",
                {"value": 0.08, "low": 0.049, "high": 0.112, "n": 360}),
        Finding("parity", "pass", 8.6e-7, 1e-3, "On 128 examples the exported file's logits differ from the network's "
                "by 8.6e-07 at most (1.0e-03 allowed) and 0 labels change (0 allowed)."),
        Finding("replay", "pass", 0.0, 1e-4, "Of 16 golden examples 0 get another label, and probabilities differ by "
                "0.0e+00 at most (1.0e-04 allowed)."),
        last,
    ]  # fmt: skip


def data_findings() -> list[Finding]:
    return [
        Finding(
            "leak", "pass", 2.0, 180.0, "2 of 360 test rows also stood in train; those rows were taken out of train."
        ),
        Finding("rare_labels", "unsure", 1.0, 8.0, "1 class has fewer than 8 test examples.", "Label more of it."),
    ]


def write_data(
    model: str, modality: str, classes: list[str], evaluation: dict[str, Any], counts: np.ndarray, text: str
) -> None:
    folder = artifacts.stage_output(model, "data")
    truth = {mistake["id"]: mistake["label"] for mistake in evaluation["mistakes"]}
    labels = [truth.get(f"test-{at}", classes[at % len(classes)]) for at in range(int(counts.sum()))]
    inputs = [text.format(label.replace("_", " ")) if modality == "text" else drawing(label, at)
              for at, label in enumerate(labels)]  # fmt: skip
    for split, size in {"train": 1077, "validation": 180, "test": len(labels)}.items():
        rows = [at % len(labels) for at in range(size)]
        ids = [f"{split}-{at}" for at in range(size)]
        none = [None] * size
        part = dataset.Dataset(modality, ids, [labels[at] for at in rows], [inputs[at] for at in rows], none, none)
        dataset.write(folder / f"{split}.parquet", part)
    quarantine = {"id": ["r-17", "r-18", "r-90"], "label": ["3", "3", "8"], modality: inputs[:3],
                  "check": ["payloads", "leak", "leak"],
                  "numbers": ['{"noun": "text", "refused": "truncated"}',
                              *['{"twin": {"row": 12, "split": "test"}}'] * 2]}  # fmt: skip
    pq.write_table(pa.table(quarantine), folder / "quarantine.parquet")


def drawing(label: str, seed: int) -> bytes:
    """A small picture of the label's first letters, as encoded PNG."""
    image = Image.new("L", (12, 12))
    ImageDraw.Draw(image).text((3 + seed % 3, seed % 2), label[:2], fill=255)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def write_surroundings(model: str, modality: str) -> None:
    """Parameters, code files, backbone, source and timing."""
    name = "glyphs" if modality == "image" else "minilm"
    sections: dict[tuple[str, str], dict[str, Any]] = {
        (model, "prepare"): {"modality": modality, "backbone": name, "split": {"seed": 1}},
        (model, "train"): {"modality": modality, "backbone": name, "fine_tune": {"seed": 7}, "probe": {"seed": 5}},
        (model, "evaluate"): {"modality": modality, "bootstrap": {"level": 0.95, "resamples": 1000, "seed": 11}},
        (name, "backbone"): {"modality": modality, "source": None, "pretrain": {"recipe": "glyphs"}},
    }
    for (owner, stage), section in sections.items():
        artifacts.write_text(artifacts.stage_params(owner, stage), yaml.safe_dump({"format": 1, **section}))
    artifacts.write_text(artifacts.stage_code("train"), "headstart.transfer ab12\ntorch==2.13.0\nnumpy==2.4.1\n")
    artifacts.write_json(artifacts.backbone(name) / "backbone.json",
                         {"format": 1, "kind": "resnet", "modality": modality, "hidden_size": 64, "layers": 6,
                          "parameters": 184_032, "files": {"model.safetensors": "cd" * 32}})  # fmt: skip
    artifacts.write_json(artifacts.raw(model) / "source.json",
                         {"format": 1, "source": f"builtin:{model}", "files": {"labelled.parquet": "ef" * 32},
                          "rows": {"labelled": 1620, "unlabelled": 0}, "findings": []})  # fmt: skip
    for stage, seconds in {"prepare": 2.31, "plan": 48.2, "train": 74.9, "export": 6.1, "evaluate": 3.4}.items():
        parts = {"plan": {"a_million": 0.3}, "train": {"linear_probe": 0.2, "fine_tune": 41.0}}.get(stage, {})
        artifacts.write_json(artifacts.timing(model, stage),
                             {"format": 1, "seconds": seconds, "peak_memory_mb": 812, "parts": parts})  # fmt: skip
