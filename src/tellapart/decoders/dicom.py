"""DICOM → RGB: the first frame, through the window that the file stores.

    stored values ─ rescale slope ─▶ values ─ window of the file, or range of the data set ─▶ grey

`MONOCHROME1` means that the lowest value is white, so it is inverted.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tellapart.decoders.levels import Kind, to_grey
from tellapart.decoders.modes import range_for
from tellapart.decoders.opening import check_decoder, decoder_name
from tellapart.decoders.rules import DecodeRules
from tellapart.decoders.verdict import Refusal, Trace

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset


_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


def read_dicom(data: bytes, rules: DecodeRules, trace: Trace) -> NDArray[np.uint8]:
    """(H, W, 3) RGB of the first frame.

    Raises:
        Refusal: it has no image, or one that cannot be decoded here.
        Exception: of many types, where the bytes are damaged.
    """
    check_decoder("DICOM")
    from pydicom import dcmread
    from pydicom.pixels.utils import pixel_array

    trace.decoded_by.append(decoder_name("DICOM"))
    dataset = dcmread(io.BytesIO(data))
    _check(dataset, rules)
    try:
        values = np.asarray(pixel_array(dataset, index=0))
    except RuntimeError:  # of all decoders of the compression, as by 12 bits in a JPEG
        raise _unsupported(dataset) from None
    if int(dataset.get("NumberOfFrames") or 1) > 1:
        trace.notes.append("first_frame")
    photometric = str(dataset.PhotometricInterpretation)
    if photometric == "PALETTE COLOR":
        from pydicom.pixels.processing import apply_color_lut

        values = np.asarray(apply_color_lut(values, dataset))
    if values.ndim == 3:
        return _eight_bits(values, dataset, trace)
    grey = _grey(values, dataset, rules, trace)
    if photometric == "MONOCHROME1":
        grey = 255 - grey
    return np.ascontiguousarray(np.repeat(grey[:, :, None], 3, axis=2))


def _check(dataset: FileDataset, rules: DecodeRules) -> None:
    from pydicom.pixels.decoders.base import get_decoder

    if "Rows" not in dataset or "Columns" not in dataset:
        raise Refusal("unsupported", "It is a DICOM file that holds no image.")
    if not any(name in dataset for name in _PIXELS):
        raise _truncated()
    pixels = int(dataset.Rows) * int(dataset.Columns)
    if pixels > rules.max_pixels:
        size = f"It has {dataset.Columns:,} × {dataset.Rows:,} pixels"
        way_out = f"--set decoding.max_pixels={pixels} allows it."
        raise Refusal("too_large", f"{size}; the limit is {rules.max_pixels:,}. {way_out}")
    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        is_decodable = get_decoder(syntax).is_available
    except NotImplementedError:
        is_decodable = False
    if not is_decodable:
        raise _unsupported(dataset)
    values = (
        pixels * int(dataset.get("SamplesPerPixel", 1)) * int(dataset.get("NumberOfFrames") or 1)
    )
    held = len(dataset.get("PixelData", b""))
    if "PixelData" in dataset and not syntax.is_compressed and 8 * held < values * _stored(dataset):
        raise _truncated()


def _truncated() -> Refusal:
    return Refusal("truncated", "The DICOM data stops before the image is complete.")


def _stored(dataset: FileDataset) -> int:
    """The bits of a value in an uncompressed file; 0 where colours share values."""
    return 0 if "422" in str(dataset.PhotometricInterpretation) else int(dataset.BitsAllocated)


def _unsupported(dataset: FileDataset) -> Refusal:
    name = str(dataset.file_meta.TransferSyntaxUID.name).partition("(")[0].strip()
    detail = f"It is a DICOM image compressed as {name}, which is not read here."
    return Refusal("unsupported", f"{detail} Save it without compression.")


def _grey(
    values: NDArray[Any], dataset: FileDataset, rules: DecodeRules, trace: Trace
) -> NDArray[np.uint8]:
    """(H, W) grey of one channel of values."""
    from pydicom.pixels.processing import apply_modality_lut, apply_voi

    values = np.asarray(apply_modality_lut(values, dataset))
    if "VOILUTSequence" in dataset:
        bits = int(dataset.VOILUTSequence[0].LUTDescriptor[2])
        return to_grey(np.asarray(apply_voi(values, dataset)), 0, 2**bits - 1)
    center, width = (_first(dataset, name) for name in ("WindowCenter", "WindowWidth"))
    if center is not None and width is not None and width > 0:
        function = str(dataset.get("VOILUTFunction", "LINEAR"))
        if function == "SIGMOID":
            return to_grey(1 / (1 + np.exp(-4 * (values - center) / width)), 0, 1)
        if function == "LINEAR_EXACT" or width <= 1:
            return to_grey(values, center - width / 2, center + width / 2)
        low = center - 0.5 - (width - 1) / 2
        return to_grey(values, low, low + width - 1)
    bits = int(dataset.get("BitsStored", 16))
    if values.dtype.kind == "u" and bits <= 8:
        return to_grey(values, 0, 2**bits - 1)
    trace.notes.append("16_bit_scaled" if values.dtype.kind == "u" else "range_scaled")
    return to_grey(values, *range_for(values, _kind_of(values), None, rules, trace))


def _kind_of(values: NDArray[Any]) -> Kind:
    if values.dtype.kind == "f" and not np.equal(np.mod(values, 1), 0).all():
        return "float"
    return "16-bit" if values.dtype == np.uint16 else "integer"


def _eight_bits(values: NDArray[Any], dataset: FileDataset, trace: Trace) -> NDArray[np.uint8]:
    """(H, W, 3) colours of 8 bits."""
    if values.dtype == np.uint8:
        return np.ascontiguousarray(values)
    if "RedPaletteColorLookupTableDescriptor" in dataset:
        bits = int(dataset.RedPaletteColorLookupTableDescriptor[2])
    else:
        trace.notes.append("16_bit_scaled")
        bits = int(dataset.get("BitsStored", 16))
    return to_grey(values, 0, 2**bits - 1)


def _first(dataset: FileDataset, name: str) -> float | None:
    """The first number of an element, which may hold several."""
    value = dataset.get(name)
    if value is None or value == "":
        return None
    several = isinstance(value, list | tuple) or hasattr(value, "__getitem__")
    return float(value[0] if several else value)
