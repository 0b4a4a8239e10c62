"""Stage `backbone`: data/backbones/<name>/ -> artifacts/backbones/<name>/."""

from headstart import artifacts
from headstart.backbones import store
from headstart.params.backbones import Backbone
from headstart.stages import emptied, main


def run(name: str, params: Backbone) -> None:
    """Check what was fetched, or pretrain from it, and write one clean folder."""
    store.make(artifacts.fetched_backbone(name), params, emptied(artifacts.backbone(name)))


if __name__ == "__main__":
    main(run)
