"""The examples of `docs/clients.md` are run as they stand there, against a server of tiny models."""

import json
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from PIL import Image

from headstart.faults import clients
from headstart.journal.writer import Journal
from headstart.predictor import Predictor
from headstart.serving.app import create_app
from headstart.serving.fleet import Fleet, Slot
from headstart.serving.models import LoadedModel
from tests.fakes import Clock
from tests.unit.test_serving_app import JOURNAL, SERVE
from tests.unit.tiny_bundle import image_bundle, text_bundle

PAGE = (Path(__file__).parents[2] / "docs/clients.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.S)
SCRIPT = re.findall(r"```js\n(.*?)```", PAGE, re.S)
NODE = shutil.which("node")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a picture and the bundles of `tickets` and `pets`."""
    folder = tmp_path_factory.mktemp("clients")
    text_bundle(folder / "tickets-bundle")
    image_bundle(folder / "pets-bundle")
    levels = np.add.outer(np.arange(0, 120, 2), np.arange(0, 80)).astype(np.uint8)
    Image.fromarray(levels).save(folder / "cat.jpg", "JPEG")
    return folder


@pytest.fixture(scope="module")
def url(place: Path) -> Iterator[str]:
    """Where a server of both models answers."""
    models = {
        name: LoadedModel.open(name, 1, place / f"{name}-bundle", difference_allowed=1e-3)
        for name in ("tickets", "pets")
    }
    clock = Clock()
    slots = {name: Slot(SERVE, Journal(place / name, JOURNAL, clock=clock, key=b"key")) for name in models}
    fleet = Fleet(models, slots, workers=1)
    fleet.start()
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(fleet, clock=clock), log_config=None, ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join()
    fleet.close()


@pytest.mark.parametrize("number", range(len(PYTHON)))
def test_a_python_example_runs_as_it_stands(
    number: int, place: Path, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    code = PYTHON[number].replace("http://localhost:8000", url)
    exec(compile(code, f"docs/clients.md, example {number}", "exec"), {})
    assert capsys.readouterr().out


def run(example: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names that the example which mentions `example` leaves behind."""
    (code,) = [each for each in PYTHON if example in each]
    monkeypatch.chdir(place)
    names: dict[str, Any] = {}
    exec(compile(code, "docs/clients.md", "exec"), names)
    return names


def test_the_text_example_prepares_and_answers_as_the_server_does(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = run("tokenizers", place, monkeypatch)
    predictor = Predictor.load(place / "tickets-bundle")
    text = "Where is my parcel?"
    assert clients.compare(place / "tickets-bundle", predictor, text, names["token_ids"]).agrees
    assert names["probabilities"] == pytest.approx(predictor.predict([text])[0].probabilities)


@pytest.mark.parametrize("kind", ["jpeg", "transparent", "palette", "turned"])
def test_the_picture_example_prepares_as_the_server_does(
    kind: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(place / "pets-bundle", tmp_path / "pets-bundle")
    picture = Image.open(place / "cat.jpg").convert("RGB")
    exif = Image.Exif()
    if kind == "transparent":
        picture.putalpha(Image.fromarray(np.tile(np.arange(80, dtype=np.uint8) * 3, (60, 1))))
    elif kind == "palette":
        picture = picture.quantize(8)
    elif kind == "turned":
        exif[274] = 6
    picture.save(tmp_path / "cat.jpg", "JPEG" if kind == "jpeg" else "PNG", exif=exif)
    names = run("ImageOps", tmp_path, monkeypatch)
    raw = (tmp_path / "cat.jpg").read_bytes()
    found = clients.compare(place / "pets-bundle", Predictor.load(place / "pets-bundle"), raw, names["pixel_values"])
    assert found.agrees, found


def test_the_scripts_name_the_tensors_that_the_graph_has(place: Path) -> None:
    import onnxruntime

    graph = onnxruntime.InferenceSession(place / "pets-bundle/preprocess.onnx")
    (script,) = [each for each in SCRIPT if "onnxruntime-web" in each]
    assert [each.name for each in graph.get_inputs()] == ["image"] and "preprocess.run({ image })" in script
    assert [each.name for each in graph.get_outputs()] == ["pixel_values"] and "{ pixel_values } =" in script
    assert graph.get_inputs()[0].type == "tensor(uint8)" and '"uint8"' in script


STAND_INS = """
const ort = { Tensor: class { constructor(type, data, dims) { Object.assign(this, { type, data, dims }); } } };
const levels = %s, width = %d, height = %d;
globalThis.createImageBitmap = async () => ({ width, height });
globalThis.OffscreenCanvas = class {
  getContext() {
    return { fillRect() {}, drawImage() {}, getImageData: () => ({ data: Uint8ClampedArray.from(levels) }) };
  }
};
"""


@pytest.mark.skipif(NODE is None, reason="node is not installed")
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_the_script_that_prepares_hands_over_the_levels_of_the_picture(mode: str, tmp_path: Path) -> None:
    """Run with stand-ins for the browser and for onnxruntime-web: the loop over pixels is what can go wrong."""
    colours = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    opaque = np.dstack([colours, np.full((5, 7), 255, dtype=np.uint8)])
    (script,) = [each for each in SCRIPT if "onnxruntime-web" in each]
    code = re.sub(r"^import .*$", STAND_INS % (opaque.ravel().tolist(), 7, 5), script, flags=re.M)
    code += f"""
    const seen = await prepare(null, {{ run: async ({{ image }}) => ({{ pixel_values: image }}) }}, "{mode}");
    console.log(JSON.stringify({{ dims: seen.dims, type: seen.type, data: [...seen.data] }}));
    """
    (tmp_path / "prepare.mjs").write_text(code)
    done = subprocess.run([str(NODE), "prepare.mjs"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    expected = np.asarray(Image.fromarray(colours).convert(mode)).reshape(5, 7, -1)
    assert (seen["dims"], seen["type"]) == (list(expected.shape), "uint8")
    assert seen["data"] == expected.ravel().tolist()


@pytest.mark.skipif(NODE is None, reason="node is not installed")
def test_the_script_that_sends_raw_files_is_answered(place: Path, url: str, tmp_path: Path) -> None:
    (script,) = [each for each in SCRIPT if "FormData" in each]
    picture = place / "cat.jpg"
    code = f"""import {{ readFile }} from "node:fs/promises";
    {script}
    const file = new Blob([await readFile({json.dumps(str(picture))})]);
    console.log(JSON.stringify(await predict({json.dumps(url)}, "pets", file)));
    """
    (tmp_path / "predict.mjs").write_text(code)
    done = subprocess.run([str(NODE), "predict.mjs"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["label"] in ("dark", "light")
