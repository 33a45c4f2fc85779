"""The tables of the tunnel effect: where the tunnel starts, exchanged halves, the variables of Harun et al.; means ± SD over seeds.

The numbers of the paper's own tables could not be read, so there is no column for them; those of Harun et al. are the
reported numbers of claims.yaml.
"""

from typing import TYPE_CHECKING

import numpy as np

from common.analysis.tunnel import start
from common.claims import load_claims
from common.drawings import Table
from common.errors import Problem
from common.places import ROOT
from common.table import Tables
from papers.tunnel_effect.panels import cases_of, curves, facts_of

if TYPE_CHECKING:
    import pandas as pd

READINGS = {
    "vgg_layers": "as all claims are judged: ridge probes of what leaves the ReLU",
    "vgg_adam": "probes trained with Adam",
    "vgg_conv": "bare convolutions",
    "vgg_pooled": "maps averaged",
}
NONE = "–"


def mean_sd(values: "pd.Series | np.ndarray", scale: float = 1, digits: int = 1) -> str:
    """ "5.3 ± 0.6"; the mean alone of one value; a dash without any."""
    known = scale * np.asarray(values, dtype=float)
    known = known[~np.isnan(known)]
    if not len(known):
        return NONE
    return f"{known.mean():.{digits}f}" + (f" ± {known.std(ddof=1):.{digits}f}" if len(known) > 1 else "")


def starts(specs: tuple[str, ...], tables: Tables) -> "pd.DataFrame":
    """Network accuracy, where the tunnel starts and its share of the layers, for every case (Tables 2 and 3)."""
    import pandas as pd

    lines = []
    for spec in specs:
        for case, rows in cases_of(tables, spec).items():
            for width, runs in rows.groupby("model.width"):
                many = facts_of(tables, runs)["index"].max()
                lines.append(
                    {
                        "network": f"{runs['model.name'].iloc[0]}, depth {runs['model.depth'].iloc[0]}, width {width}",
                        "case": case or NONE,
                        "layers": f"{many:.0f}",
                        "accuracy (%)": mean_sd(runs["network_accuracy"], 100),
                        "s95": mean_sd(runs["s95"]),
                        "s98": mean_sd(runs["s98"]),
                        "tunnel (% of layers)": mean_sd(runs["tunnel_share"], 100),
                        "OOD kept (%)": mean_sd(runs["ood_retained"], 100),
                    }
                )
    return pd.DataFrame(lines)


def readings(tables: Tables) -> "pd.DataFrame":
    """Where VGG-19's tunnel starts under each reading of what the paper leaves open (probe, tensor, pooling, rule)."""
    import pandas as pd

    lines = []
    for spec, words in READINGS.items():
        runs = tables.where(spec=spec)
        facts = facts_of(tables, runs)
        accuracy, outside = curves(facts, "ID accuracy"), curves(facts, "OOD accuracy")
        whole = curves(facts, "accuracy", at=0)[:, 0]
        line = {"probed": words}
        for name, reference, share, rule in (
            ("s95", whole, 0.95, "reached"),
            ("s98", whole, 0.98, "reached"),
            ("s95 for good", whole, 0.95, "kept"),
            ("s95 of the last probe", accuracy[:, -1], 0.95, "reached"),
        ):
            found = [start(a, r, share, rule) for a, r in zip(accuracy, reference, strict=True)]  # type: ignore[arg-type]
            line[name] = mean_sd(np.array([np.nan if s is None else s for s in found]))
        line["best layer OOD"] = mean_sd(outside.argmax(axis=1) + 1)
        lines.append(line | {"OOD kept (%)": mean_sd(outside[:, -1] / outside.max(axis=1), 100)})
    return pd.DataFrame(lines)


def exchanged(tables: Tables) -> "pd.DataFrame":
    """Accuracy on both tasks with halves exchanged at s95 and at s98 of the first task, each run at its own cut (Table 1)."""
    import pandas as pd

    runs = tables.where(spec="swap")
    facts = facts_of(tables, runs)
    lines = []
    for quantity in ("E1+T1", "E1+T2", "E2+T2", "E2+T1", "E2+T1, new head", "probe of E2"):
        line = {"weights": quantity}
        for rule in ("s95", "s98"):
            for task in (1, 2):
                own = facts[(facts["quantity"] == quantity) & (facts["task"] == task)]
                values = [
                    own[(own["run_id"] == run_id) & (own["split"] == cut)]["value"].mean()
                    for run_id, cut in zip(runs["run_id"].astype(str), runs[f"swap_{rule}"], strict=True)
                ]
                line[f"task {task}, cut at {rule} (%)"] = mean_sd(np.array(values), 100)
        lines.append(line)
    return pd.DataFrame(lines)


def variables(tables: Tables) -> "pd.DataFrame":
    """What the last layer keeps out of distribution, by training variable, beside the change that Harun et al. report."""
    import pandas as pd

    reported = {"crops": "H-crops", "50-classes": "H-classes", "64-pixels": "H-pixels"}
    cases = cases_of(tables, "harun_layers")
    if "plain" not in cases:
        raise Problem("runs of the case plain are missing")
    base = cases["plain"].set_index("seed")["ood_retained"]
    lines = []
    for case in sorted(cases, key=lambda case: (case != "plain", case)):
        runs = cases[case].set_index("seed")
        lines.append(
            {
                "case": case,
                "accuracy (%)": mean_sd(runs["network_accuracy"], 100),
                "OOD kept (%)": mean_sd(runs["ood_retained"], 100),
                "change, ours (pp)": NONE if case == "plain" else mean_sd(runs["ood_retained"] - base, 100),
                "change, Harun et al. (pp)": _reported(reported.get(case)),
                "correlation of ID and OOD curves": mean_sd(runs["id_ood_pearson"], digits=2),
            }
        )
    return pd.DataFrame(lines)


def _reported(claim: str | None) -> str:
    """The number that a claim carries; a dash without one."""
    found = {c.id: c.reported for c in load_claims(ROOT / "papers" / "tunnel_effect" / "claims.yaml")}
    number = found[claim] if claim else None
    return NONE if number is None else f"{number.value:.1f}"


WHOLE = ("vgg_layers", "mlp_layers", "resnet_layers")
TABLES = {
    "starts": Table(
        lambda tables: starts(WHOLE, tables),
        WHOLE,
        "Where the tunnel starts (Fig. 2; the paper: layer 5 of an MLP, 8 of VGG-19).",
    ),
    "table_2": Table(lambda tables: starts(("width_layers",), tables), ("width_layers",), "Width (Table 2)."),
    "table_3": Table(
        lambda tables: starts(("samples_layers", "classes_layers"), tables),
        ("samples_layers", "classes_layers"),
        "Number of training images and of classes (Table 3).",
    ),
    "table_1": Table(exchanged, ("swap",), "Halves of two tasks exchanged (Table 1)."),
    "readings": Table(
        readings, tuple(READINGS), "What the paper leaves open: probe, tensor, pooling and rule, for VGG-19."
    ),
    "variables": Table(variables, ("harun_layers",), "Training variables (Harun et al. 2024)."),
}
