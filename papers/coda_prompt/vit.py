"""Vision transformers that take prefixes: timm's, read block by block, under one linear head.

A prefix is [B, L, D] for one block: its first L/2 rows go before the keys, the others before the values; queries, the
residual stream and the number of tokens stay (CODA-Prompt, Sec. 3.2). The official code puts it after the K and V
projections, in the space of the heads ("after"); the paper's equation before them ("before").
"""

from typing import Any, Literal

import timm
import torch
from timm.models import load_checkpoint
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn.functional import interpolate, linear, scaled_dot_product_attention

from common import weights as files
from common.errors import Problem
from common.models.small import Net
from papers.coda_prompt.stems import Stem

VERSION = 1
Prefixes = dict[int, Tensor]  # block, from 0 -> [B, L, D]


class Trunk(nn.Module):
    """Class features [B, D] of a vision transformer, whose blocks can be given prefixes.

    held: it stays in evaluation mode, so that normalisation keeps the statistics of its pre-training.
    """

    def __init__(self, vit: VisionTransformer, side: int, insertion: str) -> None:
        super().__init__()
        self.vit, self.side, self.insertion = vit, side, insertion
        self.width, self.depth = int(vit.embed_dim), len(vit.blocks)
        self.held = False

    def train(self, mode: bool = True) -> "Trunk":
        """As nn.Module.train, but a held trunk stays in evaluation mode."""
        return super().train(mode and not self.held)

    def tokens(self, images: Tensor) -> Tensor:
        """[B, N, D]: what enters the first block, the class token first."""
        vit = self.vit
        x: Tensor = vit.norm_pre(vit.patch_drop(vit._pos_embed(vit.patch_embed(fitted(images, self.side)))))
        return x

    def encode(self, tokens: Tensor, prefixes: Prefixes | None = None) -> Tensor:
        """[B, D]: the class token after the last block and its normalisation. Of the last block only that is computed."""
        x = tokens
        for index, block in enumerate(self.vit.blocks):
            prefix = (prefixes or {}).get(index)
            x = through(block, x, prefix, self.insertion, index + 1 == self.depth)
        features: Tensor = self.vit.norm(x[:, 0])
        return features

    def forward(self, images: Tensor) -> Tensor:
        """[B, D] of float images [B, C, H, W]."""
        return self.encode(self.tokens(images))


def through(block: nn.Module, x: Tensor, prefix: Tensor | None, insertion: str, only_class: bool) -> Tensor:
    """[B, N, D] ([B, 1, D] if only_class) after one of timm's blocks with a prefix before its keys and values."""
    if prefix is None and not only_class:
        plain: Tensor = block(x)
        return plain
    own: Any = block
    attention = own.attn
    q, k, v = _heads(attention, attention.qkv(own.norm1(x)), 3)
    q, k = attention.q_norm(q), attention.k_norm(k)
    if prefix is not None:
        pk, pv = _in_head_space(attention, prefix.to(k.dtype), insertion)
        k, v = torch.cat([pk, k], dim=2), torch.cat([pv, v], dim=2)
    if only_class:  # no other token of the last block is read
        q, x = q[:, :, :1], x[:, :1]
    mixed = scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    x = x + own.ls1(attention.proj(attention.norm(mixed)))
    after: Tensor = x + own.ls2(own.mlp(own.norm2(x)))
    return after


def _heads(attention: Any, x: Tensor, parts: int) -> tuple[Tensor, ...]:
    """[B, N, parts * D] -> parts of [B, heads, N, D / heads]."""
    split = x.reshape(*x.shape[:2], parts, attention.num_heads, attention.head_dim)
    return split.permute(2, 0, 3, 1, 4).unbind(0)


def _in_head_space(attention: Any, prefix: Tensor, insertion: str) -> tuple[Tensor, Tensor]:
    """Both halves of a prefix as [B, heads, L/2, D / heads]; "before": through the frozen projections first."""
    pk, pv = prefix.chunk(2, dim=1)
    if insertion == "before":
        _, wk, wv = attention.qkv.weight.chunk(3)
        _, bk, bv = attention.qkv.bias.chunk(3)
        pk, pv = linear(pk, wk, bk), linear(pv, wv, bv)
        return attention.k_norm(_heads(attention, pk, 1)[0]), _heads(attention, pv, 1)[0]
    return _heads(attention, pk, 1)[0], _heads(attention, pv, 1)[0]


def fitted(images: Tensor, side: int) -> Tensor:
    """Images [B, C, side, side]: smaller ones enlarged (bilinear), of larger ones the centre."""
    size = images.shape[-1]
    if size < side:
        return interpolate(images, (side, side), mode="bilinear", align_corners=False)
    first = (size - side) // 2
    return images[:, :, first : first + side, first : first + side] if size > side else images


class PromptNet(Net):
    """Logits [B, classes] from a trunk with prompts (`prompt`: query -> prefixes, None: the plain network).

    prompt(query, learning) gives (prefixes, loss of its own or None). The query is the class feature of the same images
    without prompts, and nothing is learned through it.
    """

    trunk: Trunk

    def __init__(self, trunk: Trunk, classes: int) -> None:
        super().__init__(trunk, trunk.width, classes)
        self.prompt: nn.Module | None = None

    def forward(
        self, images: Tensor | None, tokens: Tensor | None = None, query: Tensor | None = None, learning: bool = False
    ) -> Any:
        """Logits; if learning (logits, the prompts' own loss). tokens and query are computed where they are not given."""
        if tokens is None:
            assert images is not None
            tokens = self.trunk.tokens(images)
        if self.prompt is None:
            logits, own = self.head(self.trunk.encode(tokens)), None
        else:
            if query is None:
                with torch.no_grad():
                    query = self.trunk.encode(tokens)
            prefixes, own = self.prompt(query, learning)
            logits = self.head(self.trunk.encode(tokens, prefixes))
        return (logits, own) if learning else logits


def small_vit(
    shape: tuple[int, int, int],
    classes: int,
    *,
    width: int = 192,
    depth: int = 6,
    attention_heads: int = 3,
    patch: int = 8,
    stem: Literal["patch", "conv"] = "patch",
    insertion: Literal["after", "before"] = "after",
    heads: Literal["single", "multi"] = "single",
) -> PromptNet:
    """A small ViT to be pre-trained here. stem: `patch` of that many pixels, or a residual convolution stem of stride 8."""
    sizes: Any = {
        "embed_dim": width,
        "depth": depth,
        "num_heads": attention_heads,
        "num_classes": 0,
        "in_chans": shape[0],
    }
    kind: Any = {"embed_layer": Stem} if stem == "conv" else {}
    vit = VisionTransformer(img_size=shape[1], patch_size=8 if stem == "conv" else patch, **sizes, **kind)
    return PromptNet(Trunk(vit, shape[1], insertion), classes)


def timm_vit(
    shape: tuple[int, int, int],
    classes: int,
    *,
    tag: str,
    weights: bool = True,
    digest: str | None = None,
    insertion: Literal["after", "before"] = "after",
    heads: Literal["single", "multi"] = "single",
) -> PromptNet:
    """timm's ViT of that full tag with the weights of the file of that name, if it has this digest. Errors: Problem.

    weights: false takes random ones (to measure speed). digest: SHA-256 of the file; null is filled in when a run is
    planned, from the file that is there, so that it is always part of the run's identity.
    """
    vit = timm.create_model(tag, pretrained=False)
    if not isinstance(vit, VisionTransformer) or vit.cls_token is None or vit.global_pool != "token":
        raise Problem(f"model.tag is '{tag}', which is no plain vision transformer with a class token.")
    if weights:
        load_checkpoint(vit, str(files.checked(tag, digest)))
    vit.reset_classifier(0)
    return PromptNet(Trunk(vit, int(vit.patch_embed.img_size[0]), insertion), classes)
