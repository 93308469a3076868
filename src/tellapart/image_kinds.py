"""What kind of file some bytes are, by how they begin. The name of the file has no say."""

from __future__ import annotations

import re

HEAD_BYTES = 4096  # enough to recognise what a file is

# Letters alone would claim many a text: a size has to follow, after any number of comments.
_PNM = re.compile(rb"P(?:[1-6]\s+(?:#[^\r\n]*[\r\n]+\s*)*[0-9]+\s|f\r?\n)")
_PAM = re.compile(rb"P7\s+(?:#[^\n]*\n)*(?:WIDTH|HEIGHT|DEPTH|MAXVAL|TUPLTYPE)\s")

_SIGNATURES = [  # (offset, bytes, status, what it is); the first match wins
    # Its first 128 bytes are free, and often those of a TIFF without pixels.
    (128, b"DICM", "ok", "DICOM"),
    # It starts like a TIFF. Other raw files do too, and are told by their tags: see decoding.
    (8, b"CR\x02", "unsupported", "a camera raw file"),
    (0, b"\xff\xd8\xff\xf7", "unsupported", "a JPEG-LS image"),
    (0, b"\xff\xd8\xff", "ok", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "ok", "PNG"),
    (0, b"GIF87a", "ok", "GIF"),
    (0, b"GIF89a", "ok", "GIF"),
    (8, b"WEBP", "ok", "WEBP"),
    (0, b"II*\0", "ok", "TIFF"),
    (0, b"MM\0*", "ok", "TIFF"),
    (0, b"MM*\0", "ok", "TIFF"),
    (0, b"II\0*", "ok", "TIFF"),
    (0, b"II+\0", "ok", "TIFF"),
    (0, b"MM\0+", "ok", "TIFF"),
    (4, b"ftypavif", "ok", "AVIF"),
    (4, b"ftypavis", "ok", "AVIF"),
    (4, b"ftyphe", "ok", "HEIF"),
    (4, b"ftypmif1", "ok", "HEIF"),
    (4, b"ftypmsf1", "ok", "HEIF"),
    (0, b"\0\0\0\x0cJXL ", "ok", "JXL"),
    (0, b"\xff\x0a", "ok", "JXL"),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", "ok", "JPEG2000"),
    (0, b"\xff\x4f\xff\x51", "ok", "JPEG2000"),
    (0, b"II\xbc", "unsupported", "a JPEG XR image"),
    (344, b"n+1\0", "unsupported", "a NIfTI volume"),
    (344, b"ni1\0", "unsupported", "a NIfTI volume"),
    (0, b"NRRD0", "unsupported", "an NRRD volume"),
    (0, b"ZISRAWFILE", "unsupported", "a Zeiss CZI image"),
    (0, b"\xda\xce\xbe\x0a", "unsupported", "a Nikon ND2 image"),
    (0, b"#?RADIANCE", "unsupported", "a Radiance HDR image"),
    (0, b"gimp xcf", "unsupported", "a GIMP document"),
    (0, b"AT&TFORM", "unsupported", "a DjVu document"),
    (0, b"qoif", "unsupported", "a QOI image"),
    (0, b"DDS ", "unsupported", "a DDS texture"),
    (0, b"BPG\xfb", "unsupported", "a BPG image"),
    (0, b"8BPS", "unsupported", "a Photoshop document"),
    (0, b"v/1\x01", "unsupported", "an OpenEXR image"),
    (0, b"SIMPLE  =", "unsupported", "a FITS image"),
    (0, b"\0\0\x01\0", "unsupported", "a Windows icon"),
    (4, b"ftypcrx", "unsupported", "a camera raw file"),
    (0, b"IIRO", "unsupported", "a camera raw file"),
    (0, b"IIU\0", "unsupported", "a camera raw file"),
    (0, b"FUJIFILMCCD-RAW", "unsupported", "a camera raw file"),
    (
        0,
        b"version https://git-lfs",
        "not_an_image",
        "a Git LFS pointer: the image itself was not downloaded",
    ),
    (0, b"%!PS-Adobe-3.0 EPSF", "not_an_image", "an EPS drawing"),
    (0, b"\xc5\xd0\xd3\xc6", "not_an_image", "an EPS drawing"),
    (0, b"%!PS", "not_an_image", "a PostScript document"),
    (0, b"\xd7\xcd\xc6\x9a", "not_an_image", "a WMF drawing"),
    (40, b" EMF", "not_an_image", "an EMF drawing"),
    (0, b"PK\x03\x04", "not_an_image", "a ZIP archive or office document"),
    (0, b"\x1f\x8b", "not_an_image", "a gzip archive"),
    (0, b"Rar!", "not_an_image", "a RAR archive"),
    (257, b"ustar", "not_an_image", "a tar archive"),
    (0, b"\x7fELF", "not_an_image", "a program"),
    (0, b"MZ", "not_an_image", "a program"),
    (0, b"\x93NUMPY", "not_an_image", "a NumPy array"),
    (0, b"\0\x05\x16\x07", "not_an_image", "a macOS companion file"),
    (0, b"\x1aE\xdf\xa3", "not_an_image", "a video"),
    (8, b"AVI ", "not_an_image", "a video"),
    (4, b"ftyp", "not_an_image", "a video or sound file"),
    (8, b"WAVE", "not_an_image", "a sound file"),
    (0, b"ID3", "not_an_image", "a sound file"),
    (0, b"OggS", "not_an_image", "a video or sound file"),
]

SUFFIXES = {
    **dict.fromkeys([".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"], "JPEG"),
    **dict.fromkeys([".png", ".apng"], "PNG"),
    **dict.fromkeys([".tif", ".tiff"], "TIFF"),
    **dict.fromkeys([".bmp", ".dib"], "BMP"),
    **dict.fromkeys([".avif", ".avifs"], "AVIF"),
    **dict.fromkeys([".heic", ".heif", ".hif"], "HEIF"),
    **dict.fromkeys([".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"], "JPEG2000"),
    **dict.fromkeys([".ppm", ".pgm", ".pbm", ".pnm", ".pfm"], "PPM"),
    **{
        ".gif": "GIF",
        ".webp": "WEBP",
        ".jxl": "JXL",
        ".dcm": "DICOM",
        ".psd": "PSD",
    },
}


def recognise(head: bytes) -> tuple[str, str]:
    """("ok", format) for what is worth decoding, else (status, what it is).

    Args:
        head: the first HEAD_BYTES bytes of the file.

    >>> recognise(b"GIF89a"), recognise(b"%PDF-1.7")
    (('ok', 'GIF'), ('not_an_image', 'a PDF document'))
    """
    brands = head[8 : int.from_bytes(head[:4], "big")]
    if head.startswith((b"ftypmif1", b"ftypmsf1"), 4) and b"avif" in brands:
        return "ok", "AVIF"  # a container that can hold HEIC too; its list of brands tells
    for offset, magic, status, what in _SIGNATURES:
        if head.startswith(magic, offset):
            return status, what
        # An image may be cut within its very first bytes. Zeros alone say nothing.
        if status == "ok" and offset == 0 and magic.startswith(head) and head[:1] != b"\0":
            return status, what
    if head.startswith(b"RIFF"[: len(head)]) and len(head) < 12:
        return "ok", "WEBP"
    # Two letters alone would claim many a text, so the size of the header must be a known one.
    known_header = len(head) < 18 or head[14] in (12, 16, 40, 52, 56, 64, 108, 124)
    if head.startswith(b"BM") and known_header:
        return "ok", "BMP"
    if _PNM.match(head):
        return "ok", "PPM"
    if _PAM.match(head):
        return "unsupported", "a PAM image, of any number of bands"
    if head.startswith((b"PF\n", b"PF\r\n")):
        return "unsupported", "a PFM image in colour"
    return "not_an_image", _describe(head)


def _describe(head: bytes) -> str:
    """What an unknown file seems to be, or ""."""
    if b"%PDF-" in head[:1024]:
        return "a PDF document"
    if re.match(rb"\x80[\x02-\x05]", head):
        return "a Python pickle"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"<"):
        if b"<svg" in text and b"<html" not in text:
            return "an SVG drawing"
        is_xml = text.startswith(b"<?xml") and b"<html" not in text
        return "an XML document" if is_xml else "an HTML page"
    return "" if re.search(rb"[\0-\x08\x0e-\x1f]", head) else "a text file"
