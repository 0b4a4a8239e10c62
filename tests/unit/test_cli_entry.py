"""What `add` writes, as it shows it; and paths that are not there."""

from tests.unit.test_cli_add import ROWS, refused, said, workspace, write

__all__ = ["workspace"]


def test_a_path_that_is_not_there_is_no_slip_of_just_any_name(workspace):
    write(workspace, "text,label\n" + ROWS, "quote.csv")
    path = workspace / "nothere.csv"
    assert refused(workspace, "t", data=[str(path)]) == f"{path} does not exist. Check the path."


def test_what_was_written_is_shown_as_it_stands_there_and_all_that_comes_next(workspace, capsys):
    out = said(capsys, "t", data=[write(workspace, "text,label\n" + ROWS)], yes=True)
    assert "t is written in params.yaml:\n  t:\n    modality: text\n" in out
    assert out.index("headstart data t") < out.index("headstart plan t") < out.index("headstart run t")
