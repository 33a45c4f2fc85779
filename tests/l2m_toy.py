"""Short runs of papers/l2m on the toy worlds: data, pre-training, keys, and every method."""

from typing import Any

TINY: dict[str, Any] = {"name": "papers.l2m.model.mddt", "width": 32, "depth": 2, "attention_heads": 2, "types": True}
STREAM: dict[str, Any] = {
    "name": "papers.l2m.sequences.sequences", "play": ["east", "north", "west", "south"], "context": 3, "layout": "6",
    "actions": 3, "worlds": "tests.l2m_points.make", "together": 8,
}  # fmt: skip
RUN: dict[str, Any] = {
    "data": {"spec": "toy/trajectories", "seed": 0},
    "stream": STREAM | {"learn": ["west", "south"]},
    "model": TINY,
    "learner": {"name": "papers.l2m.learners.finetuning.FineTune"},
    "optimiser": {"name": "adamw_scheduled", "lr": 0.003, "fresh": False},
    "budget": {"iterations": 6, "batch": 16},
    "evaluation": {"every": 0, "samples": 2},
    "parent": {"spec": "toy/pretrain", "take": "all"},
}
PRETRAIN: dict[str, Any] = RUN | {
    "stream": STREAM | {"learn": ["east"], "beside": ["north"], "joint": True},
    "learner": {"name": "papers.l2m.learners.finetuning.Pretrain", "standardise": True},
    "budget": {"iterations": 8, "batch": 16},
    "parent": None,
}
POOL, SINGLE, ANCHORED = (f"papers.l2m.learners.{n}" for n in ("pools.Pool", "single.Single", "regularised.Anchored"))
METHODS: dict[str, dict[str, Any]] = {
    "FT": {},
    "FT-last": {"learner": {"name": "papers.l2m.learners.finetuning.FineTune", "parts": "last"}},
    "FT-head": {"learner": {"name": "papers.l2m.learners.finetuning.FineTune", "parts": "head"}},
    "EWC": {"learner": {"name": ANCHORED, "batches": 2, "fisher_batch": 8}},
    "L2": {"learner": {"name": ANCHORED, "importance": "one"}},
    **{
        kind: {"learner": {"name": SINGLE, "kind": kind, "length": 4, "rank": 2}}
        for kind in ("lora", "ia3", "adapter", "prompt", "prefix", "deep_prompt")
    },
    **{
        f"L2P {kind}": {"learner": {"name": POOL, "kind": kind, "pool": 8, "top": 3, "length": 2}}
        for kind in ("prompt", "prefix", "deep_prompt")
    },
    "L2M": {"learner": {"name": POOL, "pool": 6, "rank": 2, "key_times": 10}},
    "L2M-IA3": {"learner": {"name": POOL, "kind": "ia3", "pool": 6}},
    "L2M-oracle": {"learner": {"name": POOL, "pool": 6, "rank": 2, "oracle": True}},
    "L2M old keys": {
        "learner": {"name": POOL, "pool": 6, "rank": 2, "key_times": 10},
        "model": {"old_keys": 5},
        "parent": {"spec": "toy/keys", "take": "all"},
    },
    "joint": {"stream": {"joint": True, "beside": ["east", "north"]}},
}


def write(paper: Any) -> None:
    """Writes the specs of the toy paper with `paper`, the fixture."""
    tiers = {"tiers": {"smoke": {}}}
    paper("trajectories", {"run": {"collection": {"name": "tests.l2m_points.collect"}}, **tiers})
    paper("pretrain", {"run": PRETRAIN, **tiers})
    keys = {"learner": {"name": "papers.l2m.learners.keys.OldKeys"}, "model": TINY | {"old_keys": 5}}
    parent = {"parent": {"spec": "toy/pretrain", "take": "all"}}
    paper("keys", {"run": PRETRAIN | keys | parent, **tiers})
    paper("methods", {"run": RUN, "cases": METHODS, **tiers})
