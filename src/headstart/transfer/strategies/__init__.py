"""The strategies of transfer, cheapest first.

A new one is one class in one file (`strategy.Strategy` says what it offers), a line below, and its name in
`params.section.Strategy`, which is checked before torch is imported.
"""

from headstart.params.section import Strategy as Name
from headstart.transfer.strategies.adapt_then_fine_tune import AdaptThenFineTune
from headstart.transfer.strategies.fine_tune import FineTune
from headstart.transfer.strategies.linear_probe import LinearProbe
from headstart.transfer.strategies.lora import Lora
from headstart.transfer.strategies.scratch import Scratch
from headstart.transfer.strategies.strategy import Strategy

ALL: tuple[Strategy, ...] = (LinearProbe(), Lora(), FineTune(), AdaptThenFineTune(), Scratch())
STRATEGIES: dict[Name, Strategy] = {strategy.name: strategy for strategy in ALL}
