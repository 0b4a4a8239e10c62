"""What is registered answers by itself: signature, example, requirements, and no repository."""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import mlflow
import pandas as pd
import pytest

from headstart import registry, tracking
from headstart.predictor import Predictor
from tests.unit.tiny_bundle import grey, image_bundle, text_bundle

pytestmark = pytest.mark.slow

ALONE = """
import sys, json
sys.modules.update(dict.fromkeys(("torch", "transformers", "sklearn", "scipy", "onnx", "evidently", "dvc", "prefect")))
import mlflow, pandas as pd
mlflow.set_tracking_uri(sys.argv[1])
answer = mlflow.pyfunc.load_model("models:/alone@champion").predict(pd.DataFrame({"text": ["good", "bad"]}))
import headstart
print(json.dumps({"labels": list(answer["label"]), "package": headstart.__file__}))
"""


def registered(model, bundle):
    run_id = tracking.log_run(model, params={}, metrics={}, series={}, artifacts=[], tags={})
    number = registry.register(model, bundle, run_id=run_id, verdict="pass", reasons=[], metrics={}, tags={})
    registry.promote(model, number)
    return mlflow.pyfunc.load_model(f"models:/{model}@champion")


@pytest.fixture(scope="module")
def text_model(tracked, tmp_path_factory):
    return registered("texts", text_bundle(tmp_path_factory.mktemp("text") / "any_name"))


@pytest.fixture(scope="module")
def image_model(tracked, tmp_path_factory):
    return registered("images", image_bundle(tmp_path_factory.mktemp("image") / "any_name"))


def test_texts_are_answered_with_label_probability_and_probabilities(text_model):
    answer = text_model.predict(pd.DataFrame({"text": ["good", "bad"]}))
    # logits (0, 4): 1 / (1 + e^-4) = 0.982014
    assert list(answer["label"]) == ["positive", "negative"]
    assert answer["probability"].tolist() == pytest.approx([0.982014, 0.982014], abs=1e-6)
    assert answer["probabilities"][0] == pytest.approx([0.017986, 0.982014], abs=1e-6)


@pytest.mark.parametrize("encode", [bytes, lambda image: base64.b64encode(image).decode()], ids=["bytes", "base64"])
def test_images_are_taken_as_bytes_or_base64(image_model, encode):
    answer = image_model.predict(pd.DataFrame({"image": [encode(grey(255)), encode(grey(0))]}))
    assert list(answer["label"]) == ["light", "dark"]


def test_an_image_that_is_not_base64_is_named(image_model):
    with pytest.raises(Exception, match="image 1 is a string that is not base64"):
        image_model.predict(pd.DataFrame({"image": [base64.b64encode(grey(0)).decode(), "not base64!"]}))


def test_a_wrong_column_is_refused_by_the_signature(text_model):
    with pytest.raises(mlflow.MlflowException, match="Model is missing inputs \\['text'\\]"):
        text_model.predict(pd.DataFrame({"txt": ["good"]}))


@pytest.mark.parametrize(("fixture", "column"), [("text_model", "text"), ("image_model", "image")])
def test_the_input_example_is_golden_and_is_answered(request, fixture, column):
    model = request.getfixturevalue(fixture)
    example = model.input_example
    assert list(example.columns) == [column]
    assert len(model.predict(example)) == 2


def test_the_requirements_are_pinned_and_hold_inference_alone(text_model):
    file = Path(mlflow.pyfunc.get_model_dependencies("models:/texts@champion"))
    names = dict(line.split("==") for line in file.read_text().splitlines())
    assert set(names) == {
        "mlflow-skinny", "numpy", "onnxruntime", "pandas", "pillow", "pyarrow", "pydantic", "tokenizers",
    }  # fmt: skip


def test_the_downloaded_bundle_is_the_registered_one(text_model):
    assert Predictor.load(registry.download("texts")).predict(["good"])[0].label == "positive"
    assert registry.download("texts", 1) == registry.download("texts", "champion")


def test_a_file_can_be_kept_with_a_version(text_model, tmp_path):
    (tmp_path / "report.html").write_text("page")
    registry.attach("texts", 1, tmp_path / "report.html")
    run_id = registry.describe("texts", 1).run_id
    assert [each.path for each in mlflow.MlflowClient().list_artifacts(run_id)] == ["report.html"]


def test_a_stranger_without_this_repository_or_torch_gets_answers(tracked, tmp_path):
    registered("alone", text_bundle(tmp_path / "bundle"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    # -S skips site-packages and with it the editable install of this repository; the libraries come back by path
    libraries = os.pathsep.join(path for path in sys.path if "site-packages" in path)
    done = subprocess.run(
        [sys.executable, "-S", "-c", ALONE, tracked.tracking_uri],
        cwd=elsewhere,
        env={**os.environ, "PYTHONPATH": libraries},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["labels"] == ["positive", "negative"]
    assert "/code/headstart/" in answer["package"]
