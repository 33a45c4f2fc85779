"""The multi-domain decision transformer (MDDT): one causal transformer over states, returns-to-go, action bins and rewards.

A time step is the tokens state, return-to-go, a_1 .. a_A, reward; each action dimension is predicted at the token before it.
Every token gets the embedding of its absolute time step, nothing else tells its place (but `types`, one row a kind of token).
Windows are filled up at their end, where a causal model cannot look, so no mask is needed. GPT-2's blocks, layer norm first.
Source: Schmied and others, NeurIPS 2023, Sec. 3 and the released code.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from papers.l2m.bins import BINS, bins
from papers.l2m.changes import Change

VERSION = 1
STEPS = 1000  # time steps that have an embedding
CLAMP = 10.0  # a standardised state stays within
Cache = list[tuple[Tensor, Tensor]]  # keys and values of each layer


class Block(nn.Module):
    """A layer: attention, then a feed-forward net, each added to what came in."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.p = heads, dropout
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.drop = nn.Dropout(dropout)

    def forward(self, h: Tensor, layer: int, change: Change, cache: Cache | None) -> Tensor:
        """[B, T, D] -> [B, T, D]; with a cache, after the tokens that it holds, which these then join."""
        h = h + self.drop(change.attended(layer, self.attention(self.norm1(h), layer, change, cache)))
        inner = change.inner(layer, self.up(self.norm2(h)))
        fed = self.down(change.active(layer, gelu(inner, approximate="tanh")))
        return h + self.drop(change.fed(layer, fed))

    def attention(self, x: Tensor, layer: int, change: Change, cache: Cache | None) -> Tensor:
        """Causal attention, over what the change puts in front of the keys and values as well."""
        q, k, v = change.projected(layer, x, *self.qkv(x).chunk(3, dim=-1))
        first = cache is None or len(cache) <= layer
        if first and (front := change.prefix(layer)) is not None:
            k, v = (
                torch.cat((rows.to(t.dtype).expand(len(t), -1, -1), t), 1)
                for rows, t in zip(front, (k, v), strict=True)
            )
        if cache is not None:
            if first:
                cache.append((k, v))
            else:
                k, v = torch.cat((cache[layer][0], k), 1), torch.cat((cache[layer][1], v), 1)
                cache[layer] = k, v
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (q, k, v))
        new, known = q.shape[2], k.shape[2]
        mask = None
        if 1 < new < known:  # a token sees all that was there before, and what came with it up to itself
            mask = torch.ones(new, known, dtype=torch.bool, device=q.device).tril(known - new)
        p = self.p if self.training else 0.0
        seen = scaled_dot_product_attention(q, k, v, mask, p, is_causal=mask is None and new > 1)
        return self.out(seen.transpose(1, 2).flatten(2))


class Trunk(nn.Module):
    """Everything but the action head. shape: time steps of a window, numbers of a state, dimensions of an action."""

    def __init__(self, shape: Sequence[int], width: int, depth: int, heads: int, dropout: float, types: bool) -> None:
        super().__init__()
        _, self.states, self.actions = shape
        self.width, self.depth, self.tokens = width, depth, self.actions + 3
        self.state, self.goal, self.reward = nn.Linear(self.states, width), nn.Linear(1, width), nn.Linear(1, width)
        self.action, self.time = nn.Embedding(BINS, width), nn.Embedding(STEPS, width)
        self.types = nn.Parameter(torch.zeros(self.tokens, width)) if types else None
        self.norm, self.drop, self.last = nn.LayerNorm(width), nn.Dropout(dropout), nn.LayerNorm(width)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(depth))
        self.mean: Tensor
        self.scale: Tensor
        self.register_buffer("mean", torch.zeros(self.states))
        self.register_buffer("scale", torch.ones(self.states))
        self.apply(_begin)

    def split(self, x: Tensor) -> tuple[Tensor, ...]:
        """(states, returns-to-go, actions, rewards, time steps, whether it is there) of packed windows [B, K, S + A + 4]."""
        return x.split((self.states, 1, self.actions, 1, 1, 1), dim=-1)

    def embed(self, x: Tensor) -> Tensor:
        """[B, K, A + 3, D]: the tokens of packed windows, as they enter the first layer but for dropout."""
        states, goals, actions, rewards, times, _ = self.split(x)
        states = ((states - self.mean) * self.scale).clamp(-CLAMP, CLAMP)
        ends = [self.state(states).unsqueeze(2), self.goal(goals).unsqueeze(2)]
        rows = torch.cat([*ends, self.action(bins(actions)), self.reward(rewards).unsqueeze(2)], dim=2)
        return self.placed(rows, times, slice(None))

    def placed(self, rows: Tensor, times: Tensor, kinds: slice) -> Tensor:
        """Tokens [B, K, kinds, D] with time step [B, K, 1] and kind, normalised."""
        rows = rows + self.time(times.long().clamp(0, STEPS - 1))
        return self.norm(rows if self.types is None else rows + self.types[kinds])

    def run(self, tokens: Tensor, change: Change, cache: Cache | None = None) -> Tensor:
        """[B, T, D] -> [B, T, D] through all layers; with a cache, after the tokens that it holds."""
        h, front = self.drop(tokens), 0
        begins = not cache
        for layer, block in enumerate(self.blocks):
            if begins and (rows := change.front(layer)) is not None:
                h, front = torch.cat((rows.to(h.dtype).expand(len(h), -1, -1), h[:, front:]), 1), rows.shape[1]
            h = block(h, layer, change, cache)
        return self.last(h[:, front:])

    @torch.no_grad()
    def passed(self, tokens: Tensor, layers: int) -> Tensor:
        """[B, K, A + 3, D]: tokens of windows after that many layers, unmodulated and without a gradient."""
        h = self.drop(tokens.flatten(1, 2))
        for layer, block in enumerate(self.blocks[:layers]):
            h = block(h, layer, Change(), None)
        return h.view_as(tokens)


class MDDT(nn.Module):
    """trunk, head, and the keys of pre-training tasks where a spec asks for them (learners/keys.py trains them).

    A learner may add a modulator, and keys to choose one by. query_layer: layers that a query's tokens have passed.
    """

    modulator: Any
    keys: nn.Parameter

    def __init__(self, trunk: Trunk, old_keys: int, query_layer: int = 0) -> None:
        super().__init__()
        self.trunk, self.head, self.query_layer = trunk, nn.Linear(trunk.width, BINS), query_layer
        _begin(self.head)
        first = torch.empty(old_keys, trunk.width).uniform_(-1, 1)
        self.old_keys = nn.Parameter(first) if old_keys else None

    def forward(self, x: Tensor) -> Tensor:
        """Scores [B, K, A, 64] of the bins of every action of packed windows, unmodulated."""
        return self.decide(self.trunk.embed(x), Change())

    def decide(self, tokens: Tensor, change: Change) -> Tensor:
        """Scores [B, K, A, 64] of the bins of every action, from embedded tokens [B, K, A + 3, D]."""
        h = self.trunk.run(tokens.flatten(1, 2), change).view_as(tokens)
        return self.head(h[:, :, 1 : self.trunk.actions + 1])

    def query(self, tokens: Tensor, there: Tensor) -> Tensor:
        """[B, D]: mean of the state tokens over the time steps that are there [B, K, 1]; after `query_layer` layers unmodulated."""
        if self.query_layer:
            tokens = self.trunk.passed(tokens, self.query_layer)
        return (tokens[:, :, 0] * there).sum(1) / there.sum(1).clamp(min=1)


def _begin(module: nn.Module) -> None:
    """First values as GPT-2's: normal with deviation 0.02, no offsets."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)


def mddt(
    shape: Sequence[int],
    classes: int,
    *,
    width: int = 768,
    depth: int = 6,
    attention_heads: int = 12,
    dropout: float = 0.1,
    types: bool = False,
    old_keys: int = 0,
    query_layer: int = 0,
) -> MDDT:
    """The paper's "40M" model, or one of another size. types: an embedding of the kind of token. old_keys: keys of the
    pre-training tasks. query_layer: how many layers of the frozen net a query's tokens have passed (the paper: none)."""
    return MDDT(Trunk(shape, width, depth, attention_heads, dropout, types), old_keys, query_layer)
