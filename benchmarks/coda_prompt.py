"""CODA-P's training step and a whole evaluation against the released recipe, by turns in one process.

The work: a ViT of width 96, depth 6 and 17 tokens, prompts in five layers (M = 50, L = 8), batch 64, one thread. The recipe,
re-created by hand: a query pass at every step, a trunk that gathers gradients of its weights too (four forward passes a
step), weights of components through a [B, M, D] tensor; evaluation in three passes (all tasks after training; again with
the model loaded anew; with the task known), each with its own query. Ours: no weight gradients, tokens and queries kept,
two matrix products, and one pass whose scores give all three. Both give the same numbers, which is checked first.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

WIDTH, DEPTH, COUNT, LENGTH, BATCH, TASKS, EACH = 96, 6, 50, 8, 64, 5, 64
LAYERS = [0, 1, 2, 3, 4]
TURNS, STEPS = 5, 4


def measure() -> dict[str, float]:
    """Median ratios within a turn: recipe over ours, for a training step and for a whole evaluation; milliseconds."""
    torch.set_num_threads(1)
    net, prompt, x, y = scene()
    held = torch.randn(TASKS * EACH, 3, 32, 32), torch.randint(TASKS * 4, (TASKS * EACH,))
    with torch.no_grad():
        tokens = net.trunk.tokens(x)
        query = net.trunk.encode(tokens)
    _same(net, prompt, x, y, tokens, query, held)
    kept: list[Tensor] = []
    ways: dict[str, Callable[[], object]] = {
        "recipe, step": lambda: [recipe_step(net, prompt, x, y) for _ in range(STEPS)],
        "ours, step": lambda: [our_step(net, tokens, query, y) for _ in range(STEPS)],
        "recipe, evaluation": lambda: recipe_evaluation(net, prompt, *held),
        "ours, evaluation": lambda: our_evaluation(net, *held, kept),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(TURNS + 1):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            if turn:  # the first turn warms up, and fills what is kept for the whole run
                seconds[name].append(time.perf_counter() - began)
    ratios = {
        f"CODA-P {what}: released recipe / ours": statistics.median(
            a / b for a, b in zip(seconds[f"recipe, {what}"], seconds[f"ours, {what}"], strict=True)
        )
        for what in ("step", "evaluation")
    }
    times = {name: 1000 * statistics.median(t) / (STEPS if name.endswith("step") else 1) for name, t in seconds.items()}
    return ratios | {f"ms: CODA-P {name}": value for name, value in times.items()}


def scene() -> tuple[Any, Any, Tensor, Tensor]:
    """(network with prompts in the second task, its prompts, images, labels)."""
    from papers.coda_prompt.coda import Components
    from papers.coda_prompt.vit import small_vit

    torch.manual_seed(0)
    net = small_vit((3, 32, 32), TASKS * 4, width=WIDTH, depth=DEPTH, attention_heads=3, patch=8)
    prompt = Components(LAYERS, LENGTH, WIDTH, 0, COUNT, TASKS, "gram_schmidt", True, True, 0.0)
    prompt.begin(0)
    prompt.begin(1)
    net.prompt = prompt
    return net, prompt, torch.randn(BATCH, 3, 32, 32), torch.randint(TASKS * 4, (BATCH,))


def our_step(net: Any, tokens: Tensor, query: Tensor, y: Tensor) -> list[Tensor]:
    """Gradients of one step as common and papers take it: kept tokens and query, a trunk without gradients."""
    net.trunk.requires_grad_(False)
    learned = [p for p in net.parameters() if p.requires_grad]
    logits, _ = net(None, tokens, query, True)
    return list(torch.autograd.grad(cross_entropy(logits, y), learned))


def recipe_step(net: Any, prompt: Any, x: Tensor, y: Tensor) -> list[Tensor]:
    """The same gradients by the recipe: query anew, weight gradients of the whole trunk too (and dropped)."""
    net.trunk.requires_grad_(True)
    with torch.no_grad():
        query = by_hand(net, x, None)
    loss = cross_entropy(net.head(by_hand(net, x, (prompt, query))), y)
    parameters = list(net.parameters())
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    trunk = {id(p) for p in net.trunk.parameters()}
    return [g for p, g in zip(parameters, found, strict=True) if id(p) not in trunk and g is not None]


def by_hand(net: Any, x: Tensor, prompted: tuple[Any, Tensor] | None) -> Tensor:
    """Class features [B, D], every token carried through all blocks, attention written out."""
    vit = net.trunk.vit
    h = vit._pos_embed(vit.patch_embed(x))
    for index, block in enumerate(vit.blocks):
        q, k, v = _split(block, block.attn.qkv(block.norm1(h)))
        if prompted is not None and index in LAYERS:
            prefix = assembled(prompted[0], prompted[1], index)
            halves = [_heads(block, half) for half in prefix.chunk(2, dim=1)]
            k, v = torch.cat([halves[0], k], 2), torch.cat([halves[1], v], 2)
        weights = (q @ k.mT * block.attn.scale).softmax(-1)
        h = h + block.attn.proj((weights @ v).transpose(1, 2).flatten(2))
        h = h + block.mlp(block.norm2(h))
    features: Tensor = vit.norm(h)[:, 0]
    return features


def _split(block: Any, qkv: Tensor) -> tuple[Tensor, ...]:
    return tuple(_heads(block, part) for part in qkv.chunk(3, dim=-1))


def _heads(block: Any, x: Tensor) -> Tensor:
    return x.unflatten(-1, (block.attn.num_heads, -1)).transpose(1, 2)


def assembled(prompt: Any, query: Tensor, layer: int) -> Tensor:
    """p(x) [B, L, D] of a layer by the definition, with a [B, M, D] tensor."""
    seen = prompt.visible.bool()
    P, K, A = (prompt.table(name)[layer][seen] for name in "PKA")
    attended = normalize(query[:, None] * A, dim=2)
    alpha = torch.einsum("bmd,md->bm", attended, normalize(K, dim=1))
    return torch.einsum("bm,mld->bld", alpha, P.unflatten(-1, (LENGTH, WIDTH)))


def our_evaluation(net: Any, x: Tensor, y: Tensor, kept: list[Tensor]) -> list[Tensor]:
    """Correctness, correctness with the task known, of all tasks from one pass; queries are kept for the whole run."""
    with torch.inference_mode():
        if not kept:
            kept.append(torch.cat([net.trunk(part) for part in x.split(BATCH)]))
        scores = torch.cat([net(part, None, q) for part, q in zip(x.split(BATCH), kept[0].split(BATCH), strict=True)])
        return [scores.argmax(1) == y, known(scores, y)]


def recipe_evaluation(net: Any, prompt: Any, x: Tensor, y: Tensor) -> list[Tensor]:
    """The same by three passes over all tasks: after training, with the model loaded anew, and with the task known."""
    found = []
    with torch.no_grad():
        for way in range(3):
            scores = torch.cat([net.head(by_hand(net, p, (prompt, by_hand(net, p, None)))) for p in x.split(BATCH)])
            found.append(known(scores, y) if way == 2 else scores.argmax(1) == y)
    return [found[0], found[2]]


def known(scores: Tensor, y: Tensor) -> Tensor:
    """Correctness where only the task's own four classes count."""
    task = (torch.arange(scores.shape[1]) // 4)[None] == (y // 4)[:, None]
    return scores.masked_fill(~task, -torch.inf).argmax(1) == y


def _same(
    net: Any, prompt: Any, x: Tensor, y: Tensor, tokens: Tensor, query: Tensor, held: tuple[Tensor, Tensor]
) -> None:
    """Nothing; stops when the two ways do not give the same gradients and answers."""
    ours, theirs = our_step(net, tokens, query, y), recipe_step(net, prompt, x, y)
    assert len(ours) == len(theirs) == len(list(nn.Module.parameters(prompt))) + 2
    matched = sorted(zip(map(_size, ours), map(_size, theirs), strict=True))
    assert all(abs(a - b) <= 1e-4 * max(a, b) + 1e-7 for a, b in matched), matched
    for a, b in zip(our_evaluation(net, *held, []), recipe_evaluation(net, prompt, *held), strict=True):
        assert torch.equal(a, b)


def _size(gradient: Tensor) -> float:
    return float(gradient.norm())


if __name__ == "__main__":
    for name, value in measure().items():
        print(f"{value:8.3f}  {name}")
