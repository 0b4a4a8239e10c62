"""Which strategy, from evidence and a race, with its reason, its runner-up and what would change it.

    linear_probe   without a race, if its held-out accuracy may already be good enough
                   or a class (the median one) has too few labels to train layers on
    else           the cheapest of those that the race cannot tell from its leader, unless a dearer one of them
                   will likely overtake it with all of train (`forecast.chance`)

Cheap first: probe, low-rank updates, fine-tuning, adapting and fine-tuning. `scratch` never enters: it is the control.
A trained network that turns out no better than the probe on validation hands the probe on (`handover`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headstart.params.section import Strategy
from headstart.params.transfer import Choice
from headstart.statistics.interval import wilson
from headstart.transfer import forecast
from headstart.transfer.evidence import Evidence
from headstart.transfer.race import Outcome

TRAINED: tuple[Strategy, ...] = ("fine_tune", "lora", "adapt_then_fine_tune")  # runners-up where no race was run
LATER = (2, 4, 8)  # times train, that more labels are carried on to


@dataclass(frozen=True)
class Decision:
    """The strategy and why, for a person to read.

    Attributes:
        strategy: what training will do.
        runner_up: what it would do otherwise.
        reason: why, in plain words.
        otherwise: what would change the decision, a sentence each.
    """

    strategy: Strategy
    runner_up: Strategy
    reason: str
    otherwise: list[str]


def settled(evidence: Evidence, choice: Choice) -> str | None:
    """Why no race is needed; None where one is."""
    reached, per_class = evidence.probe, evidence.examples["per_class"]["median"]
    if (up_to := _up_to(evidence, choice)) >= choice.good_enough:
        return (
            f"The linear probe is right on {reached.value:.1%} of held-out examples (up to {up_to:.1%}), "
            f"and {choice.good_enough:.1%} is good enough."
        )
    if per_class < choice.examples_per_class:
        return (
            f"The median class has {per_class:g} training examples; layers are trained from "
            f"{choice.examples_per_class} on."
        )
    return None


def _up_to(evidence: Evidence, choice: Choice) -> float:
    """What the probe may be right on, by rows: groups widen its interval, and to know little is not to be good."""
    reached = evidence.probe
    return wilson(reached.value * reached.n, reached.n, choice.interval).high


def decide(
    evidence: Evidence,
    run: Outcome | None,
    choice: Choice,
    early: str | None,
    barred: dict[Strategy, str],
    *,
    doubt: float,
    work: Mapping[Strategy, int],
) -> Decision:
    """The choice that follows; `choice.strategy` overrides it, and the reason says so.

    Args:
        evidence: what was measured.
        run: the race; None where none was run.
        choice: how to choose.
        early: why no race was needed.
        barred: why strategies did not enter.
        doubt: chance allowed that a dearer strategy, taken because it will overtake, does not.
        work: of each strategy on all of train.
    """
    strategy: Strategy = "linear_probe"
    if early is not None:
        reason = early
    elif run is None:
        reason = " ".join(f"{name}: {why}" for name, why in barred.items()) or "Nothing else is a candidate."
    else:
        strategy, reason = _winner(evidence, run, choice, doubt)
    others: list[Strategy] = [name for name in _ranked(run) if name != strategy] if run else []
    others.sort(key=lambda name: run is not None and name not in run.standing)  # who left comes after who stands
    out = {*barred, *(run.left if run else ())}
    untried: list[Strategy] = [name for name in TRAINED if name != strategy and name not in out]
    runner_up = [*others, *(untried if strategy == "linear_probe" else []), "linear_probe"][0]
    if choice.strategy == strategy:
        reason = f"params.yaml asks for it, and the plan agrees: {reason}"
    elif choice.strategy != "auto":
        reason = f"params.yaml asks for {choice.strategy}. Left to itself, the plan would say {strategy}: {reason}"
        strategy, runner_up = choice.strategy, strategy
    otherwise = _otherwise(evidence, run, choice, early, barred)
    if run is not None and run.legs and choice.strategy == "auto":
        otherwise[:0] = _with_more_labels(strategy, evidence, run, choice, doubt, work)
        otherwise[:0] = _not_taken(strategy, evidence, run, choice, doubt)
    return Decision(strategy, runner_up, reason, otherwise)


def labels_needed(strategy: Strategy, evidence: Evidence, run: Outcome | None, choice: Choice) -> dict[str, Any] | None:
    """Training labels with which a strategy will likely reach `target`, else `good_enough`, and how many more that is.

    Null: none up to 100 times those there are. None: nothing is known, without a curve or a race.
    """
    accuracy, train = choice.target or choice.good_enough, evidence.examples["train"]
    last, of = forecast.last_leg(strategy, run), strategy
    labels: int | None
    if forecast.predict(strategy, evidence, run, choice)["value"] >= accuracy:
        labels = train
    elif last is not None and strategy != "linear_probe":
        labels = forecast.labels_needed(last, accuracy, train)
    elif evidence.curve is not None:
        labels, of = evidence.curve.labels_needed(accuracy), "linear_probe"
    else:
        return None
    more = None if labels is None else max(0, labels - train)
    by = "plan.choice.target" if choice.target else "plan.choice.good_enough"
    return {"accuracy": accuracy, "by": by, "labels": labels, "more": more, "strategy": of}


def _winner(evidence: Evidence, run: Outcome, choice: Choice, doubt: float) -> tuple[Strategy, str]:
    """The cheapest that cannot be told from the leader, or who will overtake it, and why."""
    if run.leader is None:
        return "linear_probe", f"The race ended before anyone ran: {run.ended}"
    chosen, overtaken = _taken(run.standing, evidence, run, choice, doubt)
    last = {leg.strategy: leg for leg in run.legs}
    rows = last[chosen].rows
    told = ", ".join(f"{name} {last[name].accuracy.value:.1%}" for name in _ranked(run) if last[name].rows == rows)
    where = f"On {last[chosen].accuracy.n} judged examples, after learning from {rows}: {told}."
    if overtaken:
        likely = forecast.chance(chosen, overtaken, evidence, run, choice)
        return chosen, (
            f"With all {evidence.examples['train']:,} examples it will likely be more accurate than the cheaper "
            f"{overtaken} (chance {likely:.2f}): what trains layers gains more by labels. {where} {run.ended}"
        )
    if chosen == run.leader:
        return chosen, f"It leads the race. {where} {run.ended}"
    ahead = run.behind[chosen].interval
    return chosen, (
        f"{run.leader} leads by {100 * ahead.value:z.1f} points ({100 * ahead.low:z.1f} to {100 * ahead.high:z.1f}), "
        f"which is not beyond the doubt allowed, and {chosen} is cheaper. {where} {run.ended}"
    )


def _taken(
    standing: Sequence[Strategy], evidence: Evidence, run: Outcome, choice: Choice, doubt: float, *, times: int = 1
) -> tuple[Strategy, Strategy | None]:
    """The cheapest of those standing, or who will overtake it with `times` all of train; and the one overtaken."""
    chosen, overtaken = standing[0], None
    for name in standing[1:]:
        if forecast.chance(name, chosen, evidence, run, choice, times=times) >= 1 - doubt:
            chosen, overtaken = name, chosen
    return chosen, overtaken


def _not_taken(chosen: Strategy, evidence: Evidence, run: Outcome, choice: Choice, doubt: float) -> Iterator[str]:
    """The dearer ones that stand, and how likely they overtake."""
    for name in run.standing[run.standing.index(chosen) + 1 :] if chosen in run.standing else []:
        likely = forecast.chance(name, chosen, evidence, run, choice)
        yield (
            f"{name} is dearer than {chosen}, and with all of train more accurate by a chance of {likely:.2f}; "
            f"{1 - doubt:.2f} is asked (1 - plan.race.doubt)."
        )


def _with_more_labels(
    chosen: Strategy, evidence: Evidence, run: Outcome, choice: Choice, doubt: float, work: Mapping[Strategy, int]
) -> Iterator[str]:
    """The fewest labels with which another would be taken, as long as the budget holds it."""
    for times in LATER:
        held = [name for name in run.standing if name == "linear_probe" or times * work[name] <= choice.budget]
        if chosen not in held:
            return
        then, _ = _taken(held, evidence, run, choice, doubt, times=times)
        if run.standing.index(then) > run.standing.index(chosen):
            likely = forecast.chance(then, chosen, evidence, run, choice, times=times)
            yield (
                f"{times * evidence.examples['train']:,} training examples, {times} times as many, would make it "
                f"{then}, which would then likely be more accurate than {chosen} (chance {likely:.2f})."
            )
            return


def _ranked(run: Outcome | None) -> list[Strategy]:
    """Who ran, those on the latest rungs first, the more accurate first."""
    last = {leg.strategy: leg for leg in run.legs} if run else {}
    return sorted(last, key=lambda name: (-last[name].rows, -last[name].accuracy.value))


def _otherwise(
    evidence: Evidence, run: Outcome | None, choice: Choice, early: str | None, barred: dict[Strategy, str]
) -> list[str]:
    """What would change the decision."""
    result = []
    if early is not None and _up_to(evidence, choice) >= choice.good_enough:
        result.append(f"A higher plan.choice.good_enough (now {choice.good_enough:g}) would start a race.")
    elif early is not None:
        result.append(f"{choice.examples_per_class} labels in the median class would start a race.")
    result += [f"{name} did not enter: {why}" for name, why in barred.items()]
    if run is not None:
        close = {name: one for name, one in run.behind.items() if one.interval.low <= 0}
        result += [
            f"{name} is {100 * one.interval.value:z.1f} points behind {run.leader}, within doubt: more judged examples "
            "may tell them apart."
            for name, one in close.items()
        ]
        if run.short:
            result.append(f"A higher plan.race.budget (now {run.budget:,} {evidence.unit}) would run the race further.")
    few = evidence.few_labels
    if few.scratch.low > few.transfer.high:
        result.append(
            f"Negative transfer: with {few.per_class} labels a class the same network from scratch is right on "
            f"{few.scratch.value:.1%}, transferred on {few.transfer.value:.1%}. Look for a backbone nearer to the data."
        )
    return result
