"""The race: strategies learn from a growing share of train, and are judged on examples that none of them has seen.

    rung 1    share of train ──► every entrant ──► paired answers on the judged ──► who is worse beyond doubt leaves
    rung 2    a larger share ──► who is left   ──► ...

Successive halving (Jamieson and Talwalkar 2016, arXiv:1502.07943), with three differences: the probe costs nearly
nothing and stays throughout as the yardstick; who is worse beyond the doubt allowed leaves at once, unless it is dearer
than the leader and could still overtake with more labels (`decision`); and halves are sent away only where the budget
does not hold the next rung for all: a few dozen examples rank strategies by chance. The race ends when only one is
left, or the budget does not hold the next rung for the better half either. The budget is counted in tokens or pixels
that pass, so the same inputs give the same race; seconds are kept beside it. What a strategy does once, whatever the
rows, is none of the rungs' work (`ready`): texts that a backbone is adapted to have a budget of their own,
`adapt.budget`.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.params.section import Strategy
from headstart.params.transfer import Race as RaceParams
from headstart.statistics import clustered, paired
from headstart.statistics.clustered import Groups
from headstart.statistics.interval import Interval
from headstart.statistics.paired import Difference
from headstart.transfer import rungs
from headstart.transfer.setting import Split

YARDSTICK: Strategy = "linear_probe"  # runs on every rung, in the race or out of it

RAN_ON = " It ran on as the yardstick alone."

Right = NDArray[np.bool_]
Run = Callable[[Strategy, Split, Split], Right]
Ready = Callable[[Strategy], str | None]


@dataclass(frozen=True)
class Leg:
    """One strategy on one rung.

    Attributes:
        strategy: who ran.
        rows: how many examples it learned from.
        accuracy: on the judged.
        right: `(judged,)`, which it answered rightly.
        work: input units that passed.
        seconds: what it took here; never decided on.
    """

    strategy: Strategy
    rows: int
    accuracy: Interval
    right: Right
    work: int
    seconds: float

    def document(self) -> dict[str, Any]:
        """Everything that repeats to the byte."""
        return {"strategy": self.strategy, "rows": self.rows, "work": self.work, **self.accuracy.document()}


@dataclass(frozen=True)
class Outcome:
    """How the race went.

    Attributes:
        legs: in the order they were run.
        left: why each strategy that is out is out.
        standing: who is still in, cheapest first.
        leader: the most accurate of them on the last rung; None where nobody ran.
        gaps: each strategy's accuracy minus the probe's, on the last rung it ran.
        behind: by how much each strategy still in lies behind the leader, on the last rung, at the level of `doubt`.
        spent: work of all legs.
        budget: what they were allowed.
        ended: why the race ended.
        short: whether the budget ended it.
        groups: which of the judged belong together.
    """

    legs: list[Leg]
    left: dict[Strategy, str]
    standing: list[Strategy]
    leader: Strategy | None
    gaps: dict[Strategy, Difference]
    behind: dict[Strategy, Difference]
    spent: int
    budget: int
    ended: str
    short: bool = False
    groups: Groups = None

    def document(self) -> dict[str, Any]:
        """The race as plain JSON values, without seconds."""
        return {
            "legs": [leg.document() for leg in self.legs],
            "left": self.left,
            "standing": self.standing,
            "leader": self.leader,
            "gaps": {name: gap.interval.document() for name, gap in self.gaps.items()},
            "behind": {name: one.interval.document() for name, one in self.behind.items()},
            "spent": self.spent,
            "budget": self.budget,
            "ended": self.ended,
        }


def run(
    entrants: Sequence[Strategy],
    costs: Mapping[Strategy, float],
    learn: Split,
    validation: Split,
    params: RaceParams,
    train: Run,
    *,
    level: float,
    ready: Ready = lambda _: None,
) -> Outcome:
    """Race `entrants`, cheapest first; `linear_probe` must be the first of them.

    Args:
        entrants: at least two.
        costs: work of each strategy for each row that it learns from.
        learn: train.
        validation: judges first.
        params: shares, budget, doubt.
        train: learns by a strategy from a split, and answers on another.
        level: two-sided confidence of accuracies.
        ready: called before each leg that the budget holds, outside its seconds, for what a strategy does once before
            it learns; the answer is why it can't race, or None.
    """
    field = rungs.draw(learn, validation, params)
    together = field.judged.examples.groups
    standing, legs, left = list(entrants), list[Leg](), dict[Strategy, str]()
    spent, ended, short, compared = 0, "No rung was run.", False, len(standing)
    for number, rows in enumerate(field.rungs):
        shown, fresh = learn.select(rows), list[Leg]()
        dear, unready = dict[Strategy, str](), dict[Strategy, str]()
        if nothing := rungs.tells_nothing(shown, field.judged):
            ended = nothing
            continue
        ended = "All rungs were run."
        runners: list[Strategy] = [YARDSTICK, *(name for name in standing if name != YARDSTICK)]
        work = _work(costs, runners, len(rows))
        if legs and spent + sum(work.values()) > params.budget:  # run without one of them, it would decide against it
            ended, short = f"The next rung {_too_dear(len(rows), sum(work.values()), params.budget - spent)}", True
            break
        for name in runners:
            if spent + work[name] > params.budget:
                dear[name] = f"Its rung {_too_dear(len(rows), work[name], params.budget - spent)}"
                continue
            if why := ready(name):
                unready[name] = why
                continue
            started = time.perf_counter()
            right = train(name, shown, field.judged)
            accuracy = clustered.share(right, level, together)
            fresh.append(Leg(name, len(rows), accuracy, right, work[name], time.perf_counter() - started))
            spent += work[name]
        ran = [leg.strategy for leg in fresh if leg.strategy in standing]
        legs += fresh
        if fresh and YARDSTICK in left and not left[YARDSTICK].endswith(RAN_ON):
            left[YARDSTICK] += RAN_ON
        left |= {name: why for name, why in (dear | unready).items() if name in standing}
        short |= bool(dear)
        if len(fresh) < 2 or not ran:
            ended, standing = "The budget was spent." if dear else "Nobody else could run.", ran
            break
        compared = len(ran)
        out = leaving(ran, _latest(legs), params.doubt, groups=together)
        standing = [name for name in ran if name not in out]
        if number + 1 < len(field.rungs):
            worse = worse_half(standing, _latest(legs))
            better = [name for name in standing if name not in worse]
            following = _work(costs, list({YARDSTICK, *standing}), len(field.rungs[number + 1]))
            whole = sum(following.values())
            half = whole - sum(following[name] for name in worse)
            if spent + half <= params.budget < spent + whole:
                out, standing, short = out | worse, better, True
        left |= {name: f"After learning from {len(rows)} rows: {why}" for name, why in out.items()}
        if len(standing) == 1:
            ended = f"After learning from {len(rows)} rows {standing[0]} is the only one left."
            break
    beyond = _level(params.doubt, compared)
    return _outcome(legs, left, standing if legs else [], spent, params.budget, ended, short, level, beyond, together)


def leaving(
    standing: Sequence[Strategy],
    right: Mapping[Strategy, Right],
    doubt: float,
    *,
    groups: Groups = None,
) -> dict[Strategy, str]:
    """Who is worse than the leader beyond doubt after a rung, and why.

    That is a one-sided paired test at `doubt`, on each rung, divided by the number of strategies compared. A strategy
    dearer than the leader is not sent away by it: with more labels it may overtake, after the last rung too, and how
    likely that is the decision tells.

    Args:
        standing: cheapest first.
        right: the answers of each.
        doubt: chance, on this rung, to send away one that is as good as the leader.
        groups: which of the judged belong together.
    """
    leader = max(standing, key=lambda name: int(right[name].sum()))
    out, level = dict[Strategy, str](), _level(doubt, len(standing))
    for name in standing:
        if name == leader:
            continue
        ahead = paired.difference(right[leader], right[name], level, groups)
        cheaper = standing.index(name) < standing.index(leader)
        if ahead.interval.low > 0 and cheaper:
            out[name] = (
                f"behind {leader} by {100 * ahead.interval.value:z.1f} points, beyond the doubt of {doubt:.0%} allowed "
                f"(plan.race.doubt): right alone on {ahead.losses} of {len(right[name])} examples, {leader} on "
                f"{ahead.wins}."
            )
    return out


def worse_half(standing: Sequence[Strategy], right: Mapping[Strategy, Right]) -> dict[Strategy, str]:
    """The worse half of those that are trained, and why each leaves: the budget does not hold the next rung for all."""
    trained = sorted((name for name in standing if name != YARDSTICK), key=lambda name: -int(right[name].sum()))
    out = dict[Strategy, str]()
    for name in trained[math.ceil(len(trained) / 2) :]:
        best, own = trained[0], right[name].mean()
        alone = int((right[name] & ~right[best]).sum()), int((right[best] & ~right[name]).sum())
        told = (
            f"in the worse half (accuracy {own:.1%}; right alone on {alone[0]} of {len(right[name])}, "
            f"{best} on {alone[1]})"
            if own < right[best].mean()
            else f"as often right as {best} ({own:.1%}), which is cheaper"
        )
        out[name] = f"the budget does not hold the next rung for all, and it was {told}."
    return out


def _work(costs: Mapping[Strategy, float], runners: Sequence[Strategy], rows: int) -> dict[Strategy, int]:
    """What a rung costs each who runs."""
    return {name: round(costs[name] * rows) for name in runners}


def _level(doubt: float, runners: int) -> float:
    """Two-sided level at which `doubt`, one-sided, is shared among the comparisons with the leader."""
    return 1 - 2 * doubt / max(1, runners - 1)


def _too_dear(rows: int, work: int, remaining: int) -> str:
    return f"of {rows} rows would cost {work:,}; {remaining:,} of the budget were left."


def _outcome(
    legs: list[Leg],
    left: dict[Strategy, str],
    standing: list[Strategy],
    spent: int,
    budget: int,
    ended: str,
    short: bool,
    level: float,
    beyond: float,
    groups: Sequence[str | None],
) -> Outcome:
    right = _latest(legs)
    ranked: list[Strategy] = sorted(standing, key=lambda name: -int(right[name].sum())) if right else []
    leader = ranked[0] if ranked else None
    gaps = dict[Strategy, Difference]()
    for leg in legs:
        if leg.strategy != "linear_probe":
            base = next(one for one in legs if one.strategy == "linear_probe" and one.rows == leg.rows)
            gaps[leg.strategy] = paired.difference(leg.right, base.right, level, groups)
    behind = dict[Strategy, Difference]()
    for name in standing:
        if leader is not None and name != leader:
            behind[name] = paired.difference(right[leader], right[name], beyond, groups)
    return Outcome(legs, left, standing, leader, gaps, behind, spent, budget, ended, short, groups)


def _latest(legs: Sequence[Leg]) -> dict[Strategy, Right]:
    return {leg.strategy: leg.right for leg in legs}
