"""Gate `lost_classes`: a class that the champion knows may not disappear from production unnoticed."""

from collections.abc import Mapping, Sequence
from typing import Any

from headstart.evaluation.gates import bars
from headstart.findings import Finding

CHECK = "lost_classes"


def judge(comparison: Mapping[str, Any] | None, *, champion: str | None, model: str, deleted: bool = False) -> Finding:
    """Whether the candidate knows every class of the champion, and today's test split still shows them.

    Where the champion answers a lost class to today's examples of another, the class was probably renamed, merged or
    split, and that is asked.

    Args:
        comparison: what `comparison.compare` answered: `classes` {`gone`, `new`, `untested`} and `moved`.
        champion: the champion's version; None where there is none yet.
        model: its name in `params.yaml`.
        deleted: whether the champion was deleted from the registry.
    """
    if champion is None:
        return Finding(CHECK, "pass", None, None, "No other version is live, so no class of one can be lost.")
    if deleted:
        return bars.deleted(CHECK, champion)
    classes = (comparison or {}).get("classes")
    if not isinstance(classes, Mapping) or not {"gone", "new", "untested"} <= set(classes):
        return bars.missing(CHECK, 0.0, f"The candidate's classes were not compared with those of champion {champion}")
    gone, untested, new = classes["gone"], classes["untested"], classes["new"]
    evidence = {key: list(classes[key])[: bars.NAMED] for key in ("gone", "new", "untested")}
    lost = float(len(gone) + len(untested))
    if not lost:
        reason = f"The candidate knows every class of champion {champion}."
        return Finding(CHECK, "pass", 0.0, 0.0, reason, "", evidence)
    moves = _families((comparison or {}).get("moved") or [])
    plain = [label for label in gone if not any(label in move.before for move in moves)]
    reasons = [move.told(new, champion) for move in moves]
    actions = [action for move in moves if (action := move.way(new, model))]
    if plain:
        reasons.append(
            f"{bars.listed(map(repr, plain))} {'is' if len(plain) == 1 else 'are'} gone: champion "
            f"{champion} knows {'it' if len(plain) == 1 else 'them'}, and the candidate will answer such inputs with "
            "another class."
        )
        actions.append(f"See what left the data (headstart data {model} --diff previous current) and bring it back.")
    if untested:
        reasons.append(
            f"{bars.listed(map(repr, untested))} had test examples when champion {champion} was measured "
            f"and {'has' if len(untested) == 1 else 'have'} none now: whether the candidate still finds "
            f"{'it' if len(untested) == 1 else 'them'} is not known."
        )
        actions.append(f"Add labelled examples of {bars.listed(map(repr, untested))}.")
    actions.append("If this is meant, promote the candidate with a reason.")
    return Finding(CHECK, "fail", lost, 0.0, " ".join(reasons), " ".join(actions), evidence)


class _Family:
    """Lost classes and today's labels that the champion answers them to, and the counts."""

    def __init__(self) -> None:
        self.before: list[str] = []
        self.after: list[str] = []
        self.links: list[Mapping[str, Any]] = []

    def told(self, new: Sequence[str], champion: str) -> str:
        before, after = (bars.listed(map(repr, side)) for side in (self.before, self.after))
        fresh = [label for label in self.after if label in new]
        said = f"{before} {'is' if len(self.before) == 1 else 'are'} gone"
        if fresh:
            named = bars.listed(map(repr, fresh))
            said += f" and {named} {'is' if len(fresh) == 1 else 'are'} new"
        counts = ", ".join(
            f"{link['lost']!r} to {link['count']} of the {link['n']} test examples of {link['label']!r}"
            for link in self.links[: bars.NAMED]
        )
        question = {
            (False, False): "Renamed?" if fresh else f"Merged into {after}?",
            (True, False): "Merged?",
            (False, True): "Split?",
            (True, True): "Regrouped?",
        }[len(self.before) > 1, len(self.after) > 1]
        return f"{said}: champion {champion} answers {counts}. {question}"

    def way(self, new: Sequence[str], model: str) -> str:
        """How the old name is kept; empty where no map of labels brings the old classes back."""
        if len(self.before) > 1 or not set(self.after) <= set(new):
            return ""
        entries = ", ".join(f"{_yaml(label)}: {_yaml(self.before[0])}" for label in self.after)
        return f"To keep the old name, map it under models.{model}.prepare.labels: {{{entries}}}."


def _families(links: Sequence[Mapping[str, Any]]) -> list[_Family]:
    """Links that share a class, on either side, belong together."""
    families: list[_Family] = []
    for link in links:
        touched = [one for one in families if link["lost"] in one.before or link["label"] in one.after]
        family = _Family()
        for one in touched:
            families.remove(one)
            family.before += one.before
            family.after += one.after
            family.links += one.links
        family.before += [link["lost"]] if link["lost"] not in family.before else []
        family.after += [link["label"]] if link["label"] not in family.after else []
        family.links.append(link)
        families.append(family)
    return families


def _yaml(label: str) -> str:
    """A label as a YAML scalar inside braces, quoted where it needs to be."""
    import yaml

    return yaml.safe_dump([label], default_flow_style=True, allow_unicode=True, width=10_000).strip()[1:-1]
