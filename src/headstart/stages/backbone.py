"""Stage `backbone`: data/backbones/<name>/ -> artifacts/backbones/<name>/."""

from headstart import artifacts
from headstart.backbones import store
from headstart.errors import BackboneError
from headstart.export import trial
from headstart.params.backbones import Backbone
from headstart.stages import emptied, main


def run(name: str, params: Backbone) -> None:
    """Check what was fetched, or pretrain from it, and write one clean folder; try whether it can be served."""
    folder = emptied(artifacts.backbone(name))
    store.make(artifacts.fetched_backbone(name), params, folder)
    if params.pretrain is not None:
        return
    try:
        trial.run(folder)
    except BackboneError:
        emptied(folder)  # backbone.json says that it is complete
        raise


if __name__ == "__main__":
    main(run)
