"""Code to copy: how to use the model file."""

from __future__ import annotations

import json
import shlex

from tellapart.report.parts.wording import visible


def snippets(model_file: str, weighted: bool = False) -> list[tuple[str, str]]:
    """Pairs of a title and code to copy: for the shell, for Python, and for onnxruntime alone.

    Args:
        model_file: the name of the model file.
        weighted: whether the model weighs its probabilities to answer.
    """
    ranked = "probabilities[0]"
    weights = ""
    if weighted:
        weights = 'weights = json.loads(session.get_modelmeta().custom_metadata_map["answers"])["weights"]\n'
        ranked = "(probabilities[0] * weights)"
    quoted, literal = visible(shlex.quote(model_file)), json.dumps(model_file)
    plain = f"""import json

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession({literal}, providers=["CPUExecutionProvider"])
photo = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB")
pixels = np.asarray(photo)[None]  # (1, H, W, 3) uint8 RGB, any H and W
name = session.get_inputs()[0].name
(probabilities,) = session.run(["probabilities"], {{name: pixels}})
classes = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
{weights}answer = {ranked}.argmax()
print(classes[answer], probabilities[0][answer])"""
    return [
        ("On the command line", f"tellapart predict {quoted} photos/"),
        (
            "In Python",
            (
                "import tellapart\n\nmodel ="
                f' tellapart.load({literal})\nprint(model.predict("photo.jpg"))'
            ),
        ),
        ("Without tellapart, with onnxruntime alone", plain),
    ]
