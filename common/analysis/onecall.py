"""The layer-wise picture of a network in one call: probe accuracy in and out of distribution, rank, variances, similarity.

    picture = layerwise(net, "blocks.*", id_train=(x, y), id_test=(xt, yt), ood_train=(u, v), ood_test=(ut, vt))
    pandas.DataFrame(picture.rows)

Each training set passes the trunk as its probes need (see `probes`), each test set once: that pass scores the probes and
feeds rank, variances and CKA together. It holds 8 d^2 bytes a layer for the rank (at most `memory_gb`, in groups of
layers that each cost a pass) and 4 d * cka_samples bytes a layer for CKA.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from common.analysis.moments import Moments
from common.analysis.passes import BATCH, MEMORY_GB, Survey, groups, stream, survey
from common.analysis.picture import Picture, tell_cka, tell_group, tell_probes, tell_tunnel
from common.analysis.probes import Adam, Probes, Ridge, Scorer, fit, score
from common.analysis.samples import Data, Samples, positions
from common.analysis.similarity import cka
from common.analysis.spectrum import FEWEST, THRESHOLD, Spectrum
from common.analysis.taps import frozen, tapped
from common.analysis.views import View
from common.errors import Problem, Problems, nearest
from common.rng import generator

QUANTITIES = ("probe", "rank", "variance", "cka")


@dataclass(frozen=True)
class _Asked:
    """The settings of a call."""

    quantities: Sequence[str]
    probe: Adam | Ridge
    view: View
    reference: Literal["network", "last probe"] | float
    cka_samples: int
    debiased: bool
    threshold: float
    fewest: int
    batch: int
    memory_gb: float


def layerwise(
    net: nn.Module,
    names: str | Sequence[str] | None = None,
    id_train: Data | None = None,
    id_test: Data | None = None,
    ood_train: Data | None = None,
    ood_test: Data | None = None,
    *,
    quantities: Sequence[str] = QUANTITIES,
    probe: Adam | Ridge = Adam(),  # noqa: B008  (frozen)
    view: View = View(),  # noqa: B008  (frozen)
    reference: Literal["network", "last probe"] | float = "network",
    classes: tuple[Sequence[Any], Sequence[Any]] | None = None,
    cka_samples: int = 2000,
    debiased: bool = False,
    threshold: float = THRESHOLD,
    fewest: int = FEWEST,
    batch: int = BATCH,
    memory_gb: float = MEMORY_GB,
) -> Picture:
    """Everything asked for, per layer and for the network.

    names: layers as for `tapped`, None for every Conv2d and Linear. Data: (x, y), or batches in a fixed order.
    quantities: of `probe` (needs the training sets), `rank`, `variance`, `cka`. reference: what s95 and s98 are shares of;
    "last probe" where the network's own outputs are not classes of the ID data. classes: identities of the ID and the OOD
    classes, which must not overlap. fewest: samples below which a rank is refused.
    Errors: Problem, with everything that is wrong before anything is computed.
    """
    asked = _Asked(quantities, probe, view, reference, cka_samples, debiased, threshold, fewest, batch, memory_gb)
    layers = tapped(net, names)
    sets = _checked(asked, id_train, id_test, ood_train, ood_test, classes)
    picture, seen = Picture(layers), survey(net, layers, view, sets["id_test"])
    if asked.reference == "network" and "probe" in quantities:
        _refuse_other_classes(seen, sets["id_test"])
    probes: dict[str, Probes] = {}
    for which in ("id", "ood"):
        if "probe" in quantities and f"{which}_train" in sets:
            probes[which] = fit(net, layers, sets[f"{which}_train"], probe, view, memory_gb, batch)
    own = _test_pass(net, picture, sets["id_test"], probes.get("id"), seen, asked)
    if "ood" in probes:
        bits = score(net, layers, probes["ood"], sets["ood_test"], view, batch)
        picture.bits |= {("ood", name): found for name, found in bits.items()}
    for which, fitted in probes.items():
        tell_probes(picture, which, fitted)
    if probes:
        tell_tunnel(picture, own, seen.last_is_output, asked.reference)
    return picture


def _checked(
    asked: _Asked, id_train: Any, id_test: Any, ood_train: Any, ood_test: Any, classes: Any
) -> dict[str, Samples]:
    """The data sets by name. Errors: Problem with all that is wrong with the request."""
    problems = Problems()
    given = {"id_train": id_train, "id_test": id_test, "ood_train": ood_train, "ood_test": ood_test}
    sets: dict[str, Samples] = {}
    for name, data in given.items():
        try:
            if data is not None:
                sets[name] = Samples(data, name)
        except Problem as problem:
            problems.add("layerwise", problem)
    for word in asked.quantities:
        if word not in QUANTITIES:
            problems.add(
                "layerwise", Problem(f"'{word}' is no quantity: {', '.join(QUANTITIES)}.{nearest(word, QUANTITIES)}")
            )
    needed = ["id_test", *(["id_train"] if "probe" in asked.quantities else [])]
    needed += [f"ood_{part}" for part in ("train", "test") if ood_train is not None or ood_test is not None]
    for name in needed:
        if given[name] is None:
            problems.add("layerwise", Problem(f"{name} is missing."))
    both = set(classes[0]) & set(classes[1]) if classes else set()
    if both:
        words = ", ".join(map(str, sorted(both, key=str)[:5]))
        problems.add("layerwise", Problem(f"Classes are in and out of distribution at once: {words}."))
    if "rank" in asked.quantities and "id_test" in sets and len(sets["id_test"]) < asked.fewest:
        n = len(sets["id_test"])
        told = f"A rank needs {asked.fewest} held-out pictures or more, but the trained classes have {n}."
        problems.add("layerwise", Problem(f"{told} Take more classes, or a data set with more test pictures."))
    problems.refuse()
    for which in ("id", "ood"):
        if f"{which}_train" in sets and f"{which}_test" in sets:
            positions(sets[f"{which}_test"].y, np.unique(sets[f"{which}_train"].y), f"{which}_test")
    return sets


def _refuse_other_classes(seen: Survey, test: Samples) -> None:
    if seen.output is None or test.y.max() >= seen.output.shape[1]:
        raise Problem(
            "The network's output does not classify the labels of id_test, so s95 and s98 cannot be shares of its accuracy: "
            "choose reference='last probe', or give a number."
        )


def _test_pass(
    net: nn.Module, picture: Picture, test: Samples, probes: Probes | None, seen: Survey, asked: _Asked
) -> float | None:
    """One pass over the ID test data for all that is measured there; returns the network's own accuracy, if it has one."""
    wanted = set(asked.quantities)
    labels, y = np.unique(test.y, return_inverse=True)
    scorer = None if probes is None else Scorer(probes, test)
    chosen = np.sort(generator(asked.view.seed, "cka samples").permutation(len(test))[: asked.cka_samples])
    kept: dict[str, list[Tensor]] = {name: [] for name in picture.layers}
    right = torch.zeros((), dtype=torch.int64)
    costs = {name: 8 * d * min(d, len(test)) if "rank" in wanted else 0 for name, d in seen.widths.items()}
    for number, group in enumerate(groups(costs, asked.memory_gb, "The covariance")):
        spectra = {name: Spectrum() for name in group if "rank" in wanted}
        spreads = {name: Moments(len(labels), products=False) for name in group if "variance" in wanted}
        with frozen(net, group, asked.view) as trunk:
            for rows, found in stream(trunk, test, asked.batch):
                here = torch.from_numpy(np.flatnonzero(np.isin(rows, chosen)))
                if scorer is not None:
                    scorer.add(rows, found.features)
                for name, x in found.features.items():
                    if name in spectra:
                        spectra[name].add(x)
                    if name in spreads:
                        spreads[name].add(x, torch.from_numpy(y[rows]))
                    if "cka" in wanted:
                        kept[name].append(x[here.to(x.device)])
                if number == 0 and seen.output is not None:
                    right += (found.output.argmax(1).cpu() == torch.from_numpy(test.y[rows])).sum()
        tell_group(picture, spectra, spreads, asked.threshold, asked.fewest)
    if "cka" in wanted:
        tell_cka(picture, cka([torch.cat(kept[name]) for name in picture.layers], asked.debiased))
    if scorer is not None:
        picture.bits |= {("id", name): bits for name, bits in scorer.bits.items()}
    return None if seen.output is None else float(right) / len(test)
