"""The rule that no module of the data is run, and how a process of ours keeps it.

The current folder is often the data's, and a file there may be called numpy.py. So neither folder is
among those in which our processes look for modules.
"""

# Only os and sys, which Python has loaded before it comes here: `python -m tellapart` puts the
# current folder first, so anything else might come from there. `from __future__` is an import too.
import os
import sys

Folder = str | os.PathLike[str]

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_UTF8 = ("-X", "utf8")
_NEEDED = ("numpy", "PIL")  # what our processes import that is not Python's


def drop_current_folder() -> None:
    """Take the current folder off this process's path, unless it holds the running tellapart."""
    current = _current_folder()
    trusted = {_real(_OURS)}
    sys.path[:] = [entry for entry in sys.path if _real(entry) != current or current in trusted]


def read_names_as_utf8() -> None:
    """Start this process again in UTF-8 mode if Python takes the names of files for ASCII.

    It does so under LC_ALL=C with PYTHONUTF8=0, as some batch systems set them. Names on disk are
    UTF-8 all the same, so a class would be called K\\xc3\\xa4se, and no table would find its files.
    """
    if sys.getfilesystemencoding() == "ascii" and sys.executable and sys.orig_argv:
        os.execv(sys.executable, [sys.executable, *_UTF8, *sys.orig_argv[1:]])  # noqa: S606


def python_command(module: str, *arguments: Folder) -> list[str]:
    """The command that runs a module in a process of its own; `environment` belongs to it."""
    # Without -P, Python puts the current folder first.
    options = ["-P", *(_UTF8 if sys.flags.utf8_mode else ())]
    words = [os.fspath(argument) for argument in arguments]
    return [sys.executable, *options, "-m", module, *words]


def environment(data: Folder) -> dict[str, str]:
    """The environment of a process of ours, which finds the modules that this one finds.

    Neither the current folder nor those of the data are on its path, nor what Python would take for
    the current folder.

    Args:
        data: the folder that it reads.
    """
    return {**os.environ, "PYTHONPATH": os.pathsep.join(_module_folders(data))}


def _module_folders(data: Folder) -> list[str]:
    current, root = _current_folder(), _real(data)
    trusted = {_real(_OURS), *map(_home_of, _NEEDED)}

    def is_ours(entry: str) -> bool:
        real = _real(entry)
        return real in trusted or not (real == current or _is_in(real, root))

    return [entry for entry in sys.path if os.path.isabs(entry) and is_ours(entry)]


def _home_of(name: str) -> str:
    """The folder from which a module was loaded; "" where it was not."""
    file = getattr(sys.modules.get(name), "__file__", None)
    return _real(os.path.dirname(os.path.dirname(file))) if file else ""


def _current_folder() -> str:
    try:
        return _real(os.getcwd())
    except OSError:  # it was removed
        return ""


def _real(folder: Folder) -> str:
    """A folder without links. Python takes "" for the current one, as this does."""
    try:
        return os.path.normcase(os.path.realpath(folder))
    except OSError:
        return ""


def _is_in(folder: str, root: str) -> bool:
    return folder == root or folder.startswith(root.rstrip(os.sep) + os.sep)
