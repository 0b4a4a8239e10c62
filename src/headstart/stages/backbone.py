"""Stage `backbone`: data/backbones/<name>/ -> artifacts/backbones/<name>/."""

from headstart import artifacts
from headstart.backbones import store
from headstart.export import trial
from headstart.params.backbones import Backbone
from headstart.stages import emptied, main


def run(name: str, params: Backbone) -> None:
    """Check what was fetched, or pretrain from it, and write one clean folder; try whether it can be served."""
    folder = emptied(artifacts.backbone(name))
    store.make(artifacts.fetched_backbone(name), params, folder)
    if params.pretrain is None:
        trial.run(folder)


if __name__ == "__main__":
    main(run)
