"""From a folder of pictures to an image classifier that you can trust and ship.

>>> sorted(__all__)
['Answer', 'Predictor', 'Recipe', 'Run', 'UserError', 'compare_runs', 'cross_validate', 'evaluate', 'explore', \
'list_runs', 'load', 'pick', 'train', 'tune']
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING

if _TYPE_CHECKING:
    from tellapart.errors import UserError
    from tellapart.jobs.comparison import compare_runs
    from tellapart.jobs.crossvalidation import cross_validate
    from tellapart.jobs.evaluation import evaluate
    from tellapart.jobs.exploration import explore
    from tellapart.jobs.listing import list_runs
    from tellapart.jobs.picking import pick
    from tellapart.jobs.training import Run, train
    from tellapart.jobs.tuning import tune
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
    "Run": "tellapart.jobs.training",
    "UserError": "tellapart.errors",
    "compare_runs": "tellapart.jobs.comparison",
    "cross_validate": "tellapart.jobs.crossvalidation",
    "evaluate": "tellapart.jobs.evaluation",
    "explore": "tellapart.jobs.exploration",
    "list_runs": "tellapart.jobs.listing",
    "load": "tellapart.modelfile.predictor",
    "pick": "tellapart.jobs.picking",
    "train": "tellapart.jobs.training",
    "tune": "tellapart.jobs.tuning",
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
