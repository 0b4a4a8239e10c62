"""The preprocessing graph, held against Pillow and against transformers' own processors."""

import io
import os
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from onnx import helper
from PIL import Image

from headstart.contract import agreement
from headstart.contract.image import decode
from headstart.contract.preprocess import INT64, IR_VERSION, OPSET, UINT8, Graph, Window, author, resize
from tests.unit.contract_examples import image_spec, levels, picture

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
SIDES = st.integers(1, 90)


def tensor(array, mode="RGB", **changes):
    session = ort.InferenceSession(author(image_spec(mode, **changes)).SerializeToString())
    return session.run(None, {"image": array})[0]


@cache
def resizer(resample):
    """A graph that resizes one picture to sizes given with it."""
    graph = Graph()
    old = graph.add("Shape", "image", start=0, end=2)
    resized = resize(graph, "image", Window(old, "new", graph.ints(0, 0), "new"), 3, resample)
    value = helper.make_tensor_value_info
    inputs = [value("image", UINT8, ["h", "w", 3]), value("new", INT64, [2])]
    body = helper.make_graph(graph.nodes, "g", inputs, [value(resized, UINT8, ["H", "W", 3])], graph.constants)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    return ort.InferenceSession(model.SerializeToString())


@settings(deadline=None, max_examples=60)
@example(old=(8, 8), new=(32, 32), seed=0)
@example(old=(256, 256), new=(224, 224), seed=0)  # many values fall between two levels
@example(old=(128, 96), new=(224, 224), seed=0)
@example(old=(500, 400), new=(224, 224), seed=0)  # columns first, as older Pillows
@example(old=(225, 223), new=(224, 224), seed=0)  # rows first
@example(old=(1, 1), new=(5, 3), seed=0)
@example(old=(1, 400), new=(9, 9), seed=0)
@example(old=(400, 1), new=(9, 9), seed=0)
@example(old=(9, 9), new=(9, 9), seed=0)
@given(old=st.tuples(SIDES, SIDES), new=st.tuples(SIDES, SIDES), seed=st.integers(0, 9))
@pytest.mark.parametrize("resample", FILTERS)
def test_a_resize_is_pillows_bit_for_bit(resample, old, new, seed):
    noise = levels(*old, seed=seed)
    for array in (noise, (noise > 127).astype(np.uint8) * 255):
        expected = np.asarray(picture(array).resize(new[::-1], FILTERS[resample]))
        assert np.array_equal(resizer(resample).run(None, {"image": array, "new": np.array(new)})[0], expected)


@pytest.mark.parametrize("resample", FILTERS)
def test_small_grey_scans_are_enlarged_as_by_pillow(resample):
    scan = levels(8, 8, 1)
    expected = np.asarray(picture(scan).resize((32, 32), FILTERS[resample]))
    assert np.array_equal(tensor(scan, "L", height=32, width=32, resample=resample)[0], expected)


def test_two_pixels_are_averaged():
    # 10 and 31 make 20.5, which rounds up
    array = np.array([[[10], [31]]], dtype=np.uint8)
    assert tensor(array, "L", height=1, width=1).tolist() == [[[21.0]]]


@pytest.mark.parametrize("resample", FILTERS)
@pytest.mark.parametrize("size", [(60, 90), (90, 61), (37, 300), (300, 37), (20, 20)])
def test_a_crop_of_a_resize_is_the_same_part_of_the_whole(resample, size):
    """Only the part that is wanted is computed; Pillow resizes everything and is cut afterwards."""
    array = levels(*size)
    height, width = (side * 48 // min(size) for side in size)
    top, left = (height - 33) // 2, (width - 40) // 2
    whole = np.asarray(picture(array).resize((width, height), FILTERS[resample]))
    changes = {"resize": "shortest_edge", "shortest_edge": 48, "crop": (33, 40), "height": 33, "width": 40}
    ours = tensor(array, resample=resample, **changes)
    assert np.array_equal(ours.transpose(1, 2, 0), whole[top : top + 33, left : left + 40])


def test_a_picture_smaller_than_its_crop_stands_in_the_middle_of_black():
    array = np.full((1, 2, 1), 9, dtype=np.uint8)
    ours = tensor(array, "L", resize="none", crop=(2, 5))
    # one row is lacking: it is added before; three columns: two before, one after
    assert ours[0].tolist() == [[0, 0, 0, 0, 0], [0, 0, 9, 9, 0]]


def test_without_a_resize_the_middle_is_cut_out():
    array = np.arange(20, dtype=np.uint8).reshape(4, 5, 1)
    assert tensor(array, "L", resize="none", crop=(2, 2))[0].tolist() == [[6, 7], [11, 12]]


def test_levels_are_rescaled_and_normalised_by_channel():
    array = np.array([[[0, 51, 255]]], dtype=np.uint8)
    ours = tensor(array, height=1, width=1, rescale=1 / 255, mean=(0.5, 0.2, 0.0), std=(0.5, 1.0, 2.0))
    # (0 - 0.5) / 0.5, (0.2 - 0.2) / 1, (1 - 0) / 2
    assert ours.ravel().tolist() == pytest.approx([-1.0, 0.0, 0.5], abs=1e-7)


def test_a_very_long_picture_costs_no_more_than_its_middle():
    """Enlarged as a whole it would have 256 x 25,600,000 pixels."""
    array = np.full((100_000, 1, 1), 7, dtype=np.uint8)
    ours = tensor(array, "L", resize="shortest_edge", shortest_edge=256, crop=(4, 4))
    assert ours.tolist() == np.full((1, 4, 4), 7.0).tolist()


def test_the_graph_says_what_goes_in_and_what_comes_out():
    session = ort.InferenceSession(author(image_spec("L", crop=(3, 2))).SerializeToString())
    (image,), (pixels,) = session.get_inputs(), session.get_outputs()
    assert (image.name, image.type, image.shape) == ("image", "tensor(uint8)", ["height", "width", 1])
    assert (pixels.name, pixels.type, pixels.shape) == ("pixel_values", "tensor(float)", [1, 3, 2])


def photos(count: int) -> list[bytes]:
    """Real photographs, every other one cut to an odd size."""
    here = os.environ.get("HEADSTART_DATA") or str(Path(__file__).parents[3] / "shared" / "data")
    path = Path(here) / "hymenoptera" / "test.parquet"
    if not path.is_file():
        pytest.skip(f"no photographs: {path} does not exist; set HEADSTART_DATA")
    source = np.random.default_rng(0)
    files = []
    for number, value in enumerate(pq.read_table(path)["image"].to_pylist()[:count]):
        image = Image.open(io.BytesIO(value if isinstance(value, bytes) else value["bytes"])).convert("RGB")
        if number % 2:
            width, height = image.size
            image = image.crop((0, 0, int(source.integers(7, width)), int(source.integers(7, height))))
        stream = io.BytesIO()
        image.save(stream, "PNG")
        files.append(stream.getvalue())
    return files


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "changes"),
    [
        pytest.param("ViTImageProcessorPil", {}, {"height": 224, "width": 224}, id="stretched"),
        pytest.param(
            "MobileNetV1ImageProcessorPil",
            {},
            {"resize": "shortest_edge", "shortest_edge": 256, "crop": (224, 224), "height": 224, "width": 224},
            id="shorter side, then the middle",
        ),
        pytest.param(
            "ViTImageProcessorPil",
            {"resample": 3, "size": {"height": 97, "width": 130}},
            {"height": 97, "width": 130, "resample": "bicubic"},
            id="bicubic",
        ),
        pytest.param(
            "MobileNetV1ImageProcessorPil",
            {"resample": 1, "size": {"shortest_edge": 90}, "crop_size": {"height": 101, "width": 80}},
            {
                "resize": "shortest_edge",
                "shortest_edge": 90,
                "crop": (101, 80),
                "height": 101,
                "width": 80,
                "resample": "lanczos",
            },
            id="lanczos, a crop larger than the picture",
        ),
    ],
)
def test_photographs_come_out_as_from_transformers_own_processor(name, options, changes):
    transformers = pytest.importorskip("transformers")
    processor = getattr(transformers, name)(**options)
    spec = image_spec(rescale=1 / 255, mean=(0.5,) * 3, std=(0.5,) * 3, max_pixels=10**8, max_bytes=10**8, **changes)
    session = ort.InferenceSession(author(spec).SerializeToString())
    files = photos(60)
    ours = [session.run(None, {"image": decode(file, spec)})[0] for file in files]
    theirs = [processor(Image.open(io.BytesIO(file)), return_tensors="np")["pixel_values"][0] for file in files]
    finding = agreement.compare(ours, theirs, tolerance=1e-6)  # one level is 1 / 127.5
    assert finding.verdict == "pass", finding.reason
