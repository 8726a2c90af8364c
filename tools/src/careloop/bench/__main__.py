"""`./careloop bench pipeline|idle`."""

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


def main(arguments: list[str]) -> None:
    """What `./careloop bench` hands over."""
    app(arguments)


if __name__ == "__main__":
    app()
