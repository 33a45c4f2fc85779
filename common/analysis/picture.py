"""What an analysis found: plain rows, the correctness of every test sample, and what follows from the curves over layers."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from common.analysis import tunnel
from common.analysis.moments import Moments
from common.analysis.passes import about
from common.analysis.probes import Probes
from common.analysis.spectrum import Rank, Spectrum
from common.analysis.variance import variances

NETWORK = "network"  # the layer of rows that are about all layers


@dataclass
class Picture:
    """What was measured. rows: dicts of layer, index (1 .. N; 0 for the network), quantity, value.

    layers: names in order. bits: bool [seeds, n] per (`id` or `ood`, layer): each test sample classified right.
    ranks: per layer, with its spectrum.
    """

    layers: list[str]
    rows: list[dict[str, Any]] = field(default_factory=list)
    bits: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)
    ranks: dict[str, Rank] = field(default_factory=dict)

    def put(self, layer: str, quantity: str, value: float) -> None:
        """Adds a row."""
        index = 0 if layer == NETWORK else self.layers.index(layer) + 1
        self.rows.append({"layer": layer, "index": index, "quantity": quantity, "value": float(value)})

    def curve(self, quantity: str) -> list[float]:
        """The values of a quantity, layer by layer."""
        return [row["value"] for row in self.rows if row["quantity"] == quantity and row["index"]]


def tell_group(
    picture: Picture, spectra: dict[str, Spectrum], spreads: dict[str, Moments], threshold: float, fewest: int
) -> None:
    """Rows of rank and variances of some layers. Errors: Problem, too few samples, NaN or infinity."""
    for name, spectrum in spectra.items():
        with about(name):
            rank = spectrum.rank(threshold, fewest)
        picture.ranks[name] = rank
        for word in ("rank", "features", "samples"):
            picture.put(name, word, getattr(rank, word))
    for name, moments in spreads.items():
        spread = variances(moments)
        picture.put(name, "within-class variance", spread.within)
        picture.put(name, "between-class variance", spread.between)
        picture.put(name, "within/between", spread.ratio)


def tell_cka(picture: Picture, matrix: Tensor) -> None:
    """A row for each pair of layers."""
    for i, name in enumerate(picture.layers):
        for j, other in enumerate(picture.layers):
            picture.put(name, f"cka to {other}", float(matrix[i, j]))


def tell_probes(picture: Picture, which: str, probes: Probes) -> None:
    """Rows of probe accuracy per layer; which: `id` or `ood`."""
    word = which.upper()
    for name in picture.layers:
        picture.put(name, f"{word} accuracy", float(picture.bits[which, name].mean()))
        # what the two ways of fitting can tell without another pass; see Probes.train
        quantity = f"{word} held-out accuracy" if probes.strengths else f"{word} train accuracy"
        picture.put(name, quantity, float(np.mean(probes.train[name])))
        if probes.strengths:
            picture.put(name, f"{word} ridge strength", probes.strengths[name])


def tell_tunnel(picture: Picture, own: float | None, last_is_output: bool, reference: str | float) -> None:
    """Rows about the network: its accuracy, s95 and s98 in both rules, and what the OOD curve says without the logits."""
    accuracy = picture.curve("ID accuracy")
    if own is not None and reference == "network":
        picture.put(NETWORK, "accuracy", own)
    level = own if reference == "network" else accuracy[-1] if reference == "last probe" else float(reference)
    assert level is not None
    for share in (0.95, 0.98):
        for rule, suffix in (("reached", ""), ("kept", " kept")):
            s = tunnel.start(accuracy, level, share, rule)  # type: ignore[arg-type]
            picture.put(NETWORK, f"s{100 * share:.0f}{suffix}", float("nan") if s is None else s)
    # the logits are no representation: the last hidden layer is p
    hidden = len(picture.layers) - (last_is_output and len(picture.layers) > 1)
    ood, rank = picture.curve("OOD accuracy")[:hidden], picture.curve("rank")[:hidden]
    if ood:
        picture.put(NETWORK, "OOD retained", tunnel.retained(ood))
        picture.put(NETWORK, "Pearson ID, OOD", tunnel.pearson(accuracy[:hidden], ood))
    if ood and rank:
        picture.put(NETWORK, "Spearman rank, OOD", tunnel.spearman(rank, ood))
