"""A built set for those who write their own loop: its samples, and the batches that training draws."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from torch.utils.data import Dataset

from reid.config import Config
from reid.config.sections.training.loader import LoaderConfig
from reid.data.batches.batch import Batch
from reid.data.batches.stream import BatchStream
from reid.data.shards.samples import SplitSamples
from reid.data.shards.schema import Sample
from reid.data.shards.shard_set import ShardSet
from reid.errors import UsageError
from reid.models.base import Auxiliary
from reid.models.registry import build_model
from reid.runs.identities import LabelMap, training_labels
from reid.runs.run import Run, model_context
from reid.train.loading.loader import BatchLoader, cpus_here
from reid.train.setup import training_stream


class ShardData(SplitSamples, Dataset[Sample]):
    """The samples of one split of a shard set; `open_shards` makes one.

    It has a length, iterates in stored order, and takes an index or a slice. It is a torch Dataset; samples
    are not tensors, so a DataLoader needs its `collate_fn`.

    >>> data = reid.open_shards("runs/shards/mine")
    >>> data[0].labels.sample_id, [s.labels.pid for s in data[-2:]]
    ('p0-0', [7, 7])
    >>> loader = torch.utils.data.DataLoader(data, batch_size=4, collate_fn=list)
    >>> len(next(iter(loader)))
    4
    """

    def batches(self, recipe: Run | Config, epoch: int = 0, steps: int | None = None) -> Iterator[Batch]:
        """The training batches of an epoch: P identities x K instances, decoded and augmented, normalised.

        They are those that `python -m jobs.train` draws with this configuration, or drew for this run, and
        the same for the same epoch. `steps` defaults to `train.steps_per_epoch`, else to once over the data.
        Under torch.distributed a rank gets its share. `batch.pid` are labels 0..C-1; `batch.images[m]` is
        (b, 3, H, W) float32 for the rows of `batch.index[m]`.

        Raises UsageError for another split than train and for a run of other identities, ConfigError and
        TrainingError as training does.

        >>> run = reid.load("runs/train/mine")
        >>> batch = next(reid.open_shards("runs/shards/mine").batches(run))
        >>> batch.pid.tolist(), tuple(batch.images["rgb"].shape)
        ([...], (4, 3, 32, 16))
        """
        if self.split != "train":
            raise UsageError(
                f"Training batches are drawn from split 'train'; this is {self.split!r}. Iterate over its "
                "samples, or open the set with split='train'."
            )
        config, labels, auxiliary = _recipe(self.shards, recipe)
        stream = training_stream(config, self.shards, labels, auxiliary)
        count = steps or config.train.steps_per_epoch or stream.natural_steps
        return _made_ahead(stream, epoch, count)


def _made_ahead(stream: BatchStream, epoch: int, steps: int) -> Iterator[Batch]:
    """By threads: they start at once, and a notebook has no processes to look after."""
    with BatchLoader(stream, LoaderConfig(kind="threads"), cpus_here()) as loader:
        yield from loader.epoch(epoch, steps)


def open_shards(uri: str | Path, split: str = "train") -> ShardData:
    """Open one split (train, val or test) of a built shard set, local or s3://.

    `uri` is a set, or a folder of sets as `python -m jobs.build` leaves them, of which it takes the newest.
    Raises DataError where there is no set, where several are and LATEST names none of them, or where the
    split has no samples; UsageError for an unknown split.

    >>> reid.open_shards("runs/shards/mine", split="test")
    <ShardData .../runs/shards/mine/..., split test: 8 samples of 4 identities>
    """
    return ShardData(ShardSet.open(str(uri)), split)


def _recipe(shards: ShardSet, recipe: Run | Config) -> tuple[Config, LabelMap, frozenset[Auxiliary]]:
    if isinstance(recipe, Run):
        here = shards.identities("train").identities
        lacking = int((here.positions(recipe.labels.classes) < 0).sum())
        if lacking:
            raise UsageError(
                f"{recipe.uri} was trained on other identities than {shards.root} has: {lacking} of "
                f"{len(recipe.labels.classes)} are not here. Open the set that it was trained on, or give "
                "run.config to number those of this set anew."
            )
        return recipe.config, recipe.labels, recipe.model.auxiliary
    if isinstance(recipe, Config):
        labels, _ = training_labels(shards, recipe.train.val.fraction, recipe.seed)
        return recipe, labels, build_model(recipe.model, model_context(recipe, labels)).auxiliary
    raise UsageError(f"batches: give a run (reid.load) or a configuration, not a {type(recipe).__name__}.")
