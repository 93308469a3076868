"""The arguments and options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tellapart.cli.help import argument, flag, option

DATA_HELP = (
    "A folder with one folder per class, or with train/ and test/; a table of paths and labels; an"
    " archive; Parquet, arrays, or an export of an annotation tool. Or the address of a folder or"
    " a table in a store (s3://, gs://, az://)."
)

Data = Annotated[Path, argument(DATA_HELP, "DATA")]
Model = Annotated[Path, argument("A model.onnx, or the run folder that holds it.", "MODEL")]

RunData = Annotated[
    Path | None,
    option(
        "Where the data of the training is now. Default: where the run says it is.",
        metavar="DATA",
    ),
]
Engine = Annotated[
    str | None,
    option(
        "Let a Ray cluster read and embed the images: ray. Needs tellapart[ray]. Default: this"
        " process.",
        metavar="ENGINE",
    ),
]
Recipe = Annotated[
    str | None,
    option(
        "A recipe's name or a YAML file; tellapart recipes lists the names. Default: probe.",
        metavar="RECIPE",
    ),
]
Set = Annotated[
    list[str] | None,
    option("Change one key of the recipe. May be repeated.", "--set", metavar="KEY=VALUE"),
]
Seed = Annotated[
    int | None,
    option("The seed of every random decision. Default: the recipe's seed.", metavar="N"),
]
BootstrapSeed = Annotated[
    int, option("The seed of the bootstrap intervals. Default: 0.", metavar="N", min=0)
]
Splits = Annotated[
    Path | None,
    option(
        "Take over the splits of an earlier run, so that its test images stay unseen. New images"
        " join them.",
        metavar="RUN",
    ),
]
GroupBy = Annotated[
    str | None,
    option(
        "Keep each group of images in one split. A group is a value in a column (column:NAME), a"
        " folder (folder, or folder:N from the top), a part of the file name"
        " (name:PATTERN), or a burst of shots taken within seconds (burst).",
        metavar="RULE",
    ),
]
Copies = Annotated[
    str | None,
    option(
        "Which images are copies and stay in one split: near (also re-encoded or edited), exact"
        " (the same bytes only) or off (none). Default: near.",
        metavar="KIND",
    ),
]
Columns = Annotated[
    str | None,
    option(
        "The columns of a table, as path=FILE,label=KIND. The words on the left are path, label,"
        " split and group. Default: the columns with usual names.",
        metavar="PAIRS",
    ),
]
LabelBy = Annotated[
    str | None,
    option(
        "Where the label of an image is: in the folder that it lies in (folder), in the N-th folder"
        " from the top (folder:N), or in its file name (name:PATTERN with one group). Default: what"
        " fits.",
        metavar="RULE",
    ),
]
Crops = Annotated[
    bool,
    flag("Make each box of a detection set an image of the class of the box.", "--crops"),
]
Fixes = Annotated[
    Path | None,
    option(
        "Correct labels and leave images out by the decisions in this file, which tellapart review"
        " wrote. No image file changes.",
        metavar="FILE",
    ),
]
Strict = Annotated[
    bool,
    flag("Refuse data with leaks between splits or with conflicting labels.", "--strict"),
]
Budget = Annotated[
    str | None,
    option("A time limit for the whole command, as 90s, 20m or 1h30m.", metavar="TIME"),
]

Out = Annotated[
    Path | None, option("The folder that holds the runs. Default: runs.", metavar="FOLDER")
]
Name = Annotated[
    str | None, option("The name of the run. Default: the name of the data.", metavar="NAME")
]
Resume = Annotated[
    Path | None,
    option("Continue a run that was stopped. DATA is needed only if it moved.", metavar="RUN"),
]
Table = Annotated[
    Path | None, option("Write a table: .csv, .jsonl or .parquet.", "--out", metavar="FILE")
]
Json = Annotated[
    bool, flag("Print one JSON object on standard output, and nothing else there.", "--json")
]
Quiet = Annotated[bool, flag("Print nothing while working.", "--quiet", "-q")]
