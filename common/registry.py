"""The names of the parts that come with this repository, and where each of them is."""

from typing import Literal

Kind = Literal["stream", "model", "learner", "optimiser", "augmentation", "analysis", "collection"]
KINDS: tuple[Kind, ...] = ("stream", "model", "learner", "optimiser")  # those that every run has
OPTIONAL: tuple[Kind, ...] = ("augmentation", "analysis", "collection")  # in the identity of the runs that have them

# name -> (dotted path, version). Raise the version when the meaning changes: new run ids follow.
REGISTRY: dict[Kind, dict[str, tuple[str, int]]] = {
    "stream": {
        "split": ("common.streams.builders.split", 1),
        "rotated": ("common.streams.builders.rotated", 1),
        "permuted": ("common.streams.builders.permuted", 1),
        "domains": ("common.streams.builders.domains", 1),
        "subset": ("common.streams.subsets.subset", 1),
        "recurring": ("common.streams.recurring.recurring", 1),
    },
    "model": {
        "mlp": ("common.models.small.mlp", 1),
        "small_cnn": ("common.models.small.small_cnn", 1),
        "slim_resnet18": ("common.models.resnet.slim_resnet18", 1),
        "timm": ("common.models.from_timm.timm_model", 1),
        "mlp_he": ("common.models.deep_mlp.mlp_he", 1),
        "vgg": ("common.models.vgg.vgg", 1),
        "resnet": ("common.models.deep_resnet.resnet", 1),
        "mnist_cnn": ("common.models.scole.mnist_cnn", 1),
        "cifar_resnet": ("common.models.scole.cifar_resnet", 1),
        "wide_resnet": ("common.models.scole.wide_resnet", 1),
    },
    "learner": {
        "finetune": ("common.learners.finetune.Finetune", 1),
        "er": ("common.learners.replay.ER", 1),
        "joint": ("common.learners.replay.Joint", 1),
        "gem": ("common.learners.gem.GEM", 1),
        "agem": ("common.learners.gem.AGEM", 1),
        "ewc": ("common.learners.regularise.EWC", 1),
        "si": ("common.learners.regularise.SI", 1),
        "lwf": ("common.learners.lwf.LwF", 1),
        "masked": ("common.learners.masked.Masked", 1),
    },
    "optimiser": {
        "sgd": ("common.optimisers.sgd", 1),
        "adam": ("common.optimisers.adam", 1),
        "sgd_scheduled": ("common.schedules.sgd_scheduled", 1),
        "adamw_scheduled": ("common.schedules.adamw_scheduled", 1),
    },
    "augmentation": {"crop_flip": ("common.streams.augment.crop_flip", 1)},
    "analysis": {
        "layerwise": ("common.analyses.layerwise", 1),
    },
    "collection": {},
}
