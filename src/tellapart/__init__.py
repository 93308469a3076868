r"""From a folder of images to an image classifier that you can trust and ship.

>>> sorted(__all__)
['Answer', 'Predictor', 'Recipe', 'Run', 'UserError', 'compare_runs', 'cross_validate', 'evaluate',
'explore', \ 'list_runs', 'load', 'pick', 'train', 'tune']
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING

if _TYPE_CHECKING:
    from tellapart.errors import UserError
    from tellapart.jobs.compare import compare_runs
    from tellapart.jobs.cv.cross_validate import cross_validate
    from tellapart.jobs.evaluate import evaluate
    from tellapart.jobs.explore import explore
    from tellapart.jobs.pick.pick import pick
    from tellapart.jobs.runs import list_runs
    from tellapart.jobs.train import Run, train
    from tellapart.jobs.tune.tune import tune
    from tellapart.modelfile.predictor import Answer, Predictor, load
    from tellapart.recipe import Recipe

__version__ = "0.1.0"

__all__ = [
    "Answer",
    "Predictor",
    "Recipe",
    "Run",
    "UserError",
    "compare_runs",
    "cross_validate",
    "evaluate",
    "explore",
    "list_runs",
    "load",
    "pick",
    "train",
    "tune",
]

# Loaded when first used: `import tellapart` and `tellapart --help` touch neither numpy nor torch.
_HOME = {
    "Answer": "tellapart.modelfile.predictor",
    "Predictor": "tellapart.modelfile.predictor",
    "Recipe": "tellapart.recipe",
    "Run": "tellapart.jobs.train",
    "UserError": "tellapart.errors",
    "compare_runs": "tellapart.jobs.compare",
    "cross_validate": "tellapart.jobs.cv.cross_validate",
    "evaluate": "tellapart.jobs.evaluate",
    "explore": "tellapart.jobs.explore",
    "list_runs": "tellapart.jobs.runs",
    "load": "tellapart.modelfile.predictor",
    "pick": "tellapart.jobs.pick.pick",
    "train": "tellapart.jobs.train",
    "tune": "tellapart.jobs.tune.tune",
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
