"""Ablate: every row of a ladder, trained and evaluated with several seeds, and one table.

Runs are content-addressed like any other, so that a campaign resumes by itself: what is finished is measured
and not trained again. Seeds are the outer loop; the whole ladder is seen after the first of them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipelines.embed import embed_requests
from pipelines.evaluation.evaluate import evaluate_run
from pipelines.placement.devices import device_beside_actors
from pipelines.placement.gpus import gpus_each
from pipelines.progress import Say, duration, say
from pipelines.training.requests import train_requests
from pipelines.training.train import resolve_run, train_run
from reid import storage
from reid.config import AUTO_PROTOCOL, Config, fingerprint, override
from reid.config.addresses import run_fingerprint, shards_uri
from reid.config.protocols.query_names import parse_query
from reid.errors import AnyReIDError, ConfigError
from reid.evaluate.plan import plan_evaluation
from reid.evaluate.protocols.pairing_names import gallery_name, parse_gallery, split_asked
from reid.evaluate.protocols.protocol import get_protocol
from reid.modality import canonical, subset_name
from reid.preflight import preflight
from reid.preflight.pairings import choose_pairings
from reid.runs.folder import RunFolder
from reid.runs.run import load_run
from reid.runs.untrained import untrained_model
from reid.storage.run_files import RUN_FILE, pinned_weights
from reid.studies.ladders import Ladder, differences
from reid.studies.ladders.fitting import row_configs
from reid.studies.ladders.table import AblationTable, SeedResults, TableRow

Explain = Callable[[Exception], str]


@dataclass(frozen=True)
class Cell:
    """One row with one seed."""

    row: str
    seed: int
    config: Config


@dataclass(frozen=True)
class AblationPlan:
    """What an ablation consists of; nothing is read but the ladder."""

    config: Config
    ladder: Ladder
    rows: tuple[TableRow, ...]
    cells: tuple[Cell, ...]

    def to_dict(self) -> dict[str, Any]:
        """For a dry run: rows with what they change, and runs with whether they are finished."""
        runs: list[dict[str, Any]] = []
        missing: dict[str, None] = {}
        for cell in self.cells:
            try:
                uri: str | None = _resolved(cell)[1]
            except AnyReIDError as error:  # not built, or not yet trained weights to start from
                uri, missing[str(error)] = None, None
            done = uri is not None and storage.exists(storage.join(uri, RUN_FILE))
            runs.append({"row": cell.row, "seed": cell.seed, "run": uri, "finished": done})
        rows = [vars(row) for row in self.rows]
        return {"ladder": self.ladder.name, "rows": rows, "runs": runs, "missing": [*missing]}


@dataclass(frozen=True)
class AblationResult:
    """The table, where it lies, and how many runs this call trained."""

    table: AblationTable
    uri: str
    trained: int

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        return {**self.table.to_dict(), "uri": self.uri, "trained": self.trained}

    def lines(self) -> list[str]:
        """For a terminal."""
        return [*self.table.lines(), f"tables: {self.uri}/table.md"]


def plan_ablation(config: Config) -> AblationPlan:
    """Rows × seeds. Raises UsageError for an unknown ladder, ConfigError for a bad row or field."""
    ladder, picked = row_configs(config)
    rows: list[TableRow] = []
    configs: list[Config] = []
    twins: dict[str, TableRow] = {}
    for row, changed in picked:
        twin = twins.get(key := run_fingerprint(changed, shards_uri(changed)))
        same_as = None if twin is None else twin.name
        rows.append(TableRow(row.name, row.note, differences(config, changed), same_as))
        twins.setdefault(key, rows[-1])
        # A row that changes nothing about training shares the runs of its twin, whose name they have.
        configs.append(override(changed, {"name": f"{config.name}-{_slug(same_as or row.name)}"}))
    cells = tuple(
        Cell(row.name, seed, override(changed, {"seed": seed}))
        for seed in config.ablate.seeds
        for row, changed in zip(rows, configs, strict=True)
    )
    return AblationPlan(config, ladder, tuple(rows), cells)


@dataclass(frozen=True)
class Campaign:
    """A checked plan: absolute configurations and run folders of all cells."""

    plan: AblationPlan
    cells: tuple[tuple[Cell, str], ...]
    uri: str

    @property
    def unfinished(self) -> list[tuple[Cell, str]]:
        """What has to be trained."""
        return [(cell, uri) for cell, uri in self.cells if not storage.exists(storage.join(uri, RUN_FILE))]

    @property
    def needs_ray(self) -> bool:
        """Whether a run trains or embeds in Ray's workers."""
        embeds = any(cell.config.evaluate.actors for cell, _ in self.cells)
        return embeds or any(cell.config.train.workers for cell, _ in self.unfinished)


def prepare(plan: AblationPlan, out: Say = say) -> Campaign:
    """Find data, weights and pairings of every row before any is trained.

    Raises DataError for a set that is not built, WeightsError for a run to start from that is not there,
    ConfigError for an `ablate.subset` that is not evaluated, and what `preflight` refuses.
    """
    for line in preflight(plan.config, "ablate"):
        out(f"ablate: {line}")
    cells, prints = [], []
    for cell in plan.cells:
        config, uri = _resolved(cell)
        cells.append((replace(cell, config=config), uri))
        prints.append([cell.row, cell.seed, uri.rpartition("/")[2]])
    for cell, _ in cells[: len(plan.rows)]:
        known = plan_evaluation(cell.config)
        if plan.config.evaluate.protocol == AUTO_PROTOCOL:  # the table names what was chosen
            plan = replace(plan, config=override(plan.config, {"evaluate.protocol": known.protocol.name}))
        present = canonical(m for row in known.labels for m in row.modalities)
        pairings = choose_pairings(cell.config, untrained_model(cell.config), present)
        _shown([(p.query_name, p.gallery_name) for p in pairings], cell.config.ablate.subset)
    config = plan.config
    shown = config.ablate.model_dump(mode="json", include={"metrics", "subset"})
    measured = [
        cell.config.evaluate.model_dump(mode="json", exclude={"actors", "gpus_per_actor", "batch_size"})
        for cell, _ in cells[: len(plan.rows)]
    ]
    key = fingerprint(prints, shown, measured)
    uri = storage.join(storage.absolute(config.workdir), "ablate", config.name, key)
    return Campaign(plan, tuple(cells), uri)


def first_line(error: Exception) -> str:
    """What a failed run is listed with."""
    text = str(error) if isinstance(error, AnyReIDError) else f"{type(error).__name__}: {error}"
    return text.strip().partition("\n")[0]


def ablate_runs(
    campaign: Campaign, out: Say = say, explain: Explain = first_line, raise_errors: bool = False
) -> AblationResult:
    """Train what is not finished, evaluate all, and write `results.json` and `table.md` after every run.

    A run that fails is listed and the others go on, unless `raise_errors`.
    """
    plan, to_train = campaign.plan, {uri for _, uri in campaign.unfinished}
    _check_room(campaign)
    measured: list[SeedResults] = []
    pace, count = _Pace(len(to_train)), 0
    table = _table(plan, measured)
    for cell, uri in campaign.cells:
        began, trained = time.monotonic(), False
        try:
            found, trained = _measure(cell, out)
        except Exception as error:
            if raise_errors:
                raise
            found = SeedResults(cell.row, cell.seed, uri, error=explain(error))
        count += trained
        measured.append(found)
        table = _table(plan, measured)
        _write(campaign.uri, table)
        left = pace.after(time.monotonic() - began, uri in to_train, trained)
        to_train.discard(uri)
        out(f"ablate: {len(measured)}/{len(campaign.cells)} runs: {_told(found, trained, table)}; {left}")
    return AblationResult(table, campaign.uri, count)


def _check_room(campaign: Campaign) -> None:
    """Raise ConfigError for what some run will ask of the cluster and can never have."""
    if not campaign.needs_ray:
        return
    from pipelines.placement.resources import check

    silent: Say = lambda _: None  # noqa: E731
    training = [
        request
        for cell, _ in campaign.unfinished
        for request in train_requests(cell.config, gpus_each("train", cell.config, silent))
    ]
    embedding = [
        request
        for config in (cell.config for cell, _ in campaign.cells)
        for request in embed_requests(config.evaluate.actors, gpus_each("embed", config, silent))
    ]
    check([*training, *embedding], together=False)


def _measure(cell: Cell, out: Say) -> tuple[SeedResults, bool]:
    config = cell.config
    result = train_run(config, out)
    run = load_run(result.run.uri, device_beside_actors("ablate", config))
    done = evaluate_run(config, run, lambda line: None if line.startswith("evaluate: ") else out(line))
    results = done.evaluation.results
    pairs = [(r.query, r.gallery) for r in results]
    shown = results[_shown(pairs, config.ablate.subset)]
    found = SeedResults(
        row=cell.row,
        seed=cell.seed,
        run=run.uri,
        data=done.evaluation.data_fingerprint,
        report=done.files["report.json"],
        parameters=run.folder.info["parameters"]["total"],
        seconds=sum(epoch["seconds"] for epoch in run.folder.metrics()),
        shown=shown.label,
        numbers={m: shown.numbers().get(m) for m in config.ablate.metrics},
        subsets={r.label: r.numbers()["mAP"] for r in results},
    )
    return found, result.trained


class _Pace:
    """Time left, told from the runs that were trained so far."""

    def __init__(self, to_train: int) -> None:
        self.left = to_train
        self._done = 0
        self._seconds = 0.0

    def after(self, seconds: float, was_to_train: bool, trained: bool) -> str:
        """ "5 min 20 s left" after a run."""
        self.left -= was_to_train
        if trained:
            self._done, self._seconds = self._done + 1, self._seconds + seconds
        if self.left and not self._done:
            return f"{self.left} left to train"
        return f"{duration(self.left * self._seconds / max(self._done, 1))} left"


def _told(run: SeedResults, trained: bool, table: AblationTable) -> str:
    name = f"{run.row}, seed {run.seed}"
    if run.error is not None:
        return f"{name} failed: {run.error}"
    numbers = [(c, run.value(c)) for c in table.columns]
    shown = ", ".join(f"{c} {100 * v:.1f}" for c, v in numbers if v is not None)
    return f"{name}: {shown}, {'trained' if trained else 'already trained'}"


def _table(plan: AblationPlan, runs: Sequence[SeedResults]) -> AblationTable:
    config = plan.config
    return AblationTable(
        name=config.name,
        ladder=plan.ladder.name,
        dataset=config.data.name,
        split=config.evaluate.split,
        protocol=get_protocol(config.evaluate.protocol).name,
        rows=plan.rows,
        seeds=config.ablate.seeds,
        metrics=config.ablate.metrics,
        runs=tuple(runs),
    )


def _write(uri: str, table: AblationTable) -> None:
    storage.write_json(storage.join(uri, "results.json"), table.to_dict())
    storage.write_bytes(storage.join(uri, "table.md"), table.markdown().encode())


def _resolved(cell: Cell) -> tuple[Config, str]:
    """Absolute config and run folder. A folder of runs to start from becomes the run that is newest now."""
    pins: dict[str, Any] = {}
    weights = getattr(cell.config.model, "weights", None)
    if isinstance(weights, str) and weights.startswith("run:"):
        pins["model.weights"] = f"run:{RunFolder.open(weights.removeprefix('run:')).uri}"
    if cell.config.train.init_from:
        pins["train.init_from"] = pinned_weights(cell.config.train.init_from)
    return resolve_run(override(cell.config, pins))


def _shown(pairs: Sequence[tuple[str, str]], wanted: str | None) -> int:
    """Which pairing is shown: the wanted one, or the one with most query and then gallery modalities.

    Pairings are given by name: query, and gallery ("rgb|nir" is a mixed one). A name without an anchor and
    numbers of samples stands for the first pairing of its subset.
    """
    if wanted is None:
        sizes = [(len(parse_query(q).subset), sum(map(len, parse_gallery(g)))) for q, g in pairs]
        return max(range(len(pairs)), key=sizes.__getitem__)
    query, gallery = split_asked(wanted)
    for plain in (False, True):
        for i, (asked, found) in enumerate(pairs):
            name = subset_name(parse_query(asked).subset) if plain else asked
            if name == query.name and (gallery is None or found == gallery_name(gallery)):
                return i
    names = ", ".join(f"{q}->{g}" for q, g in pairs)
    raise ConfigError(f"ablate.subset: {wanted!r} is not evaluated (evaluate.subsets): {names}.")


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "row"
