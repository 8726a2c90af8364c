"""`./careloop bench pipeline|idle|vaccines`."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)
Out = Annotated[Path | None, typer.Option("--json", help="Write the figures here too.")]


@app.command()
def pipeline(
    events: Annotated[int, typer.Option("-n", "--events", help="How many results.")] = 60_000, json: Out = None
) -> None:
    """From an HbA1c over HTTP to GapOpened on Kafka."""
    from careloop.bench import pipeline as bench

    bench.run(events, json)


@app.command()
def idle(json: Out = None) -> None:
    """Memory and start-up time of each service at rest."""
    from careloop.bench import idle as bench

    bench.run(json)


@app.command()
def vaccines(
    schedule: Annotated[Path | None, typer.Option(help="Compact JSON, or the official ZIP of XML.")] = None,
    json: Out = None,
) -> None:
    """The vaccine forecaster, all routine vaccine groups for one person after the other; needs no servers."""
    from careloop.bench import vaccines as bench

    bench.run(schedule, json)


def main(arguments: list[str]) -> None:
    """What `./careloop bench` hands over."""
    app(arguments)


if __name__ == "__main__":
    app()
