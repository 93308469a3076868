"""The metadata of a model file, and the seal that shows that the file is whole.

The card lies in the ONNX metadata, one JSON value a key, so any ONNX tool can read it. The seal is
the file's last field: the SHA-256 of all bytes before it. ONNX is protobuf, in which appending a
field continues a message. So the seal is appended, and checking it needs neither onnx nor a parser.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tellapart.decoders.rules import DecodeRules
from tellapart.errors import UserError
from tellapart.evaluation.conformal import SetScores
from tellapart.evaluation.drift import Reference
from tellapart.evaluation.rule import AnswerRule
from tellapart.modelfile.preprocessing import Preprocessing
from tellapart.modelfile.seen import SeenImages

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """The metadata of a model file.

    Args:
        classes: C names; the position is the column of `probabilities`.
        preprocessing: what the graph does to the pixels before the network.
        temperature: the logits were divided by it; 1 if there was no val to fit it on.
        calibration_count: how many images the temperature and the thresholds were fitted on.
        rule: what the model answers, and when it is "unsure".
        sets: for prediction sets. None if nothing could be held out.
        detects_unfamiliar: whether `unfamiliarity` above 1 means "unfamiliar". It needs images that
            were held out.
        train_counts: (C,) train images of each class.
        backbone: the name of the network.
        decoding: the settings of the decode contract, as in the training.
        digests: the SHA-256 of recipe, catalog and weights.
        licences: the licence of the weights, its text where it asks for a copy, what it forbids,
            and the source of the weights.
        versions: the versions of tellapart and of the packages that wrote the file.
        seen: the images that it was trained and chosen on. None in files of an earlier tellapart.
        precision: of the network's numbers, "fp32", "fp16" or "int8".
        reference: what the model answered to images that it was not fitted on. None without such
            images, and in files of an earlier tellapart.
        exported: what `export` measured when it made another form of the file. None means that the
            file is as the training wrote it.

    >>> predictor.card.backbone, predictor.card.train_counts
    ('tf_efficientnet_lite0', (11, 11, 10))
    """

    classes: tuple[str, ...]
    preprocessing: Preprocessing
    temperature: float
    calibration_count: int
    rule: AnswerRule
    sets: SetScores | None
    detects_unfamiliar: bool
    train_counts: tuple[int, ...]
    backbone: str
    decoding: DecodeRules
    digests: Mapping[str, str]
    licences: Mapping[str, str]
    versions: Mapping[str, str]
    seen: SeenImages | None = None
    precision: str = "fp32"
    reference: Reference | None = None
    exported: Mapping[str, Any] | None = None

    @property
    def confidence_threshold(self) -> float | None:
        """An answer with a lower confidence is "unsure". None means no threshold."""
        return self.rule.threshold

    def as_metadata(self) -> dict[str, str]:
        """The card as key → JSON text, for ONNX's metadata_props."""
        values = {
            "tellapart": FORMAT,
            "classes": self.classes,
            "training": {"counts": self.train_counts},
            "backbone": self.backbone,
            "decoding": self.decoding.as_json(),
            "preprocessing": self.preprocessing.as_json(),
            "calibration": {"temperature": self.temperature, "count": self.calibration_count},
            "thresholds": {
                "confidence": self.rule.threshold,
                "unfamiliarity": 1.0 * self.detects_unfamiliar or None,
            },
            "answers": self.rule.as_json(),
            "sets": None if self.sets is None else self.sets.as_json(),
            "digests": dict(self.digests),
            "licences": dict(self.licences),
            "versions": dict(self.versions),
            _PRECISION: self.precision,
            **({_SEEN: self.seen.as_json()} if self.seen else {}),
            **({_REFERENCE: self.reference.as_json()} if self.reference else {}),
            **({_EXPORTED: dict(self.exported)} if self.exported else {}),
        }
        return {
            key: json.dumps(value, ensure_ascii=False, sort_keys=True)
            for key, value in values.items()
        }

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> ModelCard:
        """The card whose `as_metadata` gave this metadata.

        Raises:
            UserError: the metadata has another format, or a key is missing.
        """
        try:
            values: dict[str, Any] = {key: json.loads(metadata[key]) for key in _KEYS}
            if values["tellapart"] != FORMAT:
                raise UserError(
                    f"The model file has format {values['tellapart']}; this tellapart reads format"
                    f" {FORMAT}.",
                    "Install the tellapart that made it, or a newer one.",
                )
            return cls(
                classes=_class_names(values["classes"]),
                preprocessing=Preprocessing.from_json(values["preprocessing"]),
                temperature=float(values["calibration"]["temperature"]),
                calibration_count=int(values["calibration"]["count"]),
                rule=AnswerRule.from_json(values["answers"]),
                sets=SetScores.from_json(values["sets"]),
                detects_unfamiliar=_number_or_none(values["thresholds"]["unfamiliarity"])
                is not None,
                train_counts=tuple(map(int, values["training"]["counts"])),
                backbone=values["backbone"],
                decoding=DecodeRules.from_json(values["decoding"]),
                digests=values["digests"],
                licences=values["licences"],
                versions=values["versions"],
                seen=SeenImages.from_json(json.loads(metadata[_SEEN]))
                if _SEEN in metadata
                else None,
                precision=str(json.loads(metadata.get(_PRECISION, '"fp32"'))),
                reference=Reference.from_json(json.loads(metadata[_REFERENCE]))
                if _REFERENCE in metadata
                else None,
                exported=json.loads(metadata.get(_EXPORTED, "null")),
            )
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise UserError(
                "The model file's metadata is incomplete or wrong.", "Export it anew."
            ) from error


def _class_names(value: object) -> tuple[str, ...]:
    names = tuple(value) if isinstance(value, list) else ()
    if (
        not names
        or not all(isinstance(name, str) for name in names)
        or len(set(names)) < len(names)
    ):
        raise ValueError("classes must be different names")
    return names


def _number_or_none(value: object) -> float | None:
    return None if value is None else float(value)  # type: ignore[arg-type]


_KEYS = (
    "tellapart",
    "classes",
    "training",
    "backbone",
    "decoding",
    "preprocessing",
    "calibration",
    "thresholds",
    "answers",
    "sets",
    "digests",
    "licences",
    "versions",
)

# Not in files of an earlier tellapart.
_SEEN, _PRECISION, _REFERENCE = "seen", "precision", "reference"
_EXPORTED = "exported"  # only in files that `export` made

_SEAL_KEY = b"seal"
_SEAL_BYTES = 2 + 2 + len(_SEAL_KEY) + 2 + 64


def seal(model: bytes) -> bytes:
    """A serialised ONNX model with its seal appended.

    >>> is_sealed(seal(b"model")), is_sealed(b"model"), is_sealed(seal(b"model").replace(b"mod", b"nod"))
    (True, False, False)
    """
    digest = hashlib.sha256(model).hexdigest().encode()
    # ModelProto.metadata_props is field 14, a StringStringEntryProto {key = 1, value = 2}.
    entry = b"\x0a" + bytes([len(_SEAL_KEY)]) + _SEAL_KEY + b"\x12" + bytes([len(digest)]) + digest
    return model + bytes([14 << 3 | 2, len(entry)]) + entry


def is_sealed(data: bytes) -> bool:
    """Whether the bytes are exactly those that were sealed."""
    return len(data) > _SEAL_BYTES and seal(data[:-_SEAL_BYTES]) == data
