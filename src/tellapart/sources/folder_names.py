"""What the name of a folder says: a split, images, what was drawn over them, or a group.

A name is taken apart into words: "Train_Data", "seg_train" and "train2017" all name the train
split, as no other word in them means anything of its own.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from tellapart.catalog.names import name_set

# What names and cells call a split → the split, and whether the word is a usual name of it.
_SPLIT_WORDS = {
    **dict.fromkeys(["train", "training", "trn"], "train"),
    **dict.fromkeys(["val", "valid", "validation", "dev", "devel"], "val"),
    **dict.fromkeys(["test", "testing", "tst", "holdout", "eval", "evaluation"], "test"),
}
# Words that name no split and no class, so that they may stand beside the name of a split.
_FILLERS = name_set(
    "set sets data dataset datasets image images img imgs picture pictures photo photos pic"
    " pics seg split splits sample samples folder dir files cls classes classification raw"
    " all full original final new resized crops cropped subset part jpg jpeg png archive"
    " download root labeled labelled input inputs rgb"
)
_IMAGES = frozenset(
    [
        "image",
        "images",
        "img",
        "imgs",
        "picture",
        "pictures",
        "photo",
        "photos",
        "rgb",
        "jpegimages",
    ]
)
# What lies beside images and is drawn over them or written of them, and is itself no example.
_ANNOTATIONS = name_set(
    "mask masks label labels annotation annotations annot annots gt groundtruth ground_truth"
    " segmentation segmentations segmentationclass segmentationobject imagesets bbox bboxes"
    " boxes xml xmls json jsons labeltxt labels_txt heatmap heatmaps overlay overlays"
    " contours"
)
_GROUP_WORDS = name_set(
    "patient patients subject subjects case person participant site center centre hospital"
    " clinic camera cam device scanner day date session batch plate slide fold visit week"
    " month run video sequence seq scene animal plot field region location"
)


_UNLABELLED = name_set(
    "unlabeled unlabelled unannotated unlabel pred predict prediction predictions inference"
)


def words_of(name: str) -> list[str]:
    """The words of a name in lower case; digits stand alone.

    >>> words_of("TrainData2017"), words_of("seg_train"), words_of("TEST-set")
    (['train', 'data', '2017'], ['seg', 'train'], ['test', 'set'])
    """
    found = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_]+|\d+", name)
    words = [word.lower() for word in found]
    return ["holdout", *words[2:]] if words[:2] == ["hold", "out"] else words


def split_named(name: str) -> str:
    """ "train", "val" or "test", where that is all that a name says; else "".

    >>> [split_named(name) for name in ("Training_Set", "seg_test", "val2017", "testset", "Trainer")]
    ['train', 'test', 'val', 'test', '']
    """
    found = ""
    for word in words_of(name):
        split = _SPLIT_WORDS.get(word) or _SPLIT_WORDS.get(_without_filler(word), "")
        if split and found:
            return ""
        found = found or split
        if not (split or word in _FILLERS or word.isdigit()):
            return ""
    return found


def _without_filler(word: str) -> str:
    """ "trainset" as "train": a word that ends in a filler, without it."""
    return re.sub("(set|data|images|imgs)$", "", word)


def splits_of_one_stem(names: Collection[str]) -> dict[str, str]:
    """The names that differ in the word for the split alone → the split. {} where there are none.

    >>> splits_of_one_stem(["cats_train", "cats_test", "notes"])
    {'cats_train': 'train', 'cats_test': 'test'}
    """
    stems: dict[tuple[str, ...], dict[str, str]] = {}
    for name in names:
        words = words_of(name)
        splits = [_SPLIT_WORDS[word] for word in words if word in _SPLIT_WORDS]
        if len(splits) == 1:
            stem = tuple(word for word in words if word not in _SPLIT_WORDS)
            stems.setdefault(stem, {})[name] = splits[0]
    found = [named for named in stems.values() if len(named) > 1 and "train" in named.values()]
    return found[0] if len(found) == 1 else {}


def is_plain_split(name: str) -> bool:
    """Whether a name is one of the usual names of a split, without any further word.

    >>> is_plain_split("valid"), is_plain_split("train2")
    (True, False)
    """
    return name.lower() in _SPLIT_WORDS and name.lower() not in ("eval", "evaluation")


def is_wrapper(name: str) -> bool:
    """Whether a name says no more than that images lie there.

    >>> is_wrapper("images"), is_wrapper("raw data 2"), is_wrapper("cats")
    (True, True, False)
    """
    words = words_of(name)
    return bool(words) and all(word in _FILLERS or word.isdigit() for word in words)


def may_wrap(name: str) -> bool:
    """Whether a folder that is alone may be one around the data, by a word in its name.

    >>> may_wrap("PetImages"), may_wrap("flower_photos"), may_wrap("cats")
    (True, True, False)
    """
    return not _FILLERS.isdisjoint(words_of(name))


def is_unlabelled(name: str) -> bool:
    """Whether a name says that nobody has labelled what is in the folder.

    >>> is_unlabelled("unlabeled_images"), is_unlabelled("unknown")
    (True, False)
    """
    words = set(words_of(name))
    return not words.isdisjoint(_UNLABELLED) and words <= _UNLABELLED | _FILLERS


def are_parts(names: Collection[str]) -> bool:
    """Whether names are those of the parts of one set of images: they differ in numbers alone.

    >>> are_parts(["images_001", "images_002"]), are_parts(["HAM_images_part_1", "HAM_images_part_2"])
    (True, True)
    >>> are_parts(["class_1", "class_2"]), are_parts(["images_001"])
    (False, False)
    """
    words = [[word for word in words_of(name) if not word.isdigit()] for name in names]
    different = set(map(tuple, words))
    return len(words) > 1 and len(different) == 1 and not _FILLERS.isdisjoint(*different)


def annotations_beside(names: Collection[str]) -> list[str]:
    """The folders that hold what was drawn over the images of a folder beside them, or written.

    >>> annotations_beside(["images", "masks"]), annotations_beside(["cat", "masks"])
    (['masks'], [])
    """
    if not any(name.lower() in _IMAGES for name in names):
        return []
    return [name for name in names if name.lower().replace(" ", "_") in _ANNOTATIONS]


def are_groups(names: Collection[str]) -> bool:
    """Whether names are those of patients, sites, days or the like, by their words.

    A name counts where it is a number, or a word of this kind, with a number or a letter behind.

    >>> are_groups(["patient01", "patient_2"]), are_groups(["siteA", "siteB"])
    (True, True)
    >>> are_groups(["S1", "S2", "S3"]), are_groups(["cat", "dog"])
    (True, False)
    """
    words = [words_of(name) for name in names]
    if len({word[0] for word in words if word}) == 1 or all(word[:1] for word in words):
        numbered = [any(part.isdigit() for part in word) for word in words]
        stems = {"".join(part for part in word if not part.isdigit()) for word in words}
        if all(numbered) and len(stems) == 1:
            return True
    return all(word and not _GROUP_WORDS.isdisjoint(word) for word in words)
