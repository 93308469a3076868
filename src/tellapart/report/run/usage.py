"""How to use the model file, as code to copy."""

from __future__ import annotations

import json
import shlex

from tellapart.report.parts.wording import visible


def snippets(model_file: str) -> list[tuple[str, str]]:
    """What to type, ready to copy: (where, code) for the shell, for Python, and for onnxruntime
    alone.
    """
    quoted, literal = visible(shlex.quote(model_file)), json.dumps(model_file)
    plain = f"""import json

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession({literal}, providers=["CPUExecutionProvider"])
photo = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB")
pixels = np.asarray(photo)[None]  # (1, H, W, 3) uint8 RGB, any H and W
name = session.get_inputs()[0].name
probabilities, embedding = session.run(["probabilities", "embedding"], {{name: pixels}})
classes = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
print(classes[probabilities[0].argmax()], probabilities[0].max())"""
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
