"""From a folder of pictures to an image classifier that you can trust and ship.

>>> sorted(__all__)
['Answer', 'Predictor', 'Recipe', 'Run', 'UserError', 'evaluate', 'explore', 'load', 'train']
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING

if _TYPE_CHECKING:
    from tellapart.errors import UserError
    from tellapart.jobs.evaluation import evaluate
    from tellapart.jobs.exploration import explore
    from tellapart.jobs.training import Run, train
    from tellapart.modelfile.predictor import Answer, Predictor, load
    from tellapart.recipe import Recipe

__version__ = "0.1.0"

__all__ = ["Answer", "Predictor", "Recipe", "Run", "UserError", "evaluate", "explore", "load", "train"]

# Loaded when first used: `import tellapart` and `tellapart --help` touch neither numpy nor torch.
_HOME = {
    "Answer": "tellapart.modelfile.predictor",
    "Predictor": "tellapart.modelfile.predictor",
    "Recipe": "tellapart.recipe",
    "Run": "tellapart.jobs.training",
    "UserError": "tellapart.errors",
    "evaluate": "tellapart.jobs.evaluation",
    "explore": "tellapart.jobs.exploration",
    "load": "tellapart.modelfile.predictor",
    "train": "tellapart.jobs.training",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'tellapart' has no attribute {name!r}")
    try:
        return getattr(_import_module(_HOME[name]), name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("tellapart"):
            raise
        from tellapart.errors import needs_extra

        raise needs_extra(error.name, "train") from error


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
