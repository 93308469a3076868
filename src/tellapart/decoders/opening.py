"""The bytes of an image of a recognised kind → an image that is opened and not loaded.

Each kind is opened by its own decoder alone: no program starts, and no rare decoder is asked.
Kinds that Pillow does not read have a decoder in an extra.
"""

from __future__ import annotations

import io
from importlib.util import find_spec

from PIL import Image, ImageFile, features

from tellapart.decoders.verdict import Refusal

# Pillow kinds that a build may lack: kind → (feature, what it is).
_OPTIONAL = {"JPEG2000": ("jpg_2000", "a JPEG 2000 image"), "AVIF": ("avif", "an AVIF image")}
# kind → (module, extra, what it is).
_EXTRAS = {
    "HEIF": ("pillow_heif", "heic", "a HEIC image"),
    "JXL": ("pillow_jxl", "jxl", "a JPEG XL image"),
    "DICOM": ("pydicom", "dicom", "a DICOM image"),
}

_PACKAGES = {
    "pillow_heif": "pillow-heif",
    "pillow_jxl": "pillow-jxl-plugin",
    "pydicom": "pydicom",
}


def open_image(data: bytes, kind: str) -> ImageFile.ImageFile:
    """Open an image by the decoder of its kind.

    Pillow's own limit of pixels, which is one for the whole process, does not hold here. The caller
    checks the size before it loads.

    Raises:
        Refusal: there is no decoder for it.
        Exception: of many types, where the bytes are damaged.
    """
    check_decoder(kind)
    if kind == "HEIF":
        import pillow_heif

        image: ImageFile.ImageFile = pillow_heif.HeifImageFile(io.BytesIO(data))  # type: ignore[no-untyped-call]
        return image
    if kind == "JXL":
        import pillow_jxl.JpegXLImagePlugin

        return pillow_jxl.JpegXLImagePlugin.JXLImageFile(io.BytesIO(data))
    if kind not in Image.OPEN:
        Image.preinit()
    if kind not in Image.OPEN:
        Image.init()
    factory, accept = Image.OPEN[kind]
    if accept and accept(data[:16]) is not True:
        raise SyntaxError(f"not a {kind}")
    return factory(io.BytesIO(data), "")


def decoder_name(kind: str) -> str:
    """The package that decodes a kind, with its version; "" where Pillow does it alone.

    It becomes a part of `Decoded.decoded_by`, since another version may give other pixels.
    """
    if kind not in _EXTRAS:
        return ""
    # Imported here: each process of a scan would pay for it.
    from importlib.metadata import version

    package = _PACKAGES[_EXTRAS[kind][0]]
    return f"{package} {version(package)}"


def is_decoder(part: str) -> bool:
    """Whether a part of `Decoded.decoded_by` names an extra decoder."""
    return part.partition(" ")[0] in _PACKAGES.values()


def installed_decoders() -> tuple[str, ...]:
    """The names of the extra decoders that are installed. What is unsupported hangs on them."""
    return tuple(decoder_name(kind) for kind, (module, *_) in _EXTRAS.items() if find_spec(module))


def check_decoder(kind: str) -> None:
    """See that there is a decoder for a kind.

    Raises:
        Refusal: there is none, with what to install.
    """
    if kind in _OPTIONAL:
        feature, what = _OPTIONAL[kind]
        if not features.check(feature):
            detail = f"It is {what}, and this Pillow is built without. Convert it to PNG first."
            raise Refusal("unsupported", detail)
    elif kind in _EXTRAS:
        module, extra, what = _EXTRAS[kind]
        if find_spec(module) is None:
            command = f"pip install 'tellapart[{extra}]'"
            raise Refusal("unsupported", f"It is {what}. Its decoder comes with: {command}.")
