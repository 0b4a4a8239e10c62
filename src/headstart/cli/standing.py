"""Where a model stands now: what the last run wrote, brought up to what the registry says since."""

from typing import Any

from headstart import artifacts
from headstart.cli.output import say
from headstart.errors import HeadstartError
from headstart.settings import Workspace


def live(workspace: Workspace, name: str) -> dict[str, Any] | None:
    """The champion's `version`, `verdict`, `overridden` and `provisional`; None without one."""
    from headstart.registry import quick

    try:
        return quick.live(workspace.tracking_uri, name)
    except quick.UnknownError:
        from headstart import registry, tracking

        tracking.open(workspace)
        return registry.live(name)


def refreshed(workspace: Workspace, name: str) -> dict[str, Any]:
    """The document of the last run; where another version is live since, it and the page are written again."""
    path = artifacts.release(name) / "run.json"
    document = dict(artifacts.read_json(path))
    now = live(workspace, name)
    alias = document["alias"]
    if now and now["version"] == document["version"]:
        alias = "champion"
    elif alias == "champion":
        alias = None
    rollout = document.get("rollout")
    if rollout and alias == "challenger" and (rollout := _rollout(workspace, name)) is None:
        alias = None  # it was taken back, or another challenger took its place
    provisional = alias == "champion" and bool(now and now["provisional"])
    new = {"alias": alias, "live": now, "provisional": provisional}
    if "rollout" in document:  # absent from documents of before there were any
        new["rollout"] = rollout
    if any(document.get(key, {}) != value for key, value in new.items()):
        document |= new
        artifacts.write_json(path, document)
        _draw(name)
    return document


def _rollout(workspace: Workspace, name: str) -> dict[str, Any] | None:
    """Which step of its rollout the challenger is at; None where none is on its way."""
    from headstart import registry, tracking

    tracking.open(workspace)
    rollout = registry.rollout(name)
    return rollout.brief() if rollout else None


def follow(workspace: Workspace, name: str) -> None:
    """After a promotion or a rollback: let the last run's document and page say so, where there are any."""
    if (artifacts.release(name) / "run.json").is_file():
        refreshed(workspace, name)


def _draw(name: str) -> None:
    """The page anew, where there is one; the registry's word stands whether or not it can be drawn."""
    if not (artifacts.release(name) / "report.html").is_file():
        return
    from headstart.report import page

    try:
        page.write(name)
    except HeadstartError as error:
        say(f"the report of {name} could not be brought up to date: {error}")
