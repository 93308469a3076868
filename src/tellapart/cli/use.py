"""The verbs that use a finished model."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

import tellapart
from tellapart.catalog.names import escape
from tellapart.cli.help import Verb, argument, examples, flag, option
from tellapart.cli.options import (
    BootstrapSeed,
    Columns,
    Crops,
    Fixes,
    Json,
    LabelBy,
    Model,
    Quiet,
    RunData,
)
from tellapart.cli.output import (
    echo,
    end_with,
    print_answers,
    print_classes,
    print_found,
    print_json,
    print_scores,
    print_slices,
    print_table,
)
from tellapart.cli.values import check_export, page_for, settings
from tellapart.errors import UserError
from tellapart.server.limits import Limits

verbs = typer.Typer()
verb = partial(verbs.command, cls=Verb, rich_help_panel="Use")


@verb(
    epilog=examples(
        "predict model.onnx photo.jpg new/ 'more/*.png'",
        "predict runs/20261121-101500-photos new/ --out answers.csv",
        "predict model.onnx - < list-of-files.txt",
        "predict model.onnx new/ --out answers/ --shard 3/8 --resume",
        "predict runs/20261121-101500-photos new/ --explain why/",
    )
)
def predict(
    model: Model,
    images: Annotated[
        list[str],
        argument(
            "Files, folders, patterns, archives, tables of paths, web addresses of images, and"
            " addresses in stores (s3://, gs://, az://). - reads a list of files from standard"
            " input.",
            "IMAGES",
        ),
    ],
    out: Annotated[
        str | None,
        option(
            "Write a table: .csv, .jsonl or .parquet. A name that ends in / is a folder, which gets"
            " Parquet in parts.",
            metavar="FILE",
        ),
    ] = None,
    top: Annotated[
        int, option("How many classes to show for each image. Default: 1.", metavar="N", min=1)
    ] = 1,
    sets: Annotated[
        float | None,
        option(
            "Show the classes that hold the truth with this probability, as 0.95.", metavar="LEVEL"
        ),
    ] = None,
    resume: Annotated[
        bool,
        flag("Go on with a table that was begun, behind its last whole row.", "--resume"),
    ] = False,
    shard: Annotated[
        str | None,
        option("Answer one share of the images, as 3/8 for the third of eight.", metavar="K/N"),
    ] = None,
    engine: Annotated[
        str | None,
        option(
            "Spread the images over a Ray cluster: ray. Needs tellapart[ray].", metavar="ENGINE"
        ),
    ] = None,
    provider: Annotated[
        str | None,
        option(
            "What runs the network, as cuda. Default: cpu. onnxruntime must have it.",
            metavar="NAME",
        ),
    ] = None,
    explain: Annotated[
        Path | None,
        option(
            "Show why the first 100 images are answered so, in a page and pictures in this folder.",
            metavar="FOLDER",
        ),
    ] = None,
    columns: Columns = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Classify images: one row per file, in the order given. Needs no torch."""
    predicted = tellapart.predict(
        model,
        _with_lists(images) if "-" in images and sys.stdin else images,
        out=out,
        keep=not out,
        sets=sets,
        set=settings(None, columns),
        resume=resume,
        shard=shard,
        engine=engine,
        provider=provider,
        explain=explain,
        quiet=quiet,
    )
    count = sum(predicted.statuses.values())
    if json_ and out:
        row = {"statuses": dict(predicted.statuses), "out": escape(str(out)), "rows": count}
        print_json({**row, **predicted.page_as_json()})
    elif json_:
        print_json(predicted.as_json(top))
    elif out:
        echo(f"{count:,} row{'s' * (count != 1)} written to {out}")
    else:
        print_answers(predicted.answers, top)
    if predicted.explained and not json_:
        echo(f"explained {predicted.explained}")
    end_with(predicted.statuses, quiet=quiet or json_)


def _with_lists(words: list[str]) -> Iterator[Any]:
    """Words, and in place of "-" the list on standard input, read as it is needed."""
    from tellapart.sources.inputs import expand_inputs

    for word in words:
        yield from expand_inputs([word], sys.stdin.buffer) if word == "-" else [word]


@verb(
    epilog=examples(
        "evaluate runs/20261121-101500-photos more-photos/",
        "evaluate runs/20261121-101500-photos --slices all",
        "evaluate runs/20261121-101500-photos more-photos.csv --slices camera,site",
    )
)
def evaluate(
    model: Model,
    data: Annotated[
        Path | None,
        argument(
            "Labelled images, in any form that train takes. Default: the answers to the test images"
            " that the run has kept.",
            "[DATA]",
        ),
    ] = None,
    slices: Annotated[
        str | None,
        option(
            "Show the accuracy by columns: those of the data's table, folder:N, short side, aspect"
            " ratio, brightness, contrast, colourfulness, taken and camera. all takes every"
            " column.",
            metavar="COLUMN,...",
        ),
    ] = None,
    seed: BootstrapSeed = 0,
    columns: Columns = None,
    label_by: LabelBy = None,
    crops: Crops = False,
    fixes: Fixes = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure a model on labelled images, with 95 % intervals. Needs no torch."""
    form = settings(None, columns, label_by, fixes, crops=crops)
    if form and data is None:
        raise UserError("Options on the form of DATA need DATA.", "Give it after the model.")
    names = slices.split(",") if slices else None
    evaluation = tellapart.evaluate(model, data, set=form, slices=names, seed=seed, quiet=quiet)
    if json_:
        print_json(evaluation.as_json())
    else:
        print_scores(evaluation.metrics)
        echo(f"answered  {evaluation.answering.coverage}")
        echo(f"  of these correct  {evaluation.answering.accuracy_answered}")
        print_classes(evaluation.metrics)
        if evaluation.slices:
            print_slices(evaluation.slices)
    end_with(evaluation.statuses, quiet=quiet or json_)


@verb(name="inspect", epilog=examples("inspect model.onnx", "inspect model.onnx --json"))
def inspect_(
    model: Model,
    licence: Annotated[
        bool, flag("Print the texts of the licences too, where the file holds them.", "--licence")
    ] = False,
    json_: Json = False,
) -> None:
    """Show what a model file says of itself, and how fast it is here. Needs no torch."""
    inspection = tellapart.inspect_model(model)
    if json_:
        print_json(inspection.as_json())
    else:
        texts = inspection.licence_texts if licence else ()
        for line in "\n".join([*inspection.lines, *texts]).splitlines():
            echo(line)


@verb(
    epilog=examples(
        "export runs/20261121-101500-photos --as fp16",
        "export runs/20261121-101500-photos --as int8 --data photos/ --out small.onnx",
        "export runs/20261121-101500-photos --web page/",
    )
)
def export(
    run: Annotated[
        Path,
        argument("A run folder. A model.onnx will do where its form stays as it is.", "RUN"),
    ],
    form: Annotated[
        str | None,
        option(
            "The form: fp32, fp16 (weights in half precision), int8, or openvino (an .xml and a"
            " .bin file). Default: as it is.",
            "--as",
            metavar="FORM",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        option("The file to write. Default: model-FORM in the run folder.", metavar="FILE"),
    ] = None,
    web: Annotated[
        Path | None,
        option("Write a page that runs the model in the browser into this folder.", metavar="DIR"),
    ] = None,
    data: RunData = None,
    runtime: Annotated[
        Path | None,
        option(
            "For --web: the file of ONNX Runtime Web that npm pack made. Default: as kept in the"
            " cache.",
            metavar="FILE",
        ),
    ] = None,
    name: Annotated[
        str | None,
        option("For --web: what the page is called. Default: the run's name.", metavar="NAME"),
    ] = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a smaller form of a model file, or a page without a server. Needs no torch."""
    check_export(form, out, web, runtime, name)
    if web:
        exported = tellapart.export_web(
            run, web, form=form, data=data, runtime=runtime, name=name, quiet=quiet
        )
    else:
        assert form  # `check_export` has seen it
        exported = tellapart.export_model(run, form, out=out, data=data, quiet=quiet)
    if json_:
        print_json(exported.as_json())
    else:
        of_file = f", {exported.original_bytes / 1e6:.1f} MB before" * (web is None)
        echo(f"size      {exported.bytes / 1e6:.1f} MB{of_file}")
        label = "page" if web else "model"
        echo(f"{label:<10}{exported.path}")


@verb(
    epilog=examples(
        "report runs/20261121-101500-photos",
        "report runs/20261121-101500-photos --data photos/",
    )
)
def report(
    run: Annotated[Path, argument("The folder of a finished run.", "RUN")],
    data: RunData = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make the report of a run anew from its folder. Needs no torch."""
    written = tellapart.write_report(run, data=data, quiet=quiet)
    if json_:
        print_json(written.as_json())
    else:
        echo(f"report    {written.page}")
        echo(f"facts     {written.facts}")
        echo(f"card      {written.model_card}")


@verb(epilog=examples("drift model.onnx requests.jsonl", "drift model.onnx answers.parquet"))
def drift(
    model: Model,
    requests: Annotated[
        Path,
        argument("The log of serve, or a table of answers: .jsonl, .csv or .parquet.", "REQUESTS"),
    ],
    out: Annotated[
        Path | None,
        option("The HTML page to write. Default: NAME-drift.html here.", metavar="FILE"),
    ] = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare the images that a model answers now with those of its training."""
    page = page_for(out, requests, "drift")
    found = tellapart.drift(model, requests, out=page, quiet=quiet)
    print_found(found.as_json(), found.lines, found.page, json_)


@verb(
    epilog=examples(
        "stress runs/20261121-101500-photos photos/",
        "stress runs/20261121-101500-photos photos/ --images 1000",
    )
)
def stress(
    run: Annotated[Path, argument("The folder of a finished run.", "RUN")],
    data: Annotated[
        Path | None,
        argument(
            "Where the data of the training is now. Default: where the run says it is.", "[DATA]"
        ),
    ] = None,
    images: Annotated[
        int,
        option("How many test images to change at most. Default: 200.", metavar="N", min=1),
    ] = 200,
    seed: Annotated[
        int,
        option("The seed of the choice of images and of the noise. Default: 0.", metavar="N"),
    ] = 0,
    out: Annotated[
        Path | None,
        option("The HTML page to write. Default: stress.html in the run folder.", metavar="FILE"),
    ] = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Blur, darken, turn and shrink test images, and see when the model fails."""
    found = tellapart.stress(run, data, images=images, seed=seed, out=out, quiet=quiet)
    if not json_:
        heads, rows = found.rows
        print_table(heads, rows, always_heads=True)
    print_found(found.as_json(), found.lines, found.page, json_)


@verb(
    epilog=examples(
        "serve runs/20261121-101500-photos",
        "serve cats=cats.onnx dogs=dogs.onnx --port 9000",
        "serve model.onnx --host 0.0.0.0 --token-file token.txt --name photos.example.org",
    )
)
def serve(
    models: Annotated[
        list[str],
        argument(
            "Model files or run folders. NAME= in front says what addresses call a model.",
            "[NAME=]MODEL",
        ),
    ],
    host: Annotated[
        str, option("The address to listen on. Default: 127.0.0.1.", metavar="ADDRESS")
    ] = "127.0.0.1",
    port: Annotated[
        int, option("The port; 0 takes a free one. Default: 8000.", metavar="N", min=0, max=65535)
    ] = 8000,
    token_file: Annotated[
        Path | None,
        option("The file with the token that clients must send.", metavar="FILE"),
    ] = None,
    name: Annotated[
        list[str],
        option("A host name that clients may use for the server. Repeat it.", metavar="HOST"),
    ] = [],  # noqa: B006 - typer's way of saying none
    workers: Annotated[
        int | None,
        option("How many processes answer. Default: one per core.", metavar="N", min=1),
    ] = None,
    max_bytes: Annotated[
        int, option("The largest request, in bytes. Default: 32000000.", metavar="N", min=1000)
    ] = Limits.max_bytes,
    waiting: Annotated[
        int, option("How many images may wait. Default: 128.", metavar="N", min=1)
    ] = Limits.waiting,
    quiet: Quiet = False,
) -> None:
    """Serve models over HTTP, with a page to try them. Needs tellapart[serve]."""
    limits = Limits(max_bytes=max_bytes, waiting=waiting)
    tellapart.serve(
        models,
        host=host,
        port=port,
        token_file=token_file,
        names=name,
        workers=workers,
        limits=limits,
        quiet=quiet,
    )
