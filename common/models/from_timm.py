"""Any network of timm, by its full name, without pre-trained weights."""

from typing import Literal

import timm
from torch import nn

from common.errors import Problem, nearest
from common.models.small import Net


def timm_model(
    shape: tuple[int, int, int], classes: int, *, tag: str, heads: Literal["single", "multi"] = "single"
) -> Net:
    """timm's network `tag` as trunk, its pooled features under a fresh linear head. Errors: Problem, unknown tag."""
    if tag not in timm.list_models():
        raise Problem(
            f"model.tag is '{tag}', which timm {timm.__version__} does not have.{nearest(tag, timm.list_models())}"
        )
    trunk: nn.Module = timm.create_model(tag, pretrained=False, num_classes=0, in_chans=shape[0])
    return Net(trunk, int(trunk.num_features), classes)  # type: ignore[arg-type]
