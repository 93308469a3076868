"""What a user can fix, worded so that they can.

UserError            wrong use: an option, a path, a class name            exit 2
├── InputsRejected   the work is done, some inputs were rejected           exit 3
├── Interrupted      stopped by the user; running again goes on            exit 4
├── Refused          a leak, a failed gate, changed data, no disk space    exit 5
└── Fault            a mistake in tellapart; the command line raises it    exit 1
"""

from __future__ import annotations

import difflib
from collections.abc import Collection
from importlib.util import find_spec


class UserError(Exception):
    """Something the user can fix. The command line prints it as one line, without a traceback.

    Args:
        message: what is wrong, and where.
        hint: what to do next.
    """

    kind = "usage"
    exit_code = 2

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message} {hint}".rstrip())
        self.message = message
        self.hint = hint


class InputsRejected(UserError):
    """The work is done, but some of the inputs could not be used; each is named with its status."""

    kind = "inputs_rejected"
    exit_code = 3


class Interrupted(UserError):
    """The user stopped the work. What was finished is kept, and the same command goes on from
    it.
    """

    kind = "interrupted"
    exit_code = 4


class Refused(UserError):
    """The work could be done but must not be: a leak, a failed gate, changed data, a full disk."""

    kind = "refused"
    exit_code = 5


class Fault(UserError):
    """A mistake in tellapart itself: the command line makes one of any other exception."""

    kind = "fault"
    exit_code = 1


def one_line(words: object, most: int = 200) -> str:
    """The words of others, such as an error of a library, in one line of at most `most` characters.

    >>> one_line(ValueError("No key.\\n  See the manual."))
    'No key. See the manual.'
    """
    return " ".join(str(words).split())[:most]


def reason_of(error: OSError) -> str:
    """The system's reason, as it stands in brackets in a message.

    >>> reason_of(PermissionError(13, "Permission denied"))
    'permission denied'
    """
    return (error.strerror or str(error) or type(error).__name__).lower()


MOST_LISTED = 20  # options in one message


def choose(kind: str, name: str, options: Collection[str]) -> str:
    """Return `name` if it is one of `options`, else say which ones exist.

    Of very many options the message gives the number and the nearest ones: those that are spelt
    alike, or that hold the name.

    >>> choose("verb", "train", ["train", "predict"])
    'train'
    >>> choose("verb", "trian", ["train", "predict"])
    Traceback (most recent call last):
        ...
    tellapart.errors.UserError: Unknown verb 'trian'. Did you mean 'train'? Choose one of: predict, train.
    """
    if name in options:
        return name
    few = len(options) <= MOST_LISTED
    count = 1 if few else 3
    holding = sorted((option for option in options if name and name in option), key=len)
    close = difflib.get_close_matches(name, options, n=count) or holding[:count]
    hint = f"Did you mean {' or '.join(map(repr, close))}? " if close else ""
    if few:
        hint += f"Choose one of: {', '.join(sorted(options))}."
    else:
        hint += f"There are {len(options):,} to choose from."
    raise UserError(f"Unknown {kind} {name!r}.", hint)


def require(ok: bool, name: str, got: object, rule: str) -> None:
    """Check the value of one option when it is set.

    >>> require(False, "seed", -1, "must be 0 or more")
    Traceback (most recent call last):
        ...
    tellapart.errors.UserError: seed must be 0 or more, got -1. Set it with --set seed=… or in the recipe file.
    """
    if not ok:
        raise UserError(
            f"{name} {rule}, got {got!r}.", f"Set it with --set {name}=… or in the recipe file."
        )


# The packages of the extra `torch`; all others that may be missing come with `train`.
_WITH_TORCH = frozenset(
    {"accelerate", "huggingface_hub", "psutil", "tensorboard", "timm", "torch", "torchvision"}
)


def needs_extra(package: str, extra: str | None = None) -> UserError:
    """The error for a verb whose package is not installed, with the command that installs it.

    Args:
        package: the missing one.
        extra: the extra that it comes with. None looks it up.

    >>> needs_extra("timm").hint
    "Run: pip install 'tellapart[torch]'"
    """
    extra = extra or ("torch" if package.partition(".")[0] in _WITH_TORCH else "train")
    return UserError(
        f"This needs {package}, which is not installed.", f"Run: pip install 'tellapart[{extra}]'"
    )


def need_torch(what: str) -> None:
    """See, before any work, that PyTorch is there.

    Args:
        what: needs it, as the subject of a sentence.

    Raises:
        UserError: it is not installed. Says which command installs it.
    """
    if find_spec("torch") is None or find_spec("timm") is None:
        raise UserError(
            f"{what} needs PyTorch, which is not installed.", "Run: pip install 'tellapart[torch]'"
        )
