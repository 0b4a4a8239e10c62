"""What commands say before they start a flow."""

from pathlib import Path

from headstart import artifacts
from headstart.cli.workspace import announce_pretraining
from headstart.params.loader import load

PARAMS = load(Path(__file__).parents[2] / "params.yaml")


def test_pretraining_is_announced_until_it_is_done(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    announce_pretraining(PARAMS, list(PARAMS.models))
    assert "glyphs is pretrained first, once for all models: about 40 s" in capsys.readouterr().err
    artifacts.backbone("glyphs").mkdir(parents=True)
    announce_pretraining(PARAMS, list(PARAMS.models))
    assert capsys.readouterr().err, "a folder that a kill left is no backbone"
    (artifacts.backbone("glyphs") / "backbone.json").touch()
    announce_pretraining(PARAMS, list(PARAMS.models))
    assert not capsys.readouterr().err
