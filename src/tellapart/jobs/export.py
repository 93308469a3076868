"""`export`: another form of a model file, or a page that runs it in the browser. Needs no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tellapart.catalog.names import escape
from tellapart.errors import UserError, choose, needs_extra
from tellapart.home import user_path
from tellapart.modelfile.model_name import model_name
from tellapart.modelfile.predictor import Predictor, load
from tellapart.phrases import count_of
from tellapart.progress import Console
from tellapart.sources.source import Source
from tellapart.web.runtime import runtime_files
from tellapart.web.site import site_files, write_site
from tellapart.writing import write_whole

if TYPE_CHECKING:
    from tellapart.export.forms_gate import Answering, FormAgreement
    from tellapart.pipeline.run_images import RunData, RunImages

PRECISIONS = ("fp32", "fp16", "int8")
OPENVINO = "openvino"
FORMS = (*PRECISIONS, OPENVINO)


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What an export wrote.

    Args:
        path: the file, or the folder of the page.
        form: the precision of the model in it.
        bytes: the size of the file, or of all files of the folder.
        original_bytes: the size of the model file that it was made of.
        agreement: how far the form is from that file. None where the file is the same.

    >>> exported = tellapart.export_model(run.path, "int8", out="copy.onnx", quiet=True)
    >>> exported.form, exported.agreement
    ('int8', None)
    """

    path: Path
    form: str
    bytes: int
    original_bytes: int
    agreement: FormAgreement | None

    def as_json(self) -> dict[str, Any]:
        """The JSON object that `--json` prints."""
        return {
            "path": escape(str(self.path)),
            "form": self.form,
            "bytes": self.bytes,
            "original_bytes": self.original_bytes,
            "agreement": self.agreement and self.agreement.as_json(),
        }


def export_model(
    run: str | PathLike[str],
    form: str,
    *,
    out: str | PathLike[str] | None = None,
    data: Source | None = None,
    quiet: bool = False,
) -> Exported:
    """Write the model file of a run in another form, if that is as good on the run's own images.

    The images are those of val. Where there are fewer than 64, train images with out-of-fold answers
    join them. Both files answer them. The form is refused if it is worse by a paired test, or if
    more than 5 % of the images get another answer or decision.

    Args:
        run: the run folder. A model file will do where it has the form already.
        form: "fp32", "fp16" for weights in half precision, "int8", or "openvino", which is an .xml
            file with a .bin file beside it.
        out: the file to write. Default: model-FORM.onnx in the run folder, or .xml for OpenVINO.
        data: where the data of the training is now. Default: where the run says it is.
        quiet: print nothing.

    Raises:
        UserError: no such run, the data is not found, or the file cannot have that form.
        Refused: the form is measurably worse. No file is written.

    >>> tellapart.export_model(run.path, "fp32", quiet=True)
    Traceback (most recent call last):
        ...
    tellapart.errors.UserError: This model is in int8, and cannot become fp32. ...
    """
    choose("form", form, FORMS)
    console = Console(quiet=quiet)
    path, predictor = user_path(run), load(run)
    trained = path / "model.onnx" if path.is_dir() else path
    suffix = ".xml" if form == OPENVINO else ".onnx"
    file = user_path(out) if out is not None else trained.with_name(f"model-{form}{suffix}")
    if form == OPENVINO and file.suffix != suffix:
        raise UserError(
            f"{file} cannot be a model of OpenVINO: its name has to end in .xml.",
            "The weights go into a .bin file beside it.",
        )
    if form != predictor.card.precision and file.exists() and file.samefile(trained):
        raise UserError(
            f"{file} is the model file of the run, which its report was measured on.",
            "Give the new file another name.",
        )
    make = _as_openvino if form == OPENVINO else _in_precision
    made = make(path, predictor, form, data, console)
    if made.weights:  # first: whoever sees the graph finds its weights
        write_whole(file.with_suffix(".bin"), made.weights)
    write_whole(file, made.model)
    return made.exported(file, form, predictor, len(made.model) + len(made.weights))


def export_web(
    run: str | PathLike[str],
    folder: str | PathLike[str],
    *,
    form: str | None = None,
    data: Source | None = None,
    runtime: str | PathLike[str] | None = None,
    name: str | None = None,
    quiet: bool = False,
) -> Exported:
    """Write a folder for static hosting: a page that runs the model in the browser, also offline.

    Args:
        run: a run folder, or a model file.
        folder: a new one, or that of an earlier export.
        form: as for `export_model`, but for OpenVINO. None takes the file as it is.
        data: as for `export_model`.
        runtime: the archive of ONNX Runtime Web that `npm pack` made. None takes what an earlier
            export kept in the cache.
        name: what the page is called. Default: the name of the run or file.
        quiet: print nothing.

    Raises:
        UserError: no such run, the runtime is not in the cache, or the folder holds other files.
        Refused: the form is measurably worse. No file is written.

    >>> tellapart.export_web(run.path, "page")
    Traceback (most recent call last):
        ...
    tellapart.errors.UserError: ort.js of ONNX Runtime Web 1.30.0 is not in the cache. ...
    """
    if form is not None:
        choose("form for a page", form, PRECISIONS)
    console = Console(quiet=quiet)
    files_of_runtime = runtime_files(runtime)
    path, original = user_path(run), load(run)
    wanted = form or original.card.precision
    made = _in_precision(path, original, wanted, data, console)
    files = site_files(
        Predictor(made.model), name or model_name(path) or "tellapart", files_of_runtime
    )
    target = user_path(folder)
    write_site(target, files)
    return made.exported(target, wanted, original, sum(map(len, files.values())))


@dataclass(frozen=True)
class _Made:
    """A form: the content of its file, and of the file of its weights, if that is another one."""

    model: bytes
    agreement: FormAgreement | None = None
    weights: bytes = b""

    def exported(self, path: Path, form: str, original: Predictor, size: int) -> Exported:
        """What is told of it once `size` bytes are written to the path."""
        return Exported(
            path=path,
            form=form,
            bytes=size,
            original_bytes=len(original.graph),
            agreement=self.agreement,
        )


def _in_precision(
    run: Path, predictor: Predictor, form: str, data: Source | None, console: Console
) -> _Made:
    """The model file in a precision that it may have.

    Raises:
        UserError: it cannot have it, or the run's images are not found.
        Refused: the form is measurably worse.
    """
    card = predictor.card
    if form == card.precision:
        return _Made(predictor.graph)
    if card.precision != "fp32":
        raise UserError(
            f"This model is in {card.precision}, and cannot become {form}.",
            "Train it in fp32 first: --set backbone.precision=fp32",
        )
    images, judges = _images_of(run, predictor, data, console)
    with console.step(f"Making the {form} file"):
        model = _CONVERSIONS[form](predictor, images, judges.paths)
    agreement, measured = _judged(predictor, Predictor(model), judges, form, console)
    from tellapart.export.forms import with_card

    return _Made(with_card(model, replace(card, precision=form, exported=measured)), agreement)


def _as_openvino(
    run: Path, predictor: Predictor, form: str, data: Source | None, console: Console
) -> _Made:
    """The model file in OpenVINO's form.

    Raises:
        UserError: OpenVINO is not installed, or the run's images are not found.
        Refused: the form is measurably worse.
    """
    from tellapart.export.openvino import in_openvino

    with console.step("Converting"):
        converted = in_openvino(predictor.graph, predictor.card)
    _, judges = _images_of(run, predictor, data, console)
    agreement, measured = _judged(predictor, converted.answerer(), judges, form, console)
    final = in_openvino(predictor.graph, replace(predictor.card, exported=measured))
    return _Made(final.graph, agreement, final.weights)


def _images_of(
    run: Path, predictor: Predictor, data: Source | None, console: Console
) -> tuple[RunData, RunImages]:
    """The data of a run, and the images of it that judge another form."""
    if not run.is_dir():
        raise UserError(
            f"{run} is a file. Another form is judged by the images of its training.",
            "Give the run folder.",
        )
    try:
        from tellapart.pipeline.run_images import RunData

        images = RunData(run, data, predictor.card.decoding)
    except ModuleNotFoundError as error:
        raise needs_extra(str(error.name)) from None
    with console.step("Reading the images that judge it"):
        judges = images.held_out()
    console.say(f"Judged by {count_of(len(judges.pixels), 'image')}: {judges.source}")
    if judges.missing:
        console.say(
            f"note: {count_of(judges.missing, 'image')} more cannot be used, being gone or changed"
        )
    return images, judges


def _judged(
    predictor: Predictor, form: Answering, judges: RunImages, name: str, console: Console
) -> tuple[FormAgreement, dict[str, Any]]:
    """How far a form is from the file, and what its metadata says of that.

    Raises:
        Refused: it is measurably worse.
    """
    from tellapart.export.forms_gate import compare_forms, refuse_unless_as_good

    with console.step("Comparing the answers"):
        agreement = compare_forms(predictor, form, judges.pixels, judges.labels, judges.clusters)
    console.say(f"{name}: {agreement}")
    refuse_unless_as_good(agreement, name)
    original = hashlib.sha256(predictor.graph).hexdigest()
    return agreement, {"form": name, "original": original, **agreement.as_json()}


def _as_fp16(predictor: Predictor, images: RunData, judges: tuple[str, ...]) -> bytes:
    from tellapart.export.forms import in_fp16

    return in_fp16(predictor.graph, predictor.card)


def _as_int8(predictor: Predictor, images: RunData, judges: tuple[str, ...]) -> bytes:
    from tellapart.export.forms import in_int8
    from tellapart.pipeline.quantized import SHOWN_IMAGES

    return in_int8(predictor.graph, predictor.card, images.shown(SHOWN_IMAGES, judges))


_CONVERSIONS: Mapping[str, Callable[[Predictor, RunData, tuple[str, ...]], bytes]] = {
    "fp16": _as_fp16,
    "int8": _as_int8,
}
