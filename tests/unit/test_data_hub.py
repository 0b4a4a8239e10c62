"""Data sets of the hub, by way of folders on this machine, which take the same path; and what is refused."""

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from headstart.data import hub, schema, sources
from headstart.data.ingest import ingest
from headstart.errors import DataError, OutsideError
from headstart.params.data import Data

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """Nothing is kept outside the test's folder."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def jsonl(path: Path, *rows: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (2, 2), 9).save(buffer, format="PNG")
    return buffer.getvalue()


def with_features(path: Path, columns: dict, features: dict) -> None:
    """A Parquet file as `Dataset.to_parquet` leaves it: what columns mean stands in its metadata."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns)
    document = {"info": {"features": features}}
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(document)}), path)


def data(folder: Path | str, **columns: str) -> Data:
    return Data(source=f"hub:{folder}", columns=sources.PLAIN.model_copy(update=columns))


def read(given: Data, modality: str = "text") -> list:
    batches = [batch for source in sources.open(given, modality) for batch in source.batches]
    return [SimpleNamespace(**row, input=row[modality]) for batch in batches for row in batch.to_pylist()]


LABEL = {"names": ["neg", "pos"], "_type": "ClassLabel"}
TEXT = {"dtype": "string", "_type": "Value"}


def test_splits_get_our_names_and_integers_the_names_of_their_classes(tmp_path):
    for split, labels in {"train": [0, 1], "validation": [1], "test": [0]}.items():
        columns = {"text": [f"{split} {label}" for label in labels], "label": labels}
        with_features(tmp_path / f"set/data/{split}-00000-of-00001.parquet", columns, {"text": TEXT, "label": LABEL})
    assert [(row.input, row.label, row.split) for row in read(data(tmp_path / "set"))] == [
        ("train 0", "neg", "train"),
        ("train 1", "pos", "train"),
        ("validation 1", "pos", "validation"),
        ("test 0", "neg", "test"),
    ]


def test_images_are_the_encoded_bytes_that_stand_in_the_set(tmp_path):
    columns = {"image": [{"bytes": png(), "path": "a.png"}], "label": [1]}
    features = {"image": {"_type": "Image"}, "label": LABEL}
    with_features(tmp_path / "set/data/train-00000-of-00001.parquet", columns, features)
    assert [(row.input, row.label) for row in read(data(tmp_path / "set"), "image")] == [(png(), "pos")]


def test_class_folders_of_images_are_a_set_too(tmp_path):
    for name in ("train/ant/1.png", "train/bee/2.png", "test/ant/3.png"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(png())
    rows = read(data(tmp_path / "set"), "image")
    assert sorted((row.label, row.split, row.input) for row in rows) == [
        ("ant", "test", png()),
        ("ant", "train", png()),
        ("bee", "train", png()),
    ]


def test_rows_without_a_label_are_kept_as_such(tmp_path):
    """Class -1 is how sets such as imdb write that there is none."""
    columns = {"text": ["a", "b", "c"], "label": [1, -1, None]}
    with_features(tmp_path / "set/data/train-00000-of-00001.parquet", columns, {"text": TEXT, "label": LABEL})
    ingest("m", "text", data(tmp_path / "set"), tmp_path / "raw/m")
    assert pq.read_table(tmp_path / "raw/m/labelled.parquet")["label"].to_pylist() == ["pos"]
    assert pq.read_table(tmp_path / "raw/m/unlabelled.parquet")["text"].to_pylist() == ["b", "c"]
    assert json.loads((tmp_path / "raw/m/source.json").read_text())["source"] == "hub:set"


def test_columns_are_those_of_params_and_are_proposed_to_it(tmp_path):
    jsonl(tmp_path / "set/train.jsonl", {"sentence": "a", "intent": "x", "more": 1})
    [row] = read(data(tmp_path / "set", input="sentence", label="intent"))
    assert (row.input, row.label) == ("a", "x")
    found = schema.infer(f"hub:{tmp_path / 'set'}", "text", {})
    assert (found.columns["input"], found.columns["label"], found.classes) == ("sentence", "intent", {"x": 1})
    with pytest.raises(
        DataError,
        match=r"set \(train\) has no column 'text'; nearest is 'intent' and no column 'label'\. "
        r"It has 'sentence', 'intent', 'more'",
    ):
        read(data(tmp_path / "set"))


def test_a_set_with_splits_of_other_names_is_refused(tmp_path):
    for name in ("train", "test"):
        jsonl(tmp_path / f"set/data/{name}.jsonl", {"text": "a", "label": "x"})
    (tmp_path / "set/README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n"
        "  - {split: train, path: data/train.jsonl}\n  - {split: matched, path: data/test.jsonl}\n---\n"
    )
    with pytest.raises(DataError, match=r"has the splits train, matched; at most one each of train, validation, test"):
        read(data(tmp_path / "set"))


def test_a_split_that_says_it_has_no_labels_gives_unlabelled_rows(tmp_path):
    jsonl(tmp_path / "set/data/train.jsonl", {"text": "a", "label": "x"})
    jsonl(tmp_path / "set/data/rest.jsonl", {"text": "b", "label": "y"})
    (tmp_path / "set/README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n"
        "  - {split: unsupervised, path: data/rest.jsonl}\n  - {split: train, path: data/train.jsonl}\n---\n"
    )
    rows = read(data(tmp_path / "set"))
    assert [(row.input, row.label, row.split) for row in rows] == [("a", "x", "train"), ("b", None, None)]


def naming(folder: Path, address: str) -> None:
    """A data set whose one image is named by an address."""
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    columns = {"image": pa.array([{"bytes": None, "path": address}], kind), "label": [0]}
    with_features(folder / "data/train-00000-of-00001.parquet", columns, {"image": {"_type": "Image"}, "label": LABEL})


def test_an_image_in_an_archive_of_the_data_set_is_read_from_there(tmp_path):
    naming(tmp_path / "set", f"zip://a.png::{tmp_path}/set/pictures.zip")
    with zipfile.ZipFile(tmp_path / "set/pictures.zip", "w") as archive:
        archive.writestr("a.png", png())
    assert [row.input for row in read(data(tmp_path / "set"), "image")] == [png()]


@pytest.mark.parametrize(
    "address",
    [
        "http://169.254.169.254/latest/meta-data/iam", "https://example.org/a.png", "s3://bucket/a.png",
        "file:///etc/passwd", "memory://pictures/a.png", "zip://a.png::https://example.org/a.zip",
        "zip://a.png::/tmp/other.zip", "simplecache::http://example.org/a.png",
        "https://example.org/a::zip://a.png::SET/pictures.zip", "zip://a.png::SET/../other.zip",
    ],
)  # fmt: skip
def test_rows_do_not_choose_what_this_machine_fetches(tmp_path, monkeypatch, address):
    import fsspec

    naming(tmp_path / "set", address.replace("SET", str(tmp_path / "set")))
    monkeypatch.setattr(fsspec, "open", lambda *_: pytest.fail("something was fetched"))
    with pytest.raises(DataError, match=r"outside of the data set; nothing is read there"):
        read(data(tmp_path / "set"), "image")


def test_addresses_of_a_data_set_on_the_hub_are_its_own_at_its_own_commit():
    own = hub.parse(f"hub:org/set@{COMMIT}")
    assert hub._is_inside(own, f"hf://datasets/org/set@{COMMIT}/train/a.png")
    assert hub._is_inside(own, f"zip://a.png::hf://datasets/org/set@{COMMIT}/train.zip")
    for address in (
        "hf://datasets/org/private@main/a.png",
        f"hf://datasets/org/set@{COMMIT}/../../a.png",
        "/etc/passwd",
    ):
        assert not hub._is_inside(own, address)


def test_a_configuration_that_has_to_be_chosen_is_asked_for(tmp_path):
    for name in ("one", "two"):
        jsonl(tmp_path / f"set/{name}.jsonl", {"text": "a", "label": "x"})
    (tmp_path / "set/README.md").write_text(
        "---\nconfigs:\n- {config_name: one, data_files: one.jsonl}\n- {config_name: two, data_files: two.jsonl}\n---\n"
    )
    with pytest.raises(DataError, match=r"cannot be read: Config name is missing") as caught:
        read(data(tmp_path / "set"))
    assert "hub:org/dataset/config@commit" in caught.value.action


def test_a_folder_that_holds_no_set_is_refused(tmp_path):
    (tmp_path / "set").mkdir()
    with pytest.raises(DataError, match=r"set cannot be read: "):
        read(data(tmp_path / "set"))


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        pytest.param("hub:org/set", "names no revision; a branch or a tag can name other rows", id="no revision"),
        pytest.param("hub:org/set@main", "names the revision 'main', which is no commit", id="a branch"),
        pytest.param("hub:org/set@0123abc", "the revision '0123abc', which is no commit", id="a short commit"),
        pytest.param("hub:./absent", "neither a folder here nor a name on the hub", id="an absent folder"),
        pytest.param("hub:", "neither a folder here nor a name on the hub", id="nothing"),
    ],
)
def test_a_name_that_may_mean_other_rows_tomorrow_is_refused(source, sentence):
    with pytest.raises(DataError, match=sentence) as caught:
        sources.open(Data(source=source, columns=sources.PLAIN), "text")
    assert caught.value.action


def test_a_name_says_set_configuration_and_commit():
    assert hub.parse(f"hub:org/set@{COMMIT}") == hub.Name("org/set", None, COMMIT)
    assert hub.parse(f"hub:org/set/config@{COMMIT}") == hub.Name("org/set", "config", COMMIT)


def test_offline_the_refusal_says_so(tmp_path):
    """In a process of its own: the variable is read when the library is imported."""
    program = (
        "import os; os.environ['HF_HUB_OFFLINE'] = '1'\n"
        "from headstart.data import sources\n"
        "from headstart.errors import OutsideError\n"
        "from headstart.params.data import Data\n"
        f"[source] = sources.open(Data(source='hub:org/set@{COMMIT}', columns=sources.PLAIN), 'text')\n"
        "try:\n    next(source.batches)\nexcept OutsideError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert f"hub:org/set@{COMMIT} cannot be read: HF_HUB_OFFLINE is set" in done.stdout, done.stderr


def test_a_hub_that_cannot_be_reached_is_named(monkeypatch):
    import datasets

    def unreachable(*_args: object, **_kwargs: object) -> None:
        raise ConnectionError("Couldn't reach the Hub")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(OutsideError, match=r"the hub cannot be reached \(Couldn't reach the Hub\)") as caught:
        read(data(f"org/set@{COMMIT}"))
    assert "name the folder" in caught.value.action


def test_the_fingerprint_of_a_commit_asks_no_network_and_that_of_a_folder_its_files(tmp_path):
    jsonl(tmp_path / "set/train.jsonl", {"text": "a", "label": "x"})
    before = sources.fingerprint(data(tmp_path / "set"), "text")
    jsonl(tmp_path / "set/train.jsonl", {"text": "aa", "label": "x"})
    assert sources.fingerprint(data(tmp_path / "set"), "text") != before
    other = COMMIT[::-1]
    commits = {sources.fingerprint(data(f"org/set@{commit}"), "text") for commit in (COMMIT, other)}
    assert len(commits) == 2


def saved(folder, *, splits):
    """What `save_to_disk` writes."""
    import datasets

    datasets.disable_progress_bars()
    features = datasets.Features({"sentence": datasets.Value("string"), "label": datasets.ClassLabel(names=["a", "b"])})
    content = datasets.Dataset.from_dict({"sentence": ["rain", "snow", "soup"], "label": [0, 1, -1]}, features=features)
    (datasets.DatasetDict(train=content, test=content) if splits else content).save_to_disk(folder)
    return folder


@pytest.mark.parametrize("splits", [False, True], ids=["one", "a dictionary of splits"])
@pytest.mark.parametrize("address", ["{}", "hub:{}"], ids=["path", "hub"])
def test_a_folder_written_by_save_to_disk_is_read_with_its_class_names(tmp_path, address, splits):
    source = address.format(saved(tmp_path / "my data", splits=splits))
    found = schema.infer(source, "text", {})
    assert found.columns["input"] == "sentence"
    rows = read(Data(source=source, columns=sources.PLAIN.model_copy(update={"input": "sentence"})))
    expected = [("rain", "a"), ("snow", "b"), ("soup", None)]
    assert [(row.input, row.label) for row in rows] == expected * (2 if splits else 1)
    assert [row.split for row in rows] == (["train"] * 3 + ["test"] * 3 if splits else [None] * 3)
