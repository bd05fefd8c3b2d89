"""Train a network that turns photos into infrared, for the generator ir_unet.

Reads aligned pairs: a built shard set, or a folder with one folder for each modality. Writes weights,
metrics and the state to resume from to out=FOLDER. The same command goes on from the last saved epoch. The
fields are pairs, source, target, out, epochs and others: with pairs and out given, --dry-run=full lists them.

Example:

  python -m jobs.translate pairs=runs/shards/mine/0123456789ab target=nir out=runs/to-nir epochs=50
"""

from __future__ import annotations

from jobs.common import ConfigOption, DebugOption, JsonOption, OverridesArgument, run_verb, show
from jobs.dry_run import DryRunOption, print_dry_section


def translate(
    overrides: OverridesArgument = None,
    config: ConfigOption = None,
    dry_run: DryRunOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Learn picture-to-picture translation; the fields are those of TranslateConfig."""
    from pipelines.placement.devices import own_device
    from pipelines.progress import Progress, say
    from reid import storage
    from reid.train.translator.training import WEIGHTS, load_translate, train_translator

    settings = load_translate(config, overrides or [])
    if dry_run:
        print_dry_section(settings, dry_run, as_json)
        return
    total = settings.epochs + settings.decay_epochs
    progress = Progress("translate", total, "epochs")

    def report(metrics: dict[str, float]) -> None:
        if progress.done == 0 and metrics["epoch"] > 1:
            say(f"translate: goes on after epoch {int(metrics['epoch']) - 1}")
            progress.total = total - int(metrics["epoch"]) + 1
        progress.add(1)

    metrics = train_translator(settings, report, own_device("translate", settings.device))
    weights = storage.join(settings.out, WEIGHTS)
    last = metrics[-1]
    told = f"  {int(last['epoch'])} epochs: l1 {last['l1']:.4f}, ssim {last['ssim']:.3f}"
    if "grey_l1" in last:
        told += f"; held out: l1 {last['val_l1']:.4f}, plain grey {last['grey_l1']:.4f}"
    use = f"  use it: build.generate.{settings.target.value}.generator=ir_unet, params.weights={weights}"
    show({"weights": weights, "last": last}, as_json, [weights, told, use])


if __name__ == "__main__":
    run_verb(translate)
