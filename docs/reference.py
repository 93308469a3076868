"""Pages of the reference that are read from the code: the command line, the recipe keys, and Python.

Each function returns the Markdown of one page. `make_site.py` writes them beside the other pages.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import tellapart
from tellapart.recipe import METHODS, Recipe, methods_of, option_text, recipe_items
from tellapart.recipe_files import recipe_names, recipe_text
from tellapart.recipe_keys import RecipeKey, recipes

STARS: Mapping[Any, str] = {
    inspect.Parameter.VAR_POSITIONAL: "*",
    inspect.Parameter.VAR_KEYWORD: "**",
}
SECTIONS = ("Args", "Returns", "Raises", "Yields", "Source")


def command_line() -> str:
    """The page of the command line: each command with its arguments, options and examples."""
    lines = [
        "# Command line",
        "",
        "This page is generated from the program. `tellapart COMMAND --help` says the same.",
        "",
        "| command | what it does |",
        "|---|---|",
    ]
    commands = click_commands()
    for name, command in commands.items():
        lines.append(f"| [`{name}`](#{name}) | {cell(first_paragraph(command.help))} |")
    for name, command in with_subcommands(commands).items():
        lines += ["", f"## {name}", "", plain(command.help), ""]
        lines += _parameters(name, command)
        examples = example_lines(command.epilog or "")
        lines += ["", "```console", *(f"$ {line}" for line in examples), "```"]
    return "\n".join(lines) + "\n"


def click_commands() -> dict[str, Any]:
    """Command name → the command as click knows it, in the order of the help."""
    from typer.main import get_command

    from tellapart.cli.verbs import app

    import_module("tellapart.cli.main")  # the verbs of all modules have joined after this
    group: Any = get_command(app)
    return {name: command for name, command in group.commands.items() if not command.hidden}


def example_lines(epilog: str) -> list[str]:
    """The commands in the examples below a command's help, one a line."""
    text = re.sub(r"^\s*Examples?:", "", inspect.cleandoc(epilog))
    lines = [" ".join(part.split()) for part in re.split(r"·|\n", text)]
    return [line.removeprefix("$ ") for line in lines if line]


def with_subcommands(commands: Mapping[str, Any]) -> dict[str, Any]:
    """The commands, and behind each group the commands in it, by all words of their names."""
    found = {}
    for name, command in commands.items():
        found[name] = command
        inner = getattr(command, "commands", {})
        found |= {f"{name} {word}": subcommand for word, subcommand in inner.items()}
    return found


def _parameters(name: str, command: Any) -> Iterator[str]:
    yield f"`tellapart {name} {usage(command)}`"
    yield ""
    yield "| | what it means |"
    yield "|---|---|"
    for parameter in command.params:
        yield f"| `{cell(spelling(parameter))}` | {cell(plain(parameter.help))} |"


def usage(command: Any) -> str:
    """The words behind a command: its arguments, and that there are options."""
    names = [
        spelling(parameter)
        for parameter in command.params
        if parameter.param_type_name == "argument"
    ]
    return " ".join([*names, "[OPTIONS]"])


def spelling(parameter: Any) -> str:
    """A parameter as it is typed."""
    if parameter.param_type_name == "argument":
        name = parameter.metavar or parameter.name.upper()
        return name if parameter.required else f"[{name}]"
    flags = ", ".join(sorted(parameter.opts, key=len, reverse=True))
    flags += "".join(f" / {flag}" for flag in parameter.secondary_opts)
    return flags if parameter.is_flag else f"{flags} {parameter.metavar or _kind(parameter)}"


def _kind(parameter: Any) -> str:
    """What an option takes, in a word."""
    descriptor = getattr(parameter, "type_descriptor", None)  # typer before 0.27 has click's types
    name = str(descriptor.annotation.__name__ if descriptor else parameter.type.name)
    return {"int": "NUMBER", "integer": "NUMBER", "float": "NUMBER", "str": "TEXT"}.get(
        name.lower(), name.upper()
    )


def recipe_keys() -> str:
    """The page of the recipe keys: one table for each group, then the files of the recipes."""
    lines = [
        "# Recipe keys",
        "",
        "This page is generated from the options in the code. A key is set with"
        " `--set key=value`, in Python with `set={key: value}`, or in a YAML file that"
        " `--recipe` names. An unknown key or a wrong value is refused.",
        "",
        "`tellapart recipes NAME` lists the keys of one recipe with its values.",
    ]
    for group, keys in _key_groups().items():
        lines += ["", f"## {group}", "", "| key | takes | what it means |", "|---|---|---|"]
        lines += [_key_row(key) for key in keys]
    lines += ["", "## Recipe files", "", "These are the recipes that come with tellapart."]
    for name in recipe_names():
        lines += ["", f"### {name}", "", "```yaml", recipe_text(name).rstrip(), "```"]
    return "\n".join(lines) + "\n"


def _key_row(key: RecipeKey) -> str:
    default = f"`{cell(option_text(key.default))}`" if option_text(key.default) else "empty"
    meaning = f"{cell(key.help)}{_read_by(key.name)}"
    return f"| `{key.name}` | {cell(key.takes)}; default {default} | {meaning} |"


def _key_groups() -> dict[str, list[RecipeKey]]:
    found = {key.name: key for name in recipe_names() for key in recipes(name)}
    groups: dict[str, list[RecipeKey]] = {}
    for name, _ in recipe_items(Recipe()):
        group = name.partition(".")[0] if "." in name else "The run"
        groups.setdefault(group, []).append(found[name])
    return groups


def _read_by(name: str) -> str:
    methods = methods_of(name)
    if methods == METHODS:
        return ""
    return f" *(method {' or '.join(methods)})*"


def python_api() -> str:
    """The page of the Python names: each public function and type with its docstring."""
    lines = [
        "# Python",
        "",
        "This page is generated from the docstrings. All of these names are importable from"
        " `tellapart`; everything else may change without notice.",
    ]
    for name in sorted(tellapart.__all__, key=str.lower):
        value = getattr(tellapart, name)
        lines += ["", f"## {name}", "", *_entry(name, value)]
        if inspect.isclass(value):
            for member, function in _members(value):
                lines += ["", f"### {name}.{member}", "", *_entry(member, function)]
    return "\n".join(lines) + "\n"


def _entry(name: str, value: Any) -> list[str]:
    """A name's signature and docstring; of a type that is only an alias, what it stands for."""
    if typing.get_origin(value) is not None:
        meaning = re.sub(r"\b(?:\w+\.)+(?=\w)", "", str(value)).replace("typing.", "")
        return ["```text", f"{name} = {meaning}", "```"]
    signature = _signature(name, value)
    code = ["```text", signature, "```", ""] if signature else []
    return [*code, docstring(inspect.cleandoc(value.__doc__ or ""))]


def _signature(name: str, value: Any) -> str:
    """A function or class as it is called; "" for what cannot be called."""
    if isinstance(value, property):
        return ""
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return ""
    parameters: list[str] = []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not any(
            text.startswith("*") for text in parameters
        ):
            parameters.append("*")
        if parameter.name not in ("self", "cls"):
            parameters.append(_parameter(parameter))
    annotation = signature.return_annotation
    hidden = annotation is signature.empty or inspect.isclass(value)
    arrow = "" if hidden else f" -> {_type(annotation)}"
    one_line = f"{name}({', '.join(parameters)}){arrow}"
    if len(one_line) <= 80:
        return one_line
    return "\n".join([f"{name}(", *(f"    {text}," for text in parameters), f"){arrow}"])


def _parameter(parameter: inspect.Parameter) -> str:
    text = f"{STARS.get(parameter.kind, '')}{parameter.name}"
    if parameter.annotation is not parameter.empty:
        text += f": {_type(parameter.annotation)}"
    if parameter.default is parameter.empty:
        return text
    # The default of a field that is made anew each time says nothing to a reader.
    default = "…" if "factory" in repr(parameter.default) else repr(parameter.default)
    return f"{text} = {default}"


def _type(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _members(kind: type) -> Iterator[tuple[str, Any]]:
    """The public methods and properties that a class itself defines."""
    if issubclass(kind, tuple) or kind.__module__.partition(".")[0] != "tellapart":
        return
    fields = (
        {field.name for field in dataclasses.fields(kind)}
        if dataclasses.is_dataclass(kind)
        else set()
    )
    for name, value in vars(kind).items():
        if name.startswith("_") or name in fields:
            continue
        function = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        if (inspect.isfunction(function) or isinstance(function, property)) and function.__doc__:
            yield name, function


def docstring(text: str) -> str:
    """A docstring as Markdown: its parameters as a list, its example as a code block."""
    lines: list[str] = []
    section, in_example = "", False
    for line in text.split("\n"):
        header = line.strip().removesuffix(":")
        if line.startswith(">>>"):
            if not in_example:
                lines += ["", "```pycon"]
            in_example, section = True, ""
        elif in_example and not line.strip():
            lines.append("```")
            in_example = False
        if not in_example and line.endswith(":") and header in SECTIONS:
            section = header
            lines += ["", f"**{header}**", ""]
            continue
        lines.append(line if in_example else _section_line(section, line))
    if in_example:
        lines.append("```")
    return "\n".join(lines)


def _section_line(section: str, line: str) -> str:
    entry = re.match(r"    (\*{0,2}[\w.]+): (.*)", line)
    if section and entry:
        return f"- `{entry[1]}`: {_prose(entry[2])}"
    return f"  {_prose(line.strip())}" if section and line.strip() else _prose(line)


def _prose(line: str) -> str:
    return line.replace("<", "&lt;")


def first_paragraph(text: str | None) -> str:
    """The first paragraph of a help text, in one line."""
    return plain((text or "").split("\n\n")[0])


def plain(text: str | None) -> str:
    """A text of a help page in one line, without the marks that keep Rich from reading it."""
    return " ".join((text or "").replace("\\[", "[").split())


def cell(text: str) -> str:
    """A text that may stand in a cell of a table."""
    return text.replace("|", "\\|").replace("<", "&lt;")
