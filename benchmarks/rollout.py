"""How often a rollout promotes a worse model, and how long it keeps an equal one waiting, by simulation.

    python -m benchmarks.rollout [--streams 2000] [--inputs 20000]

The check `quality` of `headstart.rollout`, looked at after every ten inputs. Champion and challenger differ on a share
of the inputs (`differ`); `worse` is by how much the challenger is less accurate. Labels come for inputs on which they
differ: `at once`; for `all` of them, or for `a fifth` by chance, 500 inputs late; or `favourable` ones, for each input
that only the challenger gets right and for none that only the champion does. A worse model is promoted falsely where it
passes at any of the looks: 5% of the streams at most, whatever the labels do. The last columns say how many inputs it
took where it passed or failed.

The evidence of some streams is compared with that of `betting.above`; a difference stops the program.
"""

import argparse

import numpy as np
from numpy.typing import NDArray

from headstart.rollout import FAILING
from headstart.statistics import betting
from headstart.statistics.interval import wilson

EVERY = 10
DELAY = 500
MARGIN, LEVEL = 0.02, 0.05
WORSE = [(differ, MARGIN) for differ in (0.02, 0.04, 0.08, 0.16)]
OTHERS = [(0.0, 0.0), (0.005, 0.0), (0.01, 0.0), (0.04, 0.0), (0.08, 0.0), (0.04, -0.01), (0.08, 0.05), (0.16, 0.1)]


def main() -> None:
    """Print a row a scenario."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=2000)
    parser.add_argument("--inputs", type=int, default=20_000)
    options = parser.parse_args()
    print(f"{'differ':>7} {'worse':>6} {'labels':>11} {'passed':>22} {'failed':>7} {'median':>7} {'90%':>7}")
    for differ, worse in [*WORSE, *OTHERS]:
        for labels in ["at once", "all", "a fifth", "none", *(["favourable"] if worse > 0 else [])]:
            passed, failed = simulate(differ, worse, labels, options.streams, options.inputs)
            ended = np.sort(np.concatenate([passed, failed]))
            share = wilson(len(passed), options.streams, 0.95)
            times = [f"{np.quantile(ended, q):7.0f}" if len(ended) else "      -" for q in (0.5, 0.9)]
            interval = f"{share.value:6.1%} [{share.low:6.1%}, {share.high:6.1%}]"
            print(f"{differ:7.1%} {worse:6.1%} {labels:>11} {interval} {len(failed) / options.streams:7.1%}", *times)


def simulate(
    differ: float, worse: float, labels: str, streams: int, inputs: int, seed: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """After how many inputs each stream passed, of those that did before they failed, and failed likewise.

    Args:
        differ: share of inputs on which just one of the two is right; those on which both are wrong tell nothing.
        worse: how many more of them the champion gets right, as a share of all inputs.
        labels: `at once`, `all`, `a fifth`, `none` or `favourable`.
        streams: how many are simulated.
        inputs: of each.
        seed: of the generator.
    """
    generator = np.random.default_rng(seed)
    labelled = {"a fifth": (0.2, 0.2), "none": (0.0, 0.0), "favourable": (1.0, 0.0)}.get(labels, (1.0, 1.0))
    win, loss = (differ - worse) / 2, (differ + worse) / 2
    shares = [win * labelled[0], win * (1 - labelled[0]), loss * labelled[1], loss * (1 - labelled[1])]
    passed, failed = [], []
    for start in range(0, streams, 100):
        many = min(100, streams - start)
        drawn = generator.multinomial(EVERY, [*shares, max(0.0, 1 - sum(shares))], size=(many, inputs // EVERY))
        known_win, silent_win, known_loss, silent_loss, ties = np.moveaxis(np.cumsum(drawn, axis=1), -1, 0)
        late = 0 if labels == "at once" else DELAY // EVERY
        wins, losses = _late(known_win, late), _late(known_loss, late)
        unknown = known_win - wins + known_loss - losses + silent_win + silent_loss
        # inputs that are old enough to have their labels, and all inputs: two of the moments that the check considers
        mature = [_late(count, late) for count in (silent_win + silent_loss, ties)]
        passes = fails = np.zeros(ties.shape, dtype=bool)
        for open_, same in [mature, [unknown, ties]]:
            passes = passes | (_evidence(-MARGIN, [wins, losses + open_, same]) * LEVEL >= 1)
            fails = fails | (_evidence(MARGIN, [losses, wins + open_, same]) * LEVEL / FAILING >= 1)
        if start == 0:
            _check([int(count[0, -1]) for count in (wins, losses + unknown, ties)])
        first_pass, first_fail = (np.where(any_.any(1), any_.argmax(1), inputs) for any_ in (passes, fails))
        passed.append(first_pass[(first_pass < first_fail)])
        failed.append(first_fail[(first_fail < first_pass)])
    return (np.concatenate(passed) + 1) * EVERY, (np.concatenate(failed) + 1) * EVERY


def _late(counts: NDArray[np.int64], looks: int) -> NDArray[np.int64]:
    return np.concatenate([np.zeros_like(counts[:, :looks]), counts[:, : counts.shape[1] - looks]], axis=1)


def _evidence(bar: float, counts: list[NDArray[np.int64]]) -> NDArray[np.float64]:
    """`betting.above` of values 1, -1 and 0 for every stream and look at once."""
    total = np.zeros(counts[0].shape)
    for share in betting.SHARES:
        bet = share / (bar + 1)
        growth = sum(
            count * np.log1p(bet * (value - bar)) for count, value in zip(counts, (1.0, -1.0, 0.0), strict=True)
        )
        total += np.exp(np.minimum(growth, 600.0))
    return total / len(betting.SHARES)


def _check(counts: list[int]) -> None:
    """Stop where `betting.above` says otherwise."""
    expected = betting.above([1.0, -1.0, 0.0], -MARGIN, least=-1.0, counts=counts)
    np.testing.assert_allclose(_evidence(-MARGIN, [np.array([count]) for count in counts]), expected, rtol=1e-9)


if __name__ == "__main__":
    main()
