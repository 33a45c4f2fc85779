"""Measures of this paper's claims: what the facts of an analysis come to, one number a run.

a(l), o(l): probe accuracy in and out of distribution at layer l = 1 .. N; r(l): numerical rank; p = N, the last hidden
layer. s95 (s98) is the first layer whose probe reaches 95 % (98 %) of the network's own accuracy: the last layer of the extractor.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from common.analysis.tunnel import pearson, spearman, start
from papers.tunnel_effect.measures_between import MEASURES

if TYPE_CHECKING:
    import pandas as pd

Curve = np.ndarray

__all__ = ["MEASURES", "curve", "network", "per_analysis", "per_run"]


def per_run(trace: dict[str, np.ndarray], accuracy: np.ndarray) -> dict[str, float]:
    """Of a run of two tasks: accuracy on each when it was just learned, their mean, and on the first at the end (Fig. 10)."""
    ends = np.searchsorted(trace["step"], trace["ends"], side="right") - 1
    if len(ends) != 2:
        return {}
    one, two = (float(accuracy[row, task]) for task, row in enumerate(ends))
    return {"learned_1": one, "learned_2": two, "learned": (one + two) / 2, "left_1": float(accuracy[-1, 0])}


def per_analysis(name: str, facts: "pd.DataFrame") -> dict[str, float]:
    """Columns that an analysis adds to the table of runs; none for an analysis that is another paper's. NaN: what is looked
    for never happened (a tunnel that never starts)."""
    functions: dict[str, Callable[[Any], dict[str, float]]] = {
        "layerwise": _layers, "swap": _swap, "reset": _reset, "development": _development,
    }  # fmt: skip
    found = functions[name](facts) if name in functions else {}
    return {key: float(value) for key, value in found.items()}


def curve(facts: "pd.DataFrame", quantity: str) -> Curve:
    """A quantity over the layers, in depth order."""
    rows = facts[(facts["quantity"] == quantity) & (facts["index"] > 0)]
    return rows.sort_values("index")["value"].to_numpy(dtype=float)


def network(facts: "pd.DataFrame") -> dict[str, float]:
    """What is said of the network as a whole."""
    rows = facts[facts["index"] == 0]
    return {str(key): float(value) for key, value in zip(rows["quantity"], rows["value"], strict=True)}


def _layers(facts: "pd.DataFrame") -> dict[str, float]:
    """Figs. 1-4, 7; Tables 2 and 3. Shares of N count layers, so that depths can be compared."""
    a, o, r = (curve(facts, name) for name in ("ID accuracy", "OOD accuracy", "rank"))
    whole, n = network(facts), len(a)
    s95, s98 = whole.get("s95", np.nan), whole.get("s98", np.nan)
    found = {
        "network_accuracy": whole.get("accuracy", np.nan),
        "s95": s95,
        "s98": s98,
        "tunnel_share": (n - s95) / n,
        "flat_third": float(np.ptp(a[-max(2, n // 3) :])),
        "kept_after_s95": a[_at(s95) :].min() / whole.get("accuracy", np.nan) if s95 == s95 else np.nan,
        "rank_p": r[-1],
        "rank_fall": r[_at(s98)] / r[-1] if s98 == s98 else np.nan,
        "ood_drop": float(o.max() - o[-1]),
        "ood_retained": o[-1] / o.max(),
        "ood_peak": float(o.argmax() + 1),
        "ood_peak_from_s95": abs(float(o.argmax() + 1) - s95) / n,
        "id_ood_pearson": pearson(a, o),
    }
    stage_end = _end_of_stage_three(facts)
    if stage_end is not None:
        found["spike"] = r[stage_end] / max(r[stage_end - 1], r[stage_end + 1])
    ratio = curve(facts, "within/between")
    late = slice(_at(s98), None) if s98 == s98 else slice(None)
    if len(r[late]) >= 3:
        found["rank_ood_spearman"] = spearman(r[late], o[late])
        found["ratio_spearman"] = spearman(np.arange(len(ratio[late])), ratio[late])
    return found | _similarity(facts, s95)


def _end_of_stage_three(facts: "pd.DataFrame") -> int | None:
    """Place, from 0, of the last block of a residual network's penultimate stage; None for networks without blocks."""
    names = facts[facts["index"] > 0].sort_values("index")["layer"].drop_duplicates().tolist()
    blocks = [name for name in names if "block" in name]
    last = {8: 6, 16: 13}.get(len(blocks))  # of ResNet-18 and ResNet-34
    return None if last is None else names.index(blocks[last - 1])


def _similarity(facts: "pd.DataFrame", s95: float) -> dict[str, float]:
    """Mean CKA to the last hidden layer, over the tunnel and over the extractor (Fig. 4)."""
    last = facts.sort_values("index")["layer"].iloc[-1]
    to_last = curve(facts, f"cka to {last}")
    if s95 != s95 or not 0 < s95 < len(to_last) - 1:
        return {}
    cut = int(s95)
    tunnel, extractor = to_last[cut:-1].mean(), to_last[:cut].mean()  # the last layer is itself
    return {"cka_tunnel": tunnel, "cka_extractor": extractor, "cka_contrast": tunnel - extractor}


def _swap(facts: "pd.DataFrame") -> dict[str, float]:
    """Table 1 at the cuts s95 and s98 of the first task: penalty of a foreign tunnel, gain of leaving the tunnel out."""
    own = _split_curve(facts, "E1+T1", 1)
    e1, e2 = _split_curve(facts, "probe of E1", 1), _split_curve(facts, "probe of E2", 1)
    with_two, after = _split_curve(facts, "E1+T2", 1), _split_curve(facts, "E2+T1, new head", 1)
    found = {
        "acc1": own[0],
        "acc1_after": _split_curve(facts, "E2+T2", 1)[0],
        "acc2": _split_curve(facts, "E2+T2", 2)[0],
    }
    found["forgetting"] = found["acc1"] - found["acc1_after"]
    for share, word in ((0.95, "s95"), (0.98, "s98")):
        s = start(e1, own[0], share)
        found |= {
            f"swap_{word}": np.nan if s is None else s,
            f"swap_penalty@{word}": np.nan if s is None else own[s - 1] - with_two[s - 1],
            f"refit_gain@{word}": np.nan if s is None else e2[s - 1] - after[s - 1],
        }
    for k in range(len(own)):
        found[f"swap_penalty@{k + 1}"] = own[k] - with_two[k]
    return found


def _split_curve(facts: "pd.DataFrame", quantity: str, task: int) -> Curve:
    rows = facts[(facts["quantity"] == quantity) & (facts["task"] == task)]
    return rows.sort_values("split")["value"].to_numpy(dtype=float)


def _reset(facts: "pd.DataFrame") -> dict[str, float]:
    """Accuracy with a reset tunnel as a share of the trained accuracy, cut at the middle and best of all cuts but the last."""
    rows = {
        q: facts[facts["quantity"] == q].sort_values("split")["value"].to_numpy() for q in facts["quantity"].unique()
    }
    plain, refit = rows["tunnel reset"], rows["tunnel reset, new head"]
    middle = len(plain) // 2 - 1  # the cut after half of the layers
    return {"reset_share": plain[middle] / plain[-1], "reset_share_refit": refit[middle] / refit[-1]}


def _development(facts: "pd.DataFrame") -> dict[str, float]:
    """Fig. 6: rank of the last hidden layer early on and at the end; Fig. 5: change of late against early layers."""
    last = facts["index"].max()
    rank = facts[(facts["quantity"] == "rank") & (facts["index"] == last)].sort_values("step")
    by_step = dict(zip(rank["step"], rank["value"], strict=True))
    early = [value for step, value in by_step.items() if step <= 20]
    found = {"rank_p_end": float(rank["value"].iloc[-1]), "rank_p_early": max(early)}
    if 75 in by_step:
        found |= {"rank_p_75": by_step[75], "collapse_75": by_step[75] / max(early)}
    moved = facts[facts["quantity"] == "weight change"]
    last_step = moved[moved["step"] == moved["step"].max()]
    late = last_step["index"] > last / 2
    found["late_change"] = float(last_step[late]["value"].mean() / last_step[~late]["value"].mean())
    return found


def _at(s: float) -> int:
    return int(s) - 1 if s == s else 0
