"""What every strategy offers: why it may be impossible, what it costs, and training itself."""

from pathlib import Path
from typing import Any, Protocol

from headstart.backbones.network import Network
from headstart.params.section import Strategy as Name
from headstart.transfer.context import Split, TrainingContext, Validation
from headstart.transfer.finetune.history import History
from headstart.transfer.probe import Head

Reason = dict[str, Any]  # a `code` and the numbers that a sentence about it needs

FORWARD = 1
TRAINED = 3  # a forward pass, and a backward pass that computes gradients of activations and of weights
ACTIVATIONS = 2  # a forward pass, and a backward pass that computes gradients of activations alone

FLOAT = 4  # bytes
ADAMW = 4  # numbers kept for each one that learns: weight, gradient, both moments


class Strategy(Protocol):
    """One way to transfer.

    Attributes:
        name: in params.yaml and every document.
        label: for people.
    """

    name: Name
    label: str

    def obstacle(self, context: TrainingContext) -> Reason | None:
        """Why it is impossible here; None where it is possible."""

    def work(self, context: TrainingContext, *, once: int, rows: int) -> int:
        """Tokens or pixels that pass forward in training, a full backward pass counted as two.

        Args:
            context: how it would train.
            once: tokens or pixels of all training examples.
            rows: how many training examples there are.
        """

    def memory(self, context: TrainingContext, network: Network) -> int:
        """Bytes of weights, gradients and AdamW's moments in float32; activations come on top."""

    def backbone(self, context: TrainingContext) -> Path | None:
        """The folder whose BatchNorm statistics the trained network keeps; None where it learns its own."""

    def train(
        self,
        context: TrainingContext,
        learn: Split,
        head: Head,
        *,
        validation: Validation | None,
        progress: str,
    ) -> tuple[Network, History | None]:
        """A network on `context.device`, in evaluation mode, and how training went (None: no gradient descent).

        Args:
            context: how to train.
            learn: the examples to learn from.
            head: the linear probe of these examples.
            validation: examples and the folder of checkpoints; None trains all epochs without either.
            progress: what the progress bar says.
        """
