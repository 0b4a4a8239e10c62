"""`headstart add --unlabelled`: a pool is read as the model will read it, before anything is written."""

import pytest

from tests.unit.test_cli_add import ROWS, added, refused, workspace, write

__all__ = ["workspace"]


def test_a_pool_without_labels_stands_beside_the_source(workspace, capsys):
    write(workspace, "text\nhello there\n", "pool.csv")
    entry = added(capsys, "t", data=[write(workspace, "text,label\n" + ROWS)], unlabelled="pool.csv")
    assert entry["data"] == {"source": "tickets.csv", "unlabelled": "pool.csv"}


@pytest.mark.parametrize("later", [False, True], ids=["with the data", "to a model that is there"])
def test_a_pool_without_the_models_column_is_refused_before_anything_is_written(workspace, capsys, later):
    pool = write(workspace, "body\nhello there\n", "pool.csv")
    data = [write(workspace, "text,label\n" + ROWS)]
    if later:
        added(capsys, "t", data=data)
    before = (workspace / "params.yaml").read_text()
    refusal = refused(workspace, "t", data=None if later else data, unlabelled=pool)
    assert "pool.csv has no column 'text'. It has 'body'." in refusal
    assert "data.columns" in refusal
    assert (workspace / "params.yaml").read_text() == before


def test_a_pool_is_read_by_the_columns_that_the_data_has(workspace, capsys):
    write(workspace, "body\nhello there\nand again\n", "pool.csv")
    source = write(workspace, "body,kind\n" + ROWS)
    entry = added(capsys, "t", data=[source], text="body", label="kind", unlabelled="pool.csv")
    assert entry["data"]["columns"] == {"input": "body", "label": "kind"}
    assert added(capsys, "t", unlabelled="pool.csv")["data"] == entry["data"]


def test_the_models_own_source_is_no_pool(workspace, capsys):
    source = write(workspace, "text,label\n" + ROWS)
    assert "is the model's labelled source already" in refused(workspace, "t", data=[source], unlabelled=source)
    added(capsys, "t", data=[source])
    assert "is the model's labelled source already" in refused(workspace, "t", unlabelled=source)


def test_a_pool_for_a_model_whose_entry_is_wrong_is_refused_by_its_key(workspace, capsys):
    added(capsys, "t", data=[write(workspace, "text,label\n" + ROWS)])
    path = workspace / "params.yaml"
    path.write_text(path.read_text().replace("source: tickets.csv", "source: tickets.csv\n      columns: {txt: body}"))
    assert "models.t.data.columns.txt: unknown key" in refused(
        workspace, "t", unlabelled=write(workspace, "text\na b\n", "p.csv")
    )
