"""The whole of `params.yaml` as checked values. Only the loader and `resolve` see it whole."""

from headstart.params.backbones import Backbone
from headstart.params.data import Data
from headstart.params.evaluation import Evaluate, Export, Gates, Release, Seal
from headstart.params.operation import Journal, Monitor, Retrain, Rollout, Schedules, Serve
from headstart.params.prepare import Prepare
from headstart.params.section import Modality, Section
from headstart.params.transfer import Plan, Train


class Model(Section):
    """One model with its defaults filled in, a section a reader."""

    modality: Modality
    backbone: str
    data: Data
    prepare: Prepare
    plan: Plan
    train: Train
    export: Export
    evaluate: Evaluate
    seal: Seal
    gates: Gates
    release: Release
    rollout: Rollout
    serve: Serve
    journal: Journal
    monitor: Monitor
    retrain: Retrain


class Params(Section):
    """A fleet: models, the backbones they stand on, and when they are trained and watched."""

    schedules: Schedules
    backbones: dict[str, Backbone]
    models: dict[str, Model]


STAGES = {
    "prepare": Prepare,
    "plan": Plan,
    "train": Train,
    "export": Export,
    "evaluate": Evaluate,
    "seal": Seal,
}
