"""Analyses that every paper can ask for by name: `analysis: {name: layerwise}` in a spec with `of: SPEC`."""

from collections.abc import Iterator
from typing import Any, Literal

from common.analyse import Trained
from common.analysis.onecall import layerwise as picture_of
from common.analysis.probes import Adam, Ridge
from common.analysis.views import View
from common.models.layered import Layered
from common.streams import data
from common.streams.probe_sets import Labelled, in_distribution, out_of_distribution


def layerwise(
    trained: Trained,
    *,
    layers: list[str] | str = "relu",
    probe: Literal["ridge", "adam"] = "ridge",
    probe_seeds: int = 1,
    pool: Literal["flatten", "pool2", "gap"] = "flatten",
    max_features: int | None = 1024,
    train_per_class: int | None = None,
    test_per_class: int | None = None,
    ood_data: str | None = None,
    ood_classes: list[int] | None = None,
    ood_count: int | None = None,
    ood_draw: int | None = 0,
    cka_samples: int = 2000,
    after: int | None = None,
) -> Iterator[dict[str, Any]]:
    """Per layer: probe accuracy in and out of distribution, rank, variances, similarity; of the network: s95, s98 and more.

    layers: `relu`, `conv` or `conv2` of a network of named layers, or module names with wildcards (of any other network).
    ood_data: a data set to probe with (null: the classes of the run's own data set that it never saw); ood_classes, or
    ood_count classes drawn by ood_draw. after: the weights after that many updates (null: the final ones).
    Facts: layer, index, quantity, value. Source: tunnel effect, Figs. 1-4 and 7.
    """
    if after is not None:
        trained.net.load_state_dict(trained.weights(after))
    outside = data.load(ood_data) if ood_data else trained.stream.images
    each = {"train_per_class": train_per_class, "test_per_class": test_per_class}
    own = in_distribution(trained.stream, **each)
    other = out_of_distribution(trained.stream, outside, ood_classes, count=ood_count, draw=ood_draw, **each)
    picture = picture_of(
        trained.net,
        names_of(trained, layers),
        *map(pair, (own.train, own.test, other.train, other.test)),
        probe=Ridge() if probe == "ridge" else Adam(seed=trained.spec.seed, seeds=probe_seeds),
        view=View(pool, max_features),
        cka_samples=cka_samples,
    )
    yield from picture.rows


def names_of(trained: Trained, layers: list[str] | str) -> list[str] | str:
    """Module names for one of the words that a network of named layers knows; anything else as it is."""
    if isinstance(trained.net, Layered) and layers in ("relu", "conv", "conv2", "all"):
        return trained.net.layers(layers)  # type: ignore[arg-type]
    return layers


def pair(part: Labelled) -> tuple[Any, Any]:
    """(all pictures normalised, labels)."""
    return part.x, part.y
