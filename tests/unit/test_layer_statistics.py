"""What enters the first and the last block of a network without BatchNorm: exported, kept, compared and named."""

from datetime import timedelta

import numpy as np
import onnx
import pyarrow as pa
import pytest
import torch

from headstart import layer_statistics
from headstart.backbones.network import Network
from headstart.batchnorm import instrumented
from headstart.errors import BundleError
from headstart.export import graph
from headstart.journal import log, moments
from headstart.journal import schema as rows
from headstart.journal.moments import LayerMoments
from headstart.journal.writer import Journal
from headstart.layer_statistics import Layers, Reference, in_blocks, of_inputs, summed
from headstart.monitoring import diagnosis, watch
from headstart.monitoring.detectors import layers as layer_drift
from headstart.monitoring.windows import Sample
from headstart.params.operation import Journal as JournalParams
from headstart.serving.sampling import Answering, Offered, Sampler
from tests.unit import backbone_folders as tiny
from tests.unit.made_traffic import NOON, monitor, profile_of, traffic, window_of

BLOCKS = Layers(("block.0", "block.5"), (3, 5), (1e-5, 1e-5), kind="blocks")
LEVEL = 1e-5
PARAMS = JournalParams(
    flush_s=1.0, seal_minutes=5.0, seal_megabytes=8, raw="off", raw_share=0.0, raw_days=1, features=False
)


def network(config, shape=None):
    return Network(tiny.model(config), 3, dropout=0.0, shape=shape).eval()


def hidden_states(built, **inputs):
    """What the transformers model itself says enters its blocks, and what comes out of the last."""
    with torch.no_grad():
        return [each.numpy() for each in built.backbone(**inputs, output_hidden_states=True).hidden_states]


def run(path, **inputs):
    import onnxruntime

    feed = {name: values.numpy() for name, values in inputs.items()}
    return onnxruntime.InferenceSession(str(path)).run(["moments"], feed)[0]


@pytest.mark.slow
def test_a_text_network_gives_the_moments_of_its_first_and_last_blocks_inputs_without_padding(tmp_path):
    built = network(tiny.bert())
    graph.export(built, "text", tmp_path / "model.onnx", graph.OPSET)
    ids = torch.arange(27).reshape(3, 9) % 12
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    first, last, _ = hidden_states(built, input_ids=ids, attention_mask=mask)  # of two blocks
    found = run(tmp_path / "model.onnx", input_ids=ids, attention_mask=mask)
    assert found.shape == (3, 2, 16)
    for text, length in enumerate((9, 4, 9)):
        for place, values in ((0, first[text, :length]), (8, last[text, :length])):
            assert found[text, 0, place : place + 8] == pytest.approx(values.mean(axis=0), abs=1e-5)
            assert found[text, 1, place : place + 8] == pytest.approx((values**2).mean(axis=0), abs=1e-5)
    described = Layers.of_model({each.key: each.value for each in onnx.load(tmp_path / "model.onnx").metadata_props})
    assert described == Layers(("encoder.layer.0", "encoder.layer.1"), (8, 8), (1e-5, 1e-5), kind="blocks")


@pytest.mark.slow
def test_an_image_transformer_gives_the_moments_over_all_its_patches(tmp_path):
    built = network(tiny.vit(), (3, 16, 16))
    graph.export(built, "image", tmp_path / "model.onnx", graph.OPSET)
    images = torch.sin(torch.arange(2 * 3 * 256.0)).reshape(2, 3, 16, 16)
    first, last, _ = hidden_states(built, pixel_values=images)
    found = run(tmp_path / "model.onnx", pixel_values=images)
    both = np.concatenate([first, last], axis=2)  # (2, 1 + 4 patches, 16)
    assert found[:, 0] == pytest.approx(both.mean(axis=1), abs=1e-5)
    assert found[:, 1] == pytest.approx((both**2).mean(axis=1), abs=1e-5)


def test_a_network_with_batchnorm_measures_no_block():
    assert graph.block_inputs(network(tiny.resnet(), (1, 16, 16))) == {}


def test_a_network_of_one_block_measures_it_once():
    config = tiny.bert()
    config.num_hidden_layers = 1
    assert graph.block_inputs(network(config)) == {"encoder.layer.0": ("embeddings", 8)}


def test_a_file_that_does_not_describe_its_layers_is_refused():
    with pytest.raises(BundleError, match=r"model\.onnx does not describe the layers that it measures"):
        Layers.of_model({layer_statistics.LAYERS: '{"names": ["first"]}'})
    assert Layers.of_model({}) is None


def measured_rows(count, *, seed, moved=0.0):
    """Moments of texts, `(texts, 2, channels)`; the last block's inputs `moved` deviations."""
    generator = np.random.default_rng(seed)
    means = generator.normal(size=(count, 8))
    means[:, 3:] += moved
    return np.stack([means, means**2 + generator.chisquare(20, (count, 8)) / 20], axis=1).astype(np.float32)


def reference(count=1000):
    found = measured_rows(count, seed=0)
    return Reference.of(BLOCKS, of_inputs(found[:, 0], found[:, 1]), seed=0)


def window(count=200, **changes):
    total, squares = measured_rows(count, seed=9, **changes).sum(axis=0, dtype=np.float64)
    return LayerMoments(NOON - timedelta(minutes=30), 2, "bundle-2", count, total, squares)


def test_the_reference_of_blocks_is_read_as_it_was_written_and_normalises_by_nothing(tmp_path):
    known = reference()
    layer_statistics.write(tmp_path, known)
    found = layer_statistics.read(tmp_path)
    assert (found.layers, found.inputs) == (BLOCKS, 1000)
    seen = measured_rows(50, seed=3)
    live = summed(of_inputs(seen[:, 0], seen[:, 1]))
    assert found.as_trained(live).mean == pytest.approx(live.mean)
    assert found.as_trained(live).variance == pytest.approx(live.variance)


def test_no_more_than_2000_inputs_make_a_reference():
    assert reference(2100).inputs == 2000


def test_a_reference_of_a_bundle_of_format_1_is_one_of_batchnorms(tmp_path):
    blocks = in_blocks(of_inputs(*np.moveaxis(measured_rows(100, seed=1), 1, 0)), seed=0)
    with (tmp_path / "batchnorm.npz").open("wb") as file:
        np.savez(
            file, format=np.array(1), names=np.array(["norm"]), widths=np.array([8]), epsilons=np.array([1e-3]),
            mean=np.zeros(8), variance=np.ones(8), served_mean=np.zeros(8), served_variance=np.ones(8),
            count=blocks.count[:, 0], total=blocks.total, squares=blocks.squares,
        )  # fmt: skip
    found = layer_statistics.read(tmp_path)
    assert found.layers == Layers(("norm",), (8,), (1e-3,), kind="batchnorm")
    assert found.whole.total == pytest.approx(summed(blocks).total)


def test_a_kind_of_layers_that_this_version_does_not_know_is_refused(tmp_path):
    layer_statistics.write(tmp_path, reference())
    with np.load(tmp_path / "layers.npz") as file:
        changed = {**file, "kind": np.array("groups")}
    np.savez(tmp_path / "layers.npz", **changed)
    with pytest.raises(BundleError, match=r"layers\.npz cannot be read"):
        layer_statistics.read(tmp_path)


def test_moments_that_came_with_answers_are_summed_without_running_a_network(tmp_path):
    journal = Journal(tmp_path, PARAMS, clock=lambda: NOON)
    sampler = Sampler("topics", journal, share=1.0)
    texts = ["rain", "snow", "rain"]  # the third counts as the first
    given = [Offered(text, np.full((2, 8), number, np.float32)) for number, text in enumerate(texts, 1)]
    sampler.offer(Answering(None, 2, "bundle-2"), NOON - timedelta(minutes=3), given)
    sampler.close()
    journal.close()
    found = moments.read(tmp_path, start=NOON - timedelta(hours=1), end=NOON)["bundle-2"]
    assert (found.inputs, found.totals.tolist(), found.squares.tolist()) == (2, [3.0] * 8, [3.0] * 8)


def test_an_input_that_comes_every_hour_counts_in_each(tmp_path):
    """It counted once in all at first: common texts were missing from all windows but the first."""
    journal = Journal(tmp_path, PARAMS, clock=lambda: NOON)
    sampler = Sampler("topics", journal, share=1.0)
    rain = [Offered("rain", np.ones((2, 8), np.float32))]
    for minutes in (50, 40, -10):
        sampler.offer(Answering(None, 2, "bundle-2"), NOON - timedelta(minutes=minutes), rain)
    sampler.close()
    journal.close()
    hours = moments.hourly(tmp_path, start=NOON - timedelta(hours=1), end=NOON + timedelta(hours=1), bundle="bundle-2")
    assert [each.inputs for each in hours] == [1, 1]


def test_rows_that_an_older_server_kept_in_the_folder_batchnorm_are_read_too(tmp_path):
    """While only networks with BatchNorm had them, the column of counts was called `images`."""
    old = pa.schema([pa.field("images", field.type) if field.name == "inputs" else field for field in moments.SCHEMA])
    row = moments.batch([window(30)]).to_pydict()
    row["images"] = row.pop("inputs")
    (tmp_path / "batchnorm").mkdir()
    table = pa.Table.from_pydict(row, schema=old.with_metadata(rows.METADATA))
    log.write_segment(tmp_path / "batchnorm" / "20260302-1.parquet", table)
    journal = Journal(tmp_path, PARAMS, clock=lambda: NOON)
    journal.record_moments([window(40)])
    journal.close()
    found = moments.read(tmp_path, start=NOON - timedelta(hours=1), end=NOON)["bundle-2"]
    assert found.inputs == 70
    assert found.totals == pytest.approx(window(30).totals + window(40).totals)


@pytest.mark.parametrize(
    ("moved", "expected"), [pytest.param(0.0, [], id="nothing"), pytest.param(0.8, ["block.5"], id="the last block")]
)
def test_says_which_block_sees_other_inputs_than_on_the_reference(moved, expected):
    found = layer_drift.detect(reference(), window(moved=moved), LEVEL)
    assert (found.check, found.verdict) == ("layer_drift", "fail" if expected else "pass")
    assert [each["layer"] for each in found.evidence["layers"] if each["moved"]] == expected


def test_a_bundle_without_the_statistics_is_watched_without_them_and_says_why():
    profile, seen = (
        profile_of(traffic(np.random.default_rng(1), 2000)),
        window_of(traffic(np.random.default_rng(0), 300)),
    )
    findings = {each.check: each for each in watch.judge(profile, seen, monitor())}
    assert findings["layer_drift"].verdict == "unsure"
    assert "sealed before headstart measured that" in findings["layer_drift"].reason
    with_them = {each.check: each for each in watch.judge(profile, seen, monitor(), layers=reference())}
    assert findings["confidence"].bar > with_them["confidence"].bar  # no share of the budget goes to what is not tested


def test_drift_of_blocks_is_never_named_batchnorm_drift_whatever_could_be_tried():
    failed = layer_drift.detect(reference(), window(moved=0.8), LEVEL)
    trial = diagnosis.Trial(lambda: Sample([b""] * 200, [None] * 200), lambda sample: pytest.fail("was tried"))
    profile, seen = (
        profile_of(traffic(np.random.default_rng(1), 2000)),
        window_of(traffic(np.random.default_rng(0), 300)),
    )
    (cause,) = diagnosis.causes([failed], profile, seen, drop=0.05, trial=trial)
    assert (cause["cause"], diagnosis.remedy([cause])) == ("unknown_shift", "collect_labels")


def test_a_network_that_measures_nothing_has_no_reference(tmp_path):
    class Silent:
        layers = None

    assert instrumented.reference(tmp_path / "absent.onnx", Silent(), ["a"], None, seed=0) is None


@pytest.mark.nightly
def test_false_alarms_of_blocks_stay_near_their_level():
    alarms = {0.01: 0, 0.001: 0}
    for seed in range(40):
        known = measured_rows(800, seed=seed)
        against = Reference.of(BLOCKS, of_inputs(known[:, 0], known[:, 1]), seed=0)
        for number in range(50):
            count = (100, 300, 900)[number % 3]
            total, squares = measured_rows(count, seed=10_000 + 100 * seed + number).sum(axis=0, dtype=np.float64)
            p_value = layer_drift.detect(against, LayerMoments(NOON, 2, "", count, total, squares), LEVEL).statistic
            for level in alarms:
                alarms[level] += p_value <= level
    # 2,000 windows; 20 and 2 are expected at the levels, and a Poisson count passes 40 and 10 once in 10,000
    assert alarms[0.01] <= 40
    assert alarms[0.001] <= 10
