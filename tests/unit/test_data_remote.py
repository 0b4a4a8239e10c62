"""Sources on S3, against a server on this machine: copied once, known by their ETags, and plainly refused."""

import os
from collections.abc import Iterator

import boto3
import pytest
from moto.server import ThreadedMotoServer

from headstart.data import remote, sources
from headstart.data.ingest import ingest, is_current
from headstart.errors import DataError, OutsideError
from headstart.params.data import Data

pytestmark = pytest.mark.slow

ROWS = b"text,label\nhello,x\n"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    yield f"http://{host}:{port}"
    moto.stop()


@pytest.fixture
def bucket(server, tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.chdir(tmp_path)
    store = boto3.resource("s3")
    created = store.create_bucket(Bucket="tickets")
    yield created
    created.objects.all().delete()
    created.delete()


def data(source: str) -> Data:
    return Data(source=source, columns=sources.PLAIN)


def texts(source: str) -> list[tuple[str | bytes | None, str | None]]:
    [opened] = sources.open(data(source), "text")
    return [(row["text"], row["split"]) for batch in opened.batches for row in batch.to_pylist()]


def test_a_file_is_read_and_copied_once(bucket):
    bucket.put_object(Key="in/a.csv", Body=ROWS)
    assert texts("s3://tickets/in/a.csv") == [("hello", None)]
    copy = remote.fetch("s3://tickets/in/a.csv")
    before = copy.stat().st_mtime_ns
    assert remote.fetch("s3://tickets/in/a.csv").stat().st_mtime_ns == before


def test_a_prefix_is_a_folder(bucket):
    for name in ("train.csv", "test.csv"):
        bucket.put_object(Key=f"set/{name}", Body=ROWS)
    bucket.put_object(Key="set/", Body=b"")  # what consoles leave when a folder is made
    bucket.put_object(Key="settings/other.csv", Body=b"no part of it")
    assert texts("s3://tickets/set") == texts("s3://tickets/set/") == [("hello", "train"), ("hello", "test")]


def test_what_changed_there_is_copied_anew_and_the_old_copy_goes(bucket):
    bucket.put_object(Key="a.csv", Body=ROWS)
    old = remote.fetch("s3://tickets/a.csv")
    bucket.put_object(Key="a.csv", Body=b"text,label\nworld,x\n")
    assert texts("s3://tickets/a.csv") == [("world", None)]
    assert not old.exists()


def test_a_source_that_did_not_change_is_known_by_its_listing(bucket, tmp_path):
    bucket.put_object(Key="a.csv", Body=ROWS)
    into = tmp_path / "raw/m"
    ingest("m", "text", data("s3://tickets/a.csv"), into)
    assert is_current("text", data("s3://tickets/a.csv"), into)
    bucket.put_object(Key="a.csv", Body=ROWS + b"again,x\n")
    assert not is_current("text", data("s3://tickets/a.csv"), into)


def test_a_download_that_was_killed_is_begun_again(bucket):
    bucket.put_object(Key="a.csv", Body=ROWS)
    copy = remote.fetch("s3://tickets/a.csv").parent
    copy.rename(copy.with_name(f".{copy.name}.1"))
    assert texts("s3://tickets/a.csv") == [("hello", None)]


@pytest.mark.parametrize("source", ["s3://absent/a.csv", "s3://tickets/absent.csv", "s3://tickets/no/such/prefix"])
def test_a_bucket_key_or_prefix_that_is_not_there_is_refused(bucket, source):
    with pytest.raises(DataError, match=rf"{source} does not exist on http://127\.0\.0\.1:\d+: no such bucket, file"):
        texts(source)


def test_a_pool_that_is_not_on_the_server_is_mended_under_its_own_key(bucket):
    given = Data(source="builtin:apidocs", unlabelled="s3://nowhere/pool.csv", columns=sources.PLAIN)
    with pytest.raises(DataError, match=r"Mend data\.unlabelled"):
        sources.fingerprint(given, "text")


def test_an_address_without_a_bucket_is_refused():
    with pytest.raises(DataError, match=r"s3:// names no bucket"):
        texts("s3://")


def test_absent_credentials_are_named(bucket, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(OutsideError, match=r"cannot be read: Unable to locate credentials") as caught:
        texts("s3://tickets/a.csv")
    assert "AWS_ACCESS_KEY_ID" in caught.value.action


@pytest.mark.slow
def test_a_server_that_is_not_there_is_named(bucket, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(OutsideError, match=r"a\.csv cannot be read from http://127\.0\.0\.1:9: ") as caught:
        texts("s3://tickets/a.csv")
    assert "AWS_ENDPOINT_URL" in caught.value.action


def test_a_key_that_leads_out_of_its_folder_is_refused(bucket):
    bucket.put_object(Key="set/../../a.csv", Body=ROWS)
    with pytest.raises(DataError, match="leads out of its folder"):
        remote.fetch("s3://tickets/set")
