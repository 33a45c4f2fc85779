"""Where a modulator takes hold of the trunk: in the projections, in the feed-forward net, after either, or in front."""

from torch import Tensor


class Change:
    """What a modulator does in a forward pass; this one does nothing. Tensors are [B, T, ...] of the batch that is passed."""

    def projected(self, layer: int, x: Tensor, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values [B, T, D] of a layer, made from x."""
        return q, k, v

    def attended(self, layer: int, h: Tensor) -> Tensor:
        """What attention gives [B, T, D]."""
        return h

    def inner(self, layer: int, h: Tensor) -> Tensor:
        """The feed-forward net's inside [B, T, 4 D] before its activation."""
        return h

    def active(self, layer: int, h: Tensor) -> Tensor:
        """The same after its activation."""
        return h

    def fed(self, layer: int, h: Tensor) -> Tensor:
        """What the feed-forward net gives [B, T, D]."""
        return h

    def prefix(self, layer: int) -> tuple[Tensor, Tensor] | None:
        """Keys and values [B or 1, L, D] in front of those of the tokens."""
        return None

    def front(self, layer: int) -> Tensor | None:
        """Tokens [B or 1, L, D] in front of a layer's input, in place of those put in front of an earlier layer's."""
        return None
