"""`seewhy train`: an explainer of one's own model from one's own photos, without labels."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from seewhy.cli.loading import load_model
from seewhy.cli.options import DEFAULT_MODEL, AsJson, ModelSpec, RunOptions
from seewhy.cli.output import check_writable, note, print_json, print_table
from seewhy.cli.progress import reporting
from seewhy.execution import Execution

if TYPE_CHECKING:
    from seewhy.methods.learned.explainer import Explainer
    from seewhy.types import Json

DEFAULT_TRAINING = "ptame"


@Parameter(name="*", group="Options of the run")
@dataclass(frozen=True)
class TrainOptions:
    """How to run.

    Parameters
    ----------
    seed
        Seed of the first weights and of the order, cuts and mirroring of photos.
    device
        Where to run: cpu, cuda, cuda:1, mps. The CPU when left out.
    balance
        Draw all classes alike: the model is asked about every photo before the training begins.
    find_rate
        Find the learning rate by a short run first, instead of `--rate`.
    search
        Find the weights of the loss first, by so many trainings of `--steps` steps that are judged on
        held-out photos (`--held-out`, `--look`). OUT.search keeps them: a search that was stopped goes on.
    log
        Where numbers go besides OUT.jsonl: tensorboard, wandb or mlflow, which must be installed.
    """

    seed: int = 0
    device: str | None = None
    balance: bool = False
    find_rate: bool = False
    search: int = 0
    log: str | None = None


DEFAULT_OPTIONS = TrainOptions()


def train(
    method: str = DEFAULT_TRAINING,
    /,
    *,
    data: Path,
    out: Path,
    model: ModelSpec = DEFAULT_MODEL,
    as_json: AsJson = False,
    options: TrainOptions = DEFAULT_OPTIONS,
    parameters: Annotated[Any, Parameter(parse=False)] = None,
    schedule: Annotated[Any, Parameter(parse=False)] = None,
) -> None:
    """Train an explainer of a model; afterwards a map costs one pass.

    No labels are needed: the model's own answers are the labels. Classes that the photos do not show are not
    covered, and are told. A run that was stopped goes on with the same command.

    Parameters
    ----------
    method
        What to train: `seewhy train NAME --help` shows its parameters.
    data
        Folder of photos; folders in it are read, too.
    out
        File of the explainer, ending in .safetensors. OUT.jsonl beside it has the numbers of the training.
    """
    from seewhy.training import TRAININGS
    from seewhy.training import loop as training_loop
    from seewhy.training.checkpoints import place
    from seewhy.training.coverage import table
    from seewhy.training.loggers import Lines, logger
    from seewhy.training.rates import find_rate
    from seewhy.training.schedule import Schedule
    from seewhy.training.search import search_weights
    from seewhy.training.sources import folder

    chosen = parameters if parameters is not None else TRAININGS[method]()
    plan = schedule if schedule is not None else Schedule()
    out = out if out.suffix == ".safetensors" else out.with_name(f"{out.name}.safetensors")
    check_writable(out.parent)
    network = load_model(model, RunOptions(device=options.device))
    source = folder(data, network, plan.held_out)
    loggers = [Lines(out.with_name(f"{out.name}.jsonl"))] + (
        [logger(options.log, out)] if options.log else []
    )
    with reporting() as report:
        execution = Execution(seed=options.seed, device=options.device, progress=report.progress)
        if options.balance:
            source.balance(network, execution)
        if options.find_rate:
            rate = find_rate(chosen, network, source, plan, execution).best
            note(f"note: training with the rate {rate:.2g}")
            plan = replace(plan, rate=rate)
        if options.search:
            found = search_weights(
                chosen, network, source, plan, execution, trials=options.search, file=f"{out}.search"
            )
            chosen = found.best
            weights = ", ".join(f"{k} {getattr(chosen, k):.3g}" for k in chosen.searched)
            note(f"note: training with the weights {weights}, the best of {len(found.trials)} trials")
        explainer = training_loop.train(chosen, network, source, plan, execution, out=out, loggers=loggers)
    file = explainer.save(out)
    place(out).unlink(missing_ok=True)
    covered = table(explainer.coverage)
    _told(explainer, covered)
    answer: Json = {
        "explainer": str(file),
        "bytes": file.stat().st_size,
        "method": explainer.method,
        "model": explainer.model,
        "coverage": covered,
        "settings": explainer.settings,
        "record": explainer.record,
    }
    if as_json:
        print_json(answer)
        return
    record = explainer.record
    print_table(
        ("explainer", "MB", "steps", "loss", "seconds", "classes covered", "well"),
        [
            (
                str(file),
                f"{answer['bytes'] / 1e6:.2f}",
                str(record["steps"]),
                f"{record['loss']:.3f}",
                f"{record['seconds']:.0f}",
                f"{covered['covered']} of {covered['classes']}",
                str(covered["well"]),
            )
        ],
        title=f"{chosen.title} for {network.name}",
    )


def command(tokens: Sequence[str]) -> Callable[..., None]:
    """Return `train` with the parameters of the training that the command line names as its flags.

    Raises
    ------
    UnknownName
        For an unknown training.
    """
    from seewhy.training import TRAININGS
    from seewhy.training.schedule import Schedule

    named = [t for t in tokens[1:2] if not t.startswith("-")]
    cls = TRAININGS[named[0] if named else DEFAULT_TRAINING]

    @functools.wraps(train)
    def with_flags(method: str = DEFAULT_TRAINING, /, **options: Any) -> None:
        train(method, **options)

    own = Annotated[cls | None, Parameter(name="*", group=f"Parameters of {cls.title}")]  # type: ignore[valid-type]
    plan = Annotated[Schedule | None, Parameter(name="*", group="Schedule")]
    with_flags.__annotations__ = {**train.__annotations__, "parameters": own, "schedule": plan}
    return with_flags


def _told(explainer: Explainer, covered: Json) -> None:
    missing = covered["classes"] - covered["well"]
    if missing:
        note(
            f"note: {missing} of {covered['classes']} classes have too few photos ({covered['few']} few, "
            f"{covered['classes'] - covered['covered']} none): their maps come with a warning"
        )
