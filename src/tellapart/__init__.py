"""From a folder of images to an image classifier that you can trust and ship.

    import tellapart

    run = tellapart.train("photos/")  # checked, measured and written to runs/
    print(run)  # the score and where the report is
    tellapart.load(run.model).predict("new.jpg").answer

The verbs are functions: train, cross_validate, tune, pick, explore, audit, check, augment,
find_rate, evaluate, predict, load, inspect_model, export_model, export_web, serve, drift,
list_runs, compare_runs, recipes, backbones and fetch_backbone. Everything that they take, return or
raise is a name of this module too.

>>> import tellapart
>>> all(getattr(tellapart, name) for name in tellapart.__all__)
True
"""

from importlib import import_module as _import_module

# Not from `typing`: `python -m tellapart` would take that from the current folder, which leaves
# Python's path later.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from tellapart.catalog.findings import Finding
    from tellapart.catalog.table import Catalog
    from tellapart.errors import InputsRejected, Interrupted, Refused, UserError
    from tellapart.estimator import ImageClassifier
    from tellapart.evaluation.metrics import Metrics, Score
    from tellapart.evaluation.predictions import Predictions
    from tellapart.extensions import Network
    from tellapart.jobs.audit.audit import Audit, audit
    from tellapart.jobs.augment import Augmented, augment
    from tellapart.jobs.check import Check, check
    from tellapart.jobs.compare import RunComparison, compare_runs
    from tellapart.jobs.cv.cross_validate import cross_validate
    from tellapart.jobs.cv.result import CrossValidated
    from tellapart.jobs.drift import Drift, drift
    from tellapart.jobs.evaluate import Evaluation, evaluate
    from tellapart.jobs.explore import Exploration, explore
    from tellapart.jobs.export import Exported, export_model, export_web
    from tellapart.jobs.find_rate import FoundRate, find_rate
    from tellapart.jobs.inspect import Inspection, inspect_model
    from tellapart.jobs.pick.pick import Picked, pick
    from tellapart.jobs.predict import Predicted, predict
    from tellapart.jobs.runs import RunList, list_runs
    from tellapart.jobs.serve import serve
    from tellapart.jobs.train import train
    from tellapart.jobs.tune.tune import Tuned, tune
    from tellapart.modelfile.predictor import Answer, Predictor, load
    from tellapart.models.fetch import HubWeights, fetch_backbone
    from tellapart.models.zoo import BackboneFacts, backbones
    from tellapart.pipeline.run import Run
    from tellapart.recipe import Recipe
    from tellapart.recipe_keys import RecipeKey, RecipeSummary, recipes
    from tellapart.runs.audit import AuditFinding, AuditImage
    from tellapart.server.limits import Limits
    from tellapart.sources.source import Source
    from tellapart.training.events import Callback, Event
del TYPE_CHECKING

__version__ = "0.1.0"

__all__ = [
    "Answer",
    "Audit",
    "AuditFinding",
    "AuditImage",
    "Augmented",
    "BackboneFacts",
    "Callback",
    "Catalog",
    "Check",
    "CrossValidated",
    "Drift",
    "Evaluation",
    "Event",
    "Exploration",
    "Exported",
    "Finding",
    "FoundRate",
    "HubWeights",
    "ImageClassifier",
    "InputsRejected",
    "Inspection",
    "Interrupted",
    "Limits",
    "Metrics",
    "Network",
    "Picked",
    "Predicted",
    "Predictions",
    "Predictor",
    "Recipe",
    "RecipeKey",
    "RecipeSummary",
    "Refused",
    "Run",
    "RunComparison",
    "RunList",
    "Score",
    "Source",
    "Tuned",
    "UserError",
    "audit",
    "augment",
    "backbones",
    "check",
    "compare_runs",
    "cross_validate",
    "drift",
    "evaluate",
    "explore",
    "export_model",
    "export_web",
    "fetch_backbone",
    "find_rate",
    "inspect_model",
    "list_runs",
    "load",
    "pick",
    "predict",
    "recipes",
    "serve",
    "train",
    "tune",
]

# Loaded when first used: `import tellapart` and `tellapart --help` touch neither numpy nor torch.
_HOMES = {
    "catalog.findings": ("Finding",),
    "sources.source": ("Source",),
    "catalog.table": ("Catalog",),
    "errors": (
        "InputsRejected",
        "Interrupted",
        "Refused",
        "UserError",
    ),
    "estimator": ("ImageClassifier",),
    "evaluation.metrics": (
        "Metrics",
        "Score",
    ),
    "evaluation.predictions": ("Predictions",),
    "extensions": ("Network",),
    "jobs.audit.audit": (
        "Audit",
        "audit",
    ),
    "jobs.augment": (
        "Augmented",
        "augment",
    ),
    "jobs.check": (
        "Check",
        "check",
    ),
    "jobs.compare": (
        "RunComparison",
        "compare_runs",
    ),
    "jobs.cv.cross_validate": ("cross_validate",),
    "jobs.cv.result": ("CrossValidated",),
    "jobs.drift": (
        "Drift",
        "drift",
    ),
    "jobs.evaluate": (
        "Evaluation",
        "evaluate",
    ),
    "jobs.explore": (
        "Exploration",
        "explore",
    ),
    "jobs.export": (
        "Exported",
        "export_model",
        "export_web",
    ),
    "jobs.find_rate": (
        "FoundRate",
        "find_rate",
    ),
    "jobs.inspect": (
        "Inspection",
        "inspect_model",
    ),
    "jobs.pick.pick": (
        "Picked",
        "pick",
    ),
    "jobs.predict": (
        "Predicted",
        "predict",
    ),
    "jobs.runs": (
        "RunList",
        "list_runs",
    ),
    "jobs.serve": ("serve",),
    "jobs.train": ("train",),
    "jobs.tune.tune": (
        "Tuned",
        "tune",
    ),
    "runs.audit": (
        "AuditFinding",
        "AuditImage",
    ),
    "server.limits": ("Limits",),
    "modelfile.predictor": (
        "Answer",
        "Predictor",
        "load",
    ),
    "models.fetch": (
        "HubWeights",
        "fetch_backbone",
    ),
    "models.zoo": (
        "BackboneFacts",
        "backbones",
    ),
    "pipeline.run": ("Run",),
    "recipe": ("Recipe",),
    "recipe_keys": (
        "RecipeKey",
        "RecipeSummary",
        "recipes",
    ),
    "training.events": (
        "Callback",
        "Event",
    ),
}
_HOME = {name: f"tellapart.{module}" for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'tellapart' has no attribute {name!r}")
    try:
        return getattr(_import_module(_HOME[name]), name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("tellapart"):
            raise
        from tellapart.errors import needs_extra

        raise needs_extra(error.name) from error


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
