"""The options of each part of a run: frozen dataclasses, checked at birth."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from tellapart.errors import require

GROUP_FORMS = "column:NAME, folder, folder:N (the N-th from the top, from 1), name:REGEX or burst"


@dataclass(frozen=True, kw_only=True)
class SplitOptions:
    """How the images are divided where the source does not say."""

    val: float = 0.15  # share of the images, in [0, 1); 0: no val, so no calibration
    test: float = 0.15  # share of the images, in (0, 1)
    group_by: str | None = (
        None  # what stays on one side, in one of GROUP_FORMS; none: the groups that a table states
    )

    def __post_init__(self) -> None:
        require(0 <= self.val < 1, "split.val", self.val, "must be in [0, 1)")
        require(0 < self.test < 1, "split.test", self.test, "must be above 0 and below 1")
        require(
            self.val + self.test < 1,
            "split.val",
            self.val,
            "plus split.test must leave something to train on",
        )
        rule = "" if self.group_by is None else _broken_group_rule(self.group_by)
        require(not rule, "split.group_by", self.group_by, rule)

    @property
    def group_column(self) -> str | None:
        """The column of a table that `group_by` names, if it names one."""
        form, _, name = (self.group_by or "").partition(":")
        return name if form == "column" else None


@dataclass(frozen=True, kw_only=True)
class BackboneOptions:
    """The network without its classifier."""

    name: str = (
        "tf_efficientnet_lite0"  # any timm name, or a network of tellapart's own: lenet, cnn
    )
    pretrained: bool = True  # false: it begins at random numbers
    weights: str | None = (
        None  # a .safetensors or .pth file; none: installed package, then cache, then hub
    )

    def __post_init__(self) -> None:
        require(
            bool(self.name.strip()),
            "backbone.name",
            self.name,
            "must be the name of a timm network",
        )
        require(
            self.pretrained or not self.weights,
            "backbone.weights",
            self.weights,
            "goes with backbone.pretrained=true",
        )


@dataclass(frozen=True, kw_only=True)
class PreprocessingOptions:
    """From an image of any size to the network's square input."""

    mode: Literal["crop", "squash", "pad"] = (
        "crop"  # the centre square; all of it, out of shape; all of it, on grey
    )
    share: float | None = (
        None  # of the short side that "crop" keeps, in (0, 1]; none: as the network was trained
    )
    size_px: int | None = None  # side of the network's input; none: as the network was trained
    filter: Literal["bicubic", "bilinear"] | None = (
        None  # of the resize; none: as the network was trained
    )
    mean: tuple[float, ...] | None = (
        None  # of R, G, B for pixels in [0, 1]; none: as the network was trained
    )
    std: tuple[float, ...] | None = (
        None  # of R, G, B for pixels in [0, 1]; none: as the network was trained
    )
    grey: bool = False  # one channel of luminance instead of three

    def __post_init__(self) -> None:
        require(
            self.share is None or 0.1 <= self.share <= 1,
            "preprocessing.share",
            self.share,
            "must be in [0.1, 1]",
        )
        require(
            self.share is None or self.mode == "crop",
            "preprocessing.share",
            self.share,
            "goes with mode=crop only",
        )
        require(
            self.size_px is None or 32 <= self.size_px <= 2048,
            "preprocessing.size_px",
            self.size_px,
            "is 32 to 2048",
        )
        for name, values in (("mean", self.mean), ("std", self.std)):
            require(
                values is None or len(values) == 3,
                f"preprocessing.{name}",
                values,
                "must be three numbers",
            )
        require(
            self.std is None or min(self.std) > 0, "preprocessing.std", self.std, "must be above 0"
        )


@dataclass(frozen=True, kw_only=True)
class HeadOptions:
    """What stands on the features: a logistic regression, or what is trained together with the
    backbone.
    """

    folds: int = 5  # inside train, to choose the regularisation
    c_values: tuple[float, ...] = (
        1e-4,
        3e-4,
        1e-3,
        3e-3,
        1e-2,
        3e-2,
        1e-1,
        1.0,
    )  # tried: C of scikit-learn
    weighting: Literal["none", "balanced"] = "none"  # balanced: each class counts the same
    hidden: tuple[
        int, ...
    ] = ()  # widths of the layers with ReLU before the last one; none: one linear layer
    logits: Literal["classes", "one"] = (
        "classes"  # one: a single logit for two classes, with training.loss=bce
    )

    def __post_init__(self) -> None:
        require(2 <= self.folds <= 20, "head.folds", self.folds, "must be 2 to 20")
        require(len(self.c_values) > 0, "head.c_values", self.c_values, "must name at least one")
        require(
            all(c > 0 for c in self.c_values), "head.c_values", self.c_values, "must be above 0"
        )
        require(
            all(1 <= width <= 65536 for width in self.hidden),
            "head.hidden",
            self.hidden,
            "must be widths from 1",
        )


@dataclass(frozen=True, kw_only=True)
class AnswerOptions:
    """When the model says that it does not know."""

    target_accuracy: float = (
        0.95  # answers below the confidence that reaches this on val are "unsure"
    )
    familiar_share: float = (
        0.99  # share of val images that count as familiar; the rest is "unfamiliar"
    )

    def __post_init__(self) -> None:
        require(
            0.5 <= self.target_accuracy < 1,
            "answer.target_accuracy",
            self.target_accuracy,
            "must be in [0.5, 1)",
        )
        require(
            0.5 <= self.familiar_share <= 1,
            "answer.familiar_share",
            self.familiar_share,
            "must be in [0.5, 1]",
        )


@dataclass(frozen=True, kw_only=True)
class DecodingOptions:
    """What is read from a file at all."""

    max_pixels: int = (
        89_478_485  # width x height; a larger image is rejected as too_large before it is decoded
    )
    lost_share: float = (
        0.01  # of the train or val images that may change or vanish while a run uses them
    )

    def __post_init__(self) -> None:
        require(
            1 <= self.max_pixels <= 2**31,
            "decoding.max_pixels",
            self.max_pixels,
            "must be 1 to 2147483648",
        )
        require(
            0 <= self.lost_share <= 1, "decoding.lost_share", self.lost_share, "must be in [0, 1]"
        )


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """Gradient training: the loop, its optimizer and its schedule."""

    epochs: int = 10  # passes over the train images, at most
    batch_size: int = 32  # images an optimizer step, of all processes together
    accumulation: int = 1  # parts of a batch whose gradients are added: less memory, the same step but for BatchNorm
    sampling: Literal["shuffled", "balanced", "weighted"] = (
        "shuffled"  # balanced: each class is drawn as often
    )
    weight_column: str | None = (
        None  # of a table, for sampling=weighted: how often an image is drawn
    )
    loss: Literal["cross_entropy", "bce"] = "cross_entropy"  # bce: binary cross-entropy with logits
    label_smoothing: float = 0.0  # in [0, 1); of cross_entropy
    optimizer: Literal["sgd", "adam", "adamw"] = (
        "adamw"  # adamw: weight decay apart from the gradient
    )
    lr: float = 1e-3  # of the head, at the schedule's peak
    backbone_lr: float = 1.0  # the backbone's rate, as a multiple of lr
    layer_decay: float = 1.0  # in (0, 1]: the rate of each stage is that of the next one times this
    momentum: float | None = None  # of sgd; none: 0.9
    weight_decay: float = 0.0  # of the optimizer
    schedule: Literal["constant", "cosine", "multi_step", "one_cycle"] = (
        "cosine"  # a step at a time
    )
    warmup_steps: int = (
        0  # in which the rate rises to its peak, at most a quarter of all; not of one_cycle
    )
    lr_end: float | None = None  # where cosine ends; none: 0
    milestones: tuple[int, ...] = ()  # epochs done when multi_step multiplies the rate by gamma
    gamma: float | None = None  # of multi_step; none: 0.1
    freeze_batch_norm: bool = (
        False  # BatchNorm layers that learn keep their running statistics as they are
    )
    clip_norm: float | None = None  # largest length of the gradient
    precision: Literal["full", "bf16", "fp16"] = "full"  # fp16 needs a GPU
    monitor: str = "loss"  # the metric of val that picks the best checkpoint
    patience: int | None = None  # epochs without a better one, then it stops early
    evaluate_train: bool = False  # each epoch, as val is
    budget_minutes: float | None = (
        None  # for the whole command; the epochs are as many as fit, at most `epochs`
    )
    print_every: int | None = None  # optimizer steps between printed mean losses
    checkpoint_seconds: float = 60.0  # between checkpoints; there is one after each epoch too
    trackers: tuple[str, ...] = ("tensorboard",)  # any that accelerate knows
    threads: int | None = None  # of torch; none: what is fastest for this network here is measured
    memory_format: Literal["measured", "contiguous", "channels_last"] = (
        "measured"  # fastest, oneDNN or not
    )
    memory_share: float = (
        0.25  # of the machine's memory that decoded images may take; above it they are read anew
    )

    def __post_init__(self) -> None:
        require(1 <= self.epochs <= 100_000, "training.epochs", self.epochs, "must be at least 1")
        require(
            1 <= self.batch_size <= 2**20,
            "training.batch_size",
            self.batch_size,
            "must be at least 1",
        )
        require(
            1 <= self.accumulation <= self.batch_size,
            "training.accumulation",
            self.accumulation,
            "must be 1 to the batch size",
        )
        require(
            0 <= self.label_smoothing < 1,
            "training.label_smoothing",
            self.label_smoothing,
            "must be in [0, 1)",
        )
        require(self.lr > 0, "training.lr", self.lr, "must be above 0")
        require(self.backbone_lr > 0, "training.backbone_lr", self.backbone_lr, "must be above 0")
        require(
            0 < self.layer_decay <= 1, "training.layer_decay", self.layer_decay, "must be in (0, 1]"
        )
        require(
            self.momentum is None or 0 <= self.momentum < 1,
            "training.momentum",
            self.momentum,
            "is in [0, 1)",
        )
        require(
            self.weight_decay >= 0, "training.weight_decay", self.weight_decay, "must be 0 or more"
        )
        require(
            self.warmup_steps >= 0, "training.warmup_steps", self.warmup_steps, "must be 0 or more"
        )
        require(
            self.lr_end is None or 0 <= self.lr_end <= self.lr,
            "training.lr_end",
            self.lr_end,
            "is in [0, lr]",
        )
        require(
            all(m >= 1 for m in self.milestones),
            "training.milestones",
            self.milestones,
            "must be epochs from 1",
        )
        require(
            self.gamma is None or self.gamma > 0, "training.gamma", self.gamma, "must be above 0"
        )
        require(
            self.clip_norm is None or self.clip_norm > 0,
            "training.clip_norm",
            self.clip_norm,
            "must be above 0",
        )
        require(
            self.patience is None or self.patience >= 1,
            "training.patience",
            self.patience,
            "must be at least 1",
        )
        for name in ("budget_minutes", "print_every", "threads"):
            value = getattr(self, name)
            require(value is None or value > 0, f"training.{name}", value, "must be above 0")
        require(
            self.checkpoint_seconds >= 0,
            "training.checkpoint_seconds",
            self.checkpoint_seconds,
            "is 0 or more",
        )
        require(
            0 <= self.memory_share <= 0.9,
            "training.memory_share",
            self.memory_share,
            "must be in [0, 0.9]",
        )
        self._check_companions()

    def _check_companions(self) -> None:
        """An option that another one leaves without effect is refused."""
        for name, of, values in (
            ("label_smoothing", "loss", ("cross_entropy",)),
            ("weight_column", "sampling", ("weighted",)),
            ("momentum", "optimizer", ("sgd",)),
            ("lr_end", "schedule", ("cosine",)),
            ("milestones", "schedule", ("multi_step",)),
            ("gamma", "schedule", ("multi_step",)),
            ("warmup_steps", "schedule", ("constant", "cosine", "multi_step")),
        ):
            value = getattr(self, name)
            rule = f"goes with training.{of}={' or '.join(values)} only"
            require(
                getattr(self, of) in values or value in (None, 0, ()),
                f"training.{name}",
                value,
                rule,
            )
        need = {"weighted": self.weight_column is not None}.get(self.sampling, True)
        require(need, "training.sampling", self.sampling, "needs training.weight_column")
        need = self.schedule != "multi_step" or len(self.milestones) > 0
        require(need, "training.schedule", self.schedule, "needs training.milestones")


@dataclass(frozen=True, kw_only=True)
class FreezeOptions:
    """Which part of the backbone does not learn."""

    upto: str | None = (
        None  # "all", a stage of the network or a share of them ("40%", at least one); none: all learns
    )
    batch_norm: bool = (
        True  # false: BatchNorm layers of the frozen part still update their running statistics
    )
    unfreeze: tuple[
        str, ...
    ] = ()  # "2:layer4": after 2 epochs it and all behind it learn; "2:40%": all but 40 %
    views: int | None = (
        None  # how many augmented views of the frozen part's outputs are kept, as far as they fit
    )

    def __post_init__(self) -> None:
        require(
            self.views is None or self.views >= 1, "freeze.views", self.views, "must be at least 1"
        )
        for name, value in (
            ("batch_norm", not self.batch_norm),
            ("unfreeze", self.unfreeze),
            ("views", self.views),
        ):
            require(
                self.upto is not None or not value,
                f"freeze.{name}",
                getattr(self, name),
                "needs freeze.upto",
            )
        still = self.views is None or self.batch_norm
        require(still, "freeze.views", self.views, "goes with freeze.batch_norm=true only")
        ordered = all(re.fullmatch("[1-9][0-9]{0,5}:.+", one) for one in self.unfreeze)
        require(
            ordered, "freeze.unfreeze", self.unfreeze, "must be like 2:layer3,4:all or 2:80%,4:all"
        )


# Of augmentation: the options that say how another one works, and mean nothing where it is 0.
COMPANIONS = {"rotate": ("rotate_degrees", "border"), "dropout": ("dropout_holes", "dropout_px")}


@dataclass(frozen=True, kw_only=True)
class AugmentationOptions:
    """What happens to a train image by chance, anew each epoch, in this order. A bare name is a
    probability.
    """

    invariant: bool = (
        False  # add each flip and the quarter turns that do not raise the probe's loss on val
    )
    crop_area: float | None = (
        None  # a random part of the image, of at least this share of its area, in (0, 1)
    )
    shift_px: int = 0  # shifted by up to so many pixels each way, the border reflected
    flip: float = 0.0  # left-right
    flip_vertical: float = 0.0  # upside down
    quarter_turn: float = 0.0  # by 90, 180 or 270 degrees
    rotate: float = 0.0  # by any angle up to rotate_degrees
    rotate_degrees: float = 45.0  # at most, either way
    border: Literal["reflect", "fill"] = (
        "reflect"  # what a rotation shows beyond the edge; fill: the mean colour
    )
    brightness: float = 0.0  # by a factor in 1 ± this
    contrast: float = 0.0  # by a factor in 1 ± this
    saturation: float = 0.0  # by a factor in 1 ± this
    hue: float = 0.0  # of a turn of the colour circle, at most 0.5
    policy: Literal["none", "trivial", "rand"] = "none"  # TrivialAugment, RandAugment
    dropout: float = 0.0  # square holes
    dropout_holes: int = 1  # in an image that has any
    dropout_px: int = 64  # side of a hole
    erase: float = 0.0  # one rectangle of noise
    mixup: float = 0.0  # alpha of the Beta distribution by which two images are mixed; 0: not
    cutmix: float = 0.0  # alpha, likewise, for a rectangle of another image; with both, each batch has one of them

    def __post_init__(self) -> None:
        crop = self.crop_area
        require(
            crop is None or 0 < crop < 1,
            "augmentation.crop_area",
            crop,
            "must be above 0 and below 1",
        )
        require(
            0 <= self.shift_px <= 256, "augmentation.shift_px", self.shift_px, "must be 0 to 256"
        )
        for name in ("flip", "flip_vertical", "quarter_turn", "rotate", "dropout", "erase"):
            require(
                0 <= getattr(self, name) <= 1,
                f"augmentation.{name}",
                getattr(self, name),
                "must be in [0, 1]",
            )
        for name in ("brightness", "contrast", "saturation"):
            require(
                0 <= getattr(self, name) <= 1,
                f"augmentation.{name}",
                getattr(self, name),
                "must be in [0, 1]",
            )
        require(0 <= self.hue <= 0.5, "augmentation.hue", self.hue, "must be in [0, 0.5]")
        degrees = self.rotate_degrees
        require(
            0 < degrees <= 180,
            "augmentation.rotate_degrees",
            degrees,
            "must be above 0, at most 180",
        )
        require(
            self.dropout_holes >= 1,
            "augmentation.dropout_holes",
            self.dropout_holes,
            "must be at least 1",
        )
        require(
            self.dropout_px >= 1, "augmentation.dropout_px", self.dropout_px, "must be at least 1"
        )
        for name in ("mixup", "cutmix"):
            require(
                getattr(self, name) >= 0,
                f"augmentation.{name}",
                getattr(self, name),
                "must be 0 or more",
            )

    @property
    def changes_anything(self) -> bool:
        """Whether an image can come out other than it went in."""
        return any(
            (
                self.crop_area,
                self.shift_px,
                self.flip,
                self.flip_vertical,
                self.quarter_turn,
                self.rotate,
                self.brightness,
                self.contrast,
                self.saturation,
                self.hue,
                self.policy != "none",
                self.dropout,
                self.erase,
                self.mixup,
                self.cutmix,
            )
        )


def _broken_group_rule(group_by: str) -> str:
    """The rule that a `group_by` breaks, or "" where it breaks none.

    >>> _broken_group_rule("folder:2"), _broken_group_rule("name:(")[:41]
    ('', 'holds no regular expression (missing ), u')
    """
    form, _, value = group_by.partition(":")
    if form == "name" and value:
        try:
            re.compile(value)
        except (re.error, OverflowError, RecursionError) as error:
            return f"holds no regular expression ({error}); it must be {GROUP_FORMS}"
        return ""
    numbered = form == "folder" and re.fullmatch("0*[1-9][0-9]{0,3}", value)
    named = form == "column" and value.strip()
    return "" if numbered or named or group_by in ("folder", "burst") else f"must be {GROUP_FORMS}"
