"""The options of each part of a run: frozen dataclasses, checked when they are made."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeVar

from tellapart.errors import require

T = TypeVar("T")

VAL_SHARE = 0.15  # where val is needed and no share is given

LABEL_FORMS = (
    "folder, folder:N (the N-th from the top, from 1), or name:REGEX with one group in brackets"
)
_FOLDER_RULE = "folder(:0*[1-9][0-9]{0,3})?"
_BAD_PATTERNS = (re.error, OverflowError, RecursionError)
COLUMN_WORDS = ("path", "label", "split", "group")
GROUP_FORMS = "column:NAME, folder, folder:N (the N-th from the top, from 1), name:REGEX or burst"


def option(default: T, help: str, choices: tuple[str, ...] | None = None) -> T:
    """A field of a recipe, with what `tellapart recipes` says of it.

    Args:
        default: its value where a recipe does not name it.
        help: what it means, in one or two sentences.
        choices: the names that it takes besides those that the user gives in Python. None means
            that the type says what it takes.
    """
    made: T = field(default=default, metadata={"help": help, "choices": choices})
    return made


class Group:
    """Options whose keys share their beginning."""

    key: ClassVar[str]

    def _require(self, name: str, ok: bool, rule: str) -> None:
        require(ok, f"{self.key}.{name}", getattr(self, name), rule)


@dataclass(frozen=True, kw_only=True)
class DataOptions(Group):
    """How the data is read where looking at it does not tell."""

    key = "data"

    columns: tuple[str, ...] = option(
        (),
        "The columns of a table, as path=FILE,label=KIND. The words on the left are path, label,"
        " split and group. Columns that are not named are found by their usual names.",
    )
    label_by: str | None = option(
        None,
        "Where the label of an image is found: folder (the one that it lies in), folder:N (the N-th"
        " from the top), or name:REGEX (what the group of the pattern finds in its file name). None"
        " takes what fits.",
    )
    crops: bool = option(
        False,
        "Whether each box of a detection set becomes an image of the class of the box. Boxes of one"
        " image stay in one split.",
    )
    fixes: str | None = option(
        None,
        "The file of decisions that tellapart review wrote. It corrects labels and leaves images"
        " out while the data is read; no image file changes.",
    )

    def __post_init__(self) -> None:
        for pair in self.columns:
            word, _, name = pair.partition("=")
            fits = word in COLUMN_WORDS and bool(name)
            self._require("columns", fits, f"must be pairs of {', '.join(COLUMN_WORDS)} = NAME")
        rule = "" if self.label_by is None else _broken_label_rule(self.label_by)
        self._require("label_by", not rule, rule)


@dataclass(frozen=True, kw_only=True)
class SplitOptions(Group):
    """How the images are divided where the source does not say."""

    key = "split"

    val: float | None = option(
        None,
        "The share of the images that validates, in [0, 1). None cuts 0.15 for training by gradient"
        " and for a choice between models. A probe needs no val: its folds do that work.",
    )
    test: float = option(
        0.15,
        "The share of the images that tests, in [0, 1). With 0 there is no test and no score.",
    )
    group_by: str | None = option(
        None,
        f"What must stay on one side of every split: {GROUP_FORMS}. None takes the groups that a"
        " table states.",
    )
    copies: Literal["near", "exact", "off"] = option(
        "near",
        "Which images count as copies and stay on one side of every split. near takes images that"
        " were saved again or edited too, exact takes equal files only, off takes none.",
    )

    def __post_init__(self) -> None:
        val = self.val or 0.0
        self._require("val", 0 <= val < 1, "must be in [0, 1)")
        self._require("test", 0 <= self.test < 1, "must be in [0, 1)")
        left = val + self.test < 1
        self._require("val", left, "plus split.test must leave something to train on")
        rule = "" if self.group_by is None else _broken_group_rule(self.group_by)
        self._require("group_by", not rule, rule)

    def share_of_val(self, needed: bool) -> float:
        """The share of val, where a default depends on whether val is needed.

        Args:
            needed: whether something is chosen or calibrated on val.

        >>> SplitOptions().share_of_val(True), SplitOptions(val=0.3).share_of_val(False)
        (0.15, 0.3)
        """
        if self.val is None:
            return VAL_SHARE if needed else 0.0
        return self.val

    @property
    def group_column(self) -> str | None:
        """The column of a table that `group_by` names, if it names one."""
        form, _, name = (self.group_by or "").partition(":")
        return name if form == "column" else None


@dataclass(frozen=True, kw_only=True)
class BackboneOptions(Group):
    """The network without its classifier."""

    key = "backbone"

    name: str = option(
        "tf_efficientnet_lite0",
        "The network: any name of timm's, lenet or cnn. networks={…} adds your own in Python.",
    )
    pretrained: bool = option(
        True, "Whether the network begins at pretrained weights. False begins at random numbers."
    )
    weights: str | None = option(
        None,
        "A .safetensors or .pth file of weights. None looks in installed packages, then in the"
        " cache, then at the hub.",
    )
    precision: Literal["int8", "fp32"] | None = option(
        None,
        "The numbers that a frozen network calculates with. int8 is smaller, and faster on a CPU."
        " None means int8 where tellapart comes with the network in int8, and fp32 elsewhere.",
    )

    def __post_init__(self) -> None:
        self._require("name", bool(self.name.strip()), "must be the name of a timm network")
        together = self.pretrained or not self.weights
        self._require("weights", together, "goes with backbone.pretrained=true")


@dataclass(frozen=True, kw_only=True)
class PreprocessingOptions(Group):
    """From an image of any size to the network's square input."""

    key = "preprocessing"

    mode: Literal["crop", "squash", "pad"] = option(
        "crop",
        "How an image becomes square. crop keeps the centre, squash changes the shape, pad adds"
        " grey bars.",
    )
    share: float | None = option(
        None,
        "The share of the short side that crop keeps, in [0.1, 1]. None means as the network was"
        " trained.",
    )
    size_px: int | None = option(
        None, "The side of the network's input. None means as the network was trained."
    )
    filter: Literal["bicubic", "bilinear"] | None = option(
        None, "The filter of the resize. None means as the network was trained."
    )
    mean: tuple[float, ...] | None = option(
        None,
        "The mean of R, G and B for pixels in [0, 1], which is subtracted. None means as the"
        " network was trained.",
    )
    std: tuple[float, ...] | None = option(
        None,
        "The standard deviation of R, G and B, which divides. None means as the network was"
        " trained.",
    )
    grey: bool = option(False, "Whether the network takes one channel of luminance, not three.")

    def __post_init__(self) -> None:
        self._require("share", self.share is None or 0.1 <= self.share <= 1, "must be in [0.1, 1]")
        crops = self.share is None or self.mode == "crop"
        self._require("share", crops, "goes with preprocessing.mode=crop only")
        size = self.size_px is None or 32 <= self.size_px <= 2048
        self._require("size_px", size, "must be 32 to 2,048")
        for name, values in (("mean", self.mean), ("std", self.std)):
            self._require(name, values is None or len(values) == 3, "must be three numbers")
        self._require("std", self.std is None or min(self.std) > 0, "must be above 0")


@dataclass(frozen=True, kw_only=True)
class HeadOptions(Group):
    """What stands on the embeddings: a logistic regression, or layers that learn together with the
    backbone.
    """

    key = "head"

    folds: int = option(5, "The number of folds inside train that choose the regularisation.")
    c_values: tuple[float, ...] = option(
        (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 1.0),
        "The regularisations that are tried: values of C, as scikit-learn names it.",
    )
    weighting: Literal["none", "balanced"] = option(
        "none", "What an image counts for. balanced lets each class count the same."
    )
    hidden: tuple[int, ...] = option(
        (), "The widths of the layers with ReLU before the last one. Empty means one linear layer."
    )
    logits: Literal["classes", "one"] = option(
        "classes",
        "How many logits there are. one is a single logit for two classes, with training.loss=bce.",
    )

    def __post_init__(self) -> None:
        self._require("folds", 2 <= self.folds <= 20, "must be 2 to 20")
        self._require("c_values", len(self.c_values) > 0, "must name at least one")
        self._require("c_values", all(c > 0 for c in self.c_values), "must be above 0")
        widths = all(1 <= width <= 65_536 for width in self.hidden)
        self._require("hidden", widths, "must be widths from 1 to 65,536")


@dataclass(frozen=True, kw_only=True)
class AnswerOptions(Group):
    """When the model says that it does not know."""

    key = "answer"

    target_accuracy: float = option(
        0.95,
        'The accuracy that certain answers reach on val. Less certain answers are "unsure".',
    )
    familiar_share: float = option(
        0.99,
        'The chance that a new image of the same kinds counts as familiar. Others are "unfamiliar".',
    )
    leave_one_class_out: Literal["auto", "always", "never"] = option(
        "auto",
        "Whether a probe is measured on classes that it was not shown, each left out once. auto does"
        " so where it takes less than a minute.",
    )
    costs: tuple[str, ...] = option(
        (),
        "What mistakes cost, as wrong=10,unanswered=1. wrong:NAME=100 is for images of one class."
        " Costs decide what is answered, instead of target_accuracy.",
    )

    def __post_init__(self) -> None:
        self._require("target_accuracy", 0.5 <= self.target_accuracy < 1, "must be in [0.5, 1)")
        self._require("familiar_share", 0.5 <= self.familiar_share <= 1, "must be in [0.5, 1]")


@dataclass(frozen=True, kw_only=True)
class DecodingOptions(Group):
    """What is read from a file at all."""

    key = "decoding"

    max_pixels: int = option(
        89_478_485,
        "The largest width x height. A larger JPEG is decoded at a half or less, others are rejected as"
        " too_large.",
    )
    colour: Literal["srgb", "ignore"] = option(
        "srgb",
        "What becomes of a colour profile. srgb converts the colours, ignore takes them as they"
        " are.",
    )
    value_range: tuple[float, ...] | None = option(
        None,
        "The values that become black and white in images of more than 8 bits, as 0,4095. None"
        " takes them from the data.",
    )
    lost_share: float = option(
        0.01,
        "The share of the train or val images that may change or vanish while a run uses them.",
    )

    def __post_init__(self) -> None:
        self._require("max_pixels", 1 <= self.max_pixels <= 2**31, "must be 1 to 2,147,483,648")
        given = self.value_range
        ordered = given is None or (len(given) == 2 and given[0] < given[1])
        self._require("value_range", ordered, "must be two numbers, the smaller first")
        self._require("lost_share", 0 <= self.lost_share <= 1, "must be in [0, 1]")


@dataclass(frozen=True, kw_only=True)
class TrainingOptions(Group):
    """Gradient training: the loop, its optimizer and its schedule."""

    key = "training"

    epochs: int = option(10, "The largest number of passes over the train images.")
    batch_size: int = option(
        32, "The number of images in an optimizer step, of all processes together."
    )
    accumulation: int = option(
        1,
        "The number of parts of a batch whose gradients are added. More parts take less memory and"
        " change BatchNorm alone.",
    )
    sampling: Literal["shuffled", "balanced", "weighted"] = option(
        "shuffled",
        "How an epoch's images are drawn. balanced draws each class as often, weighted goes by"
        " training.weight_column.",
    )
    weight_column: str | None = option(
        None, "The column of a table that says how often an image is drawn with sampling=weighted."
    )
    loss: str = option(
        "cross_entropy",
        "The loss. bce is binary cross-entropy with logits; losses={…} adds your own in Python.",
        choices=("cross_entropy", "bce"),
    )
    label_smoothing: float = option(
        0.0, "How far cross_entropy smooths the labels towards all classes, in [0, 1)."
    )
    optimizer: str = option(
        "adamw",
        "The optimizer. adamw keeps weight decay apart from the gradient; optimizers={…} adds your"
        " own in Python.",
        choices=("sgd", "adam", "adamw"),
    )
    lr: float = option(1e-3, "The learning rate of the head at the schedule's peak.")
    backbone_lr: float = option(1.0, "The backbone's learning rate, as a multiple of training.lr.")
    layer_decay: float = option(
        1.0,
        "The learning rate of each stage, as a multiple of the next stage's, in (0, 1].",
    )
    momentum: float | None = option(None, "The momentum of sgd. None means 0.9.")
    weight_decay: float = option(0.0, "The weight decay of the optimizer.")
    decay_norms: bool = option(
        True,
        "Whether weight decay holds for biases and the parameters of norms too, as in torch.",
    )
    schedule: str = option(
        "cosine",
        "How the learning rate changes from step to step. schedules={…} adds your own in Python.",
        choices=("constant", "cosine", "multi_step", "one_cycle"),
    )
    warmup_steps: int = option(
        0,
        "The steps in which the rate rises to its peak, at most a quarter of all. one_cycle has"
        " none.",
    )
    lr_end: float | None = option(None, "The learning rate at which cosine ends. None means 0.")
    milestones: tuple[int, ...] = option(
        (), "The epochs after which multi_step multiplies the rate by training.gamma."
    )
    gamma: float | None = option(
        None, "The factor by which multi_step changes the rate. None means 0.1."
    )
    freeze_batch_norm: bool = option(
        False, "Whether BatchNorm layers that learn keep their running statistics as they are."
    )
    ema: float = option(
        0.0,
        "The share of the average of the weights that stays in a step, in [0, 1), as 0.998. The"
        " average is evaluated and shipped; with 0 there is none.",
    )
    clip_norm: float | None = option(
        None, "The largest length of the gradient. A longer one is scaled down; None clips nothing."
    )
    precision: Literal["full", "bf16", "fp16"] = option(
        "full", "The precision of the forward pass. fp16 needs a GPU."
    )
    keep: Literal["best", "last"] = option(
        "best",
        "The network that training ends with: the best epoch's by training.monitor, or the last"
        " epoch's.",
    )
    monitor: str = option(
        "loss",
        "The metric on val that picks the best checkpoint. metrics={…} adds your own in Python.",
    )
    patience: int | None = option(
        None,
        "The epochs without a better checkpoint after which training stops. None never stops"
        " early.",
    )
    evaluate_train: bool = option(
        False, "Whether each epoch evaluates the train images too, as it does val."
    )
    budget_minutes: float | None = option(
        None,
        "The time for the whole command. Training makes as many of its epochs as fit into it.",
    )
    print_every: int | None = option(
        None, "The optimizer steps between two printed mean losses. None prints a line an epoch."
    )
    checkpoint_seconds: float = option(
        60.0, "The seconds between two checkpoints. Each epoch ends with one too."
    )
    trackers: tuple[str, ...] = option(
        ("tensorboard",), "Where losses and scores are logged: any tracker that accelerate knows."
    )
    threads: int | None = option(
        None, "The threads of torch. None measures what is fastest for this network here."
    )
    memory_format: Literal["measured", "contiguous", "channels_last"] = option(
        "measured",
        "The memory layout of images. measured takes what is fastest here, with or without oneDNN.",
    )
    memory_share: float = option(
        0.25,
        "The share of the machine's memory that decoded images may take. Beyond it they are"
        " decoded anew.",
    )

    def __post_init__(self) -> None:
        self._require("epochs", 1 <= self.epochs <= 100_000, "must be 1 to 100,000")
        self._require("batch_size", 1 <= self.batch_size <= 2**20, "must be 1 to 1,048,576")
        whole = 1 <= self.accumulation <= self.batch_size
        self._require("accumulation", whole, "must be 1 to training.batch_size")
        self._require("label_smoothing", 0 <= self.label_smoothing < 1, "must be in [0, 1)")
        self._require("lr", self.lr > 0, "must be above 0")
        self._require("backbone_lr", self.backbone_lr > 0, "must be above 0")
        self._require("layer_decay", 0 < self.layer_decay <= 1, "must be in (0, 1]")
        momentum = self.momentum is None or 0 <= self.momentum < 1
        self._require("momentum", momentum, "must be in [0, 1)")
        self._require("weight_decay", self.weight_decay >= 0, "must be 0 or more")
        self._require("ema", 0 <= self.ema < 1, "must be in [0, 1)")
        self._require("warmup_steps", self.warmup_steps >= 0, "must be 0 or more")
        lr_end = self.lr_end is None or 0 <= self.lr_end <= self.lr
        self._require("lr_end", lr_end, "must be in [0, training.lr]")
        self._require("milestones", all(m >= 1 for m in self.milestones), "must be epochs from 1")
        for name in ("gamma", "clip_norm", "budget_minutes", "print_every", "threads"):
            value = getattr(self, name)
            self._require(name, value is None or value > 0, "must be above 0")
        self._require("patience", self.patience is None or self.patience >= 1, "must be 1 or more")
        self._require("checkpoint_seconds", self.checkpoint_seconds >= 0, "must be 0 or more")
        self._require("memory_share", 0 <= self.memory_share <= 0.9, "must be in [0, 0.9]")
        self._check_companions()

    def _check_companions(self) -> None:
        """An option that another one leaves without effect is refused."""
        for name, leader, values in (
            ("label_smoothing", "loss", ("cross_entropy",)),
            ("weight_column", "sampling", ("weighted",)),
            ("momentum", "optimizer", ("sgd",)),
            ("lr_end", "schedule", ("cosine",)),
            ("milestones", "schedule", ("multi_step",)),
            ("gamma", "schedule", ("multi_step",)),
            ("warmup_steps", "schedule", ("constant", "cosine", "multi_step")),
        ):
            used = getattr(self, leader) in values or getattr(self, name) in (None, 0, ())
            self._require(name, used, f"goes with training.{leader}={' or '.join(values)} only")
        weighted = self.sampling != "weighted" or self.weight_column is not None
        self._require("sampling", weighted, "needs training.weight_column")
        stepped = self.schedule != "multi_step" or len(self.milestones) > 0
        self._require("schedule", stepped, "needs training.milestones")


@dataclass(frozen=True, kw_only=True)
class FreezeOptions(Group):
    """Which part of the backbone does not learn."""

    key = "freeze"

    upto: str | None = option(
        None,
        "The last stage that does not learn: all, a stage's name, or a share as 40%. None lets all"
        " learn.",
    )
    batch_norm: bool = option(
        True,
        "Whether BatchNorm layers of the frozen part keep their running statistics as they are.",
    )
    unfreeze: tuple[str, ...] = option(
        (),
        "What learns later. 2:layer4 lets layer4 and all behind it learn after 2 epochs; 2:40%"
        " keeps 40 % frozen.",
    )
    views: int | None = option(
        None,
        "The number of augmented views whose frozen outputs are kept, as far as they fit into"
        " memory.",
    )

    def __post_init__(self) -> None:
        self._require("views", self.views is None or self.views >= 1, "must be 1 or more")
        for name, given in (
            ("batch_norm", not self.batch_norm),
            ("unfreeze", bool(self.unfreeze)),
            ("views", bool(self.views)),
        ):
            self._require(name, self.upto is not None or not given, "needs freeze.upto")
        still = self.views is None or self.batch_norm
        self._require("views", still, "goes with freeze.batch_norm=true only")
        ordered = all(re.fullmatch("[1-9][0-9]{0,5}:.+", step) for step in self.unfreeze)
        self._require("unfreeze", ordered, "must be like 2:layer3,4:all or 2:80%,4:all")


# Of augmentation: the options that say how another one works, and mean nothing where it is 0.
COMPANIONS = {"rotate": ("rotate_degrees", "border"), "dropout": ("dropout_holes", "dropout_px")}


@dataclass(frozen=True, kw_only=True)
class AugmentationOptions(Group):
    """What happens to a train image by chance, anew each epoch, in this order. A bare name is a
    probability.
    """

    key = "augmentation"

    invariant: bool = option(
        False,
        "Whether flips and quarter turns are added that do not raise the probe's loss on val.",
    )
    crop_area: float | None = option(
        None, "The smallest area of a random crop, as a share of the image, in (0, 1)."
    )
    shift_px: int = option(
        0, "The largest shift each way, in pixels. The border is reflected into the gap."
    )
    flip: float = option(0.0, "The probability of a left-right flip.")
    flip_vertical: float = option(0.0, "The probability of an upside-down flip.")
    quarter_turn: float = option(0.0, "The probability of a turn by 90, 180 or 270 degrees.")
    rotate: float = option(
        0.0, "The probability of a rotation by any angle up to augmentation.rotate_degrees."
    )
    rotate_degrees: float = option(45.0, "The largest angle of a rotation, either way.")
    border: Literal["reflect", "fill"] = option(
        "reflect", "What a rotation shows beyond the edge. fill is the mean colour."
    )
    brightness: float = option(0.0, "Brightness changes by a factor in 1 ± this.")
    contrast: float = option(0.0, "Contrast changes by a factor in 1 ± this.")
    saturation: float = option(0.0, "Saturation changes by a factor in 1 ± this.")
    hue: float = option(
        0.0, "Hue turns by at most this share of the colour circle, either way, at most 0.5."
    )
    policy: Literal["none", "trivial", "rand"] = option(
        "none", "A published policy: trivial is TrivialAugment, rand is RandAugment."
    )
    dropout: float = option(0.0, "The probability of square holes.")
    dropout_holes: int = option(1, "The number of holes in an image that has any.")
    dropout_px: int = option(64, "The side of a hole, in pixels.")
    erase: float = option(0.0, "The probability of one rectangle of noise.")
    transforms: tuple[str, ...] = option(
        (),
        "Your own transforms, which transforms={…} gives in Python. They follow all others, in this"
        " order.",
        choices=(),
    )
    mixup: float = option(
        0.0, "Two images are mixed by alpha of the Beta distribution. 0 mixes none."
    )
    cutmix: float = option(
        0.0,
        "A rectangle of another image is pasted in, by alpha. With mixup too, each batch has one"
        " of them.",
    )

    def __post_init__(self) -> None:
        crop = self.crop_area
        self._require("crop_area", crop is None or 0 < crop < 1, "must be above 0 and below 1")
        self._require("shift_px", 0 <= self.shift_px <= 256, "must be 0 to 256")
        for name in (
            *("flip", "flip_vertical", "quarter_turn", "rotate", "dropout", "erase"),
            *("brightness", "contrast", "saturation"),
        ):
            self._require(name, 0 <= getattr(self, name) <= 1, "must be in [0, 1]")
        self._require("hue", 0 <= self.hue <= 0.5, "must be in [0, 0.5]")
        degrees = 0 < self.rotate_degrees <= 180
        self._require("rotate_degrees", degrees, "must be above 0, at most 180")
        self._require("dropout_holes", self.dropout_holes >= 1, "must be 1 or more")
        self._require("dropout_px", self.dropout_px >= 1, "must be 1 or more")
        for name in ("mixup", "cutmix"):
            self._require(name, getattr(self, name) >= 0, "must be 0 or more")

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
                self.transforms,
                self.mixup,
                self.cutmix,
            )
        )


def _broken_label_rule(label_by: str) -> str:
    """The rule that a `label_by` breaks, or "" where it breaks none."""
    if re.fullmatch(_FOLDER_RULE, label_by):
        return ""
    form, _, pattern = label_by.partition(":")
    if form != "name" or not pattern:
        return f"must be {LABEL_FORMS}"
    try:
        groups = re.compile(pattern).groups
    except _BAD_PATTERNS as error:
        return f"holds no regular expression ({error}); it must be {LABEL_FORMS}"
    return "" if groups == 1 else f"must be {LABEL_FORMS}"


def _broken_group_rule(group_by: str) -> str:
    """The rule that a `group_by` breaks, or "" where it breaks none.

    >>> _broken_group_rule("folder:2"), _broken_group_rule("name:(")[:41]
    ('', 'holds no regular expression (missing ), u')
    """
    form, _, value = group_by.partition(":")
    if form == "name" and value:
        try:
            re.compile(value)
        except _BAD_PATTERNS as error:
            return f"holds no regular expression ({error}); it must be {GROUP_FORMS}"
        return ""
    by_folder = re.fullmatch(_FOLDER_RULE, group_by)
    named = form == "column" and value.strip()
    return "" if by_folder or named or group_by == "burst" else f"must be {GROUP_FORMS}"
