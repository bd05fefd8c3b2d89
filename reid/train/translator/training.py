"""Training of a picture-to-picture translator on aligned pairs; one process, resumable."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor
from torch.nn import functional as F

from reid import storage
from reid.config import strict_yaml
from reid.config.fingerprints import fingerprint
from reid.config.sections.translate import TranslateConfig
from reid.config.typed import check
from reid.data.images import Pixels
from reid.errors import ConfigError, TrainingError
from reid.nn.losses.ssim import ssim
from reid.nn.unet import PatchDiscriminator, UNet, save_unet
from reid.storage.checkpoints import read_tree
from reid.train.translator.aligned_pairs import AlignedPair, read_pairs, stack

WEIGHTS, STATE, METRICS = "translator.safetensors", "state.pt", "metrics.json"
LUMA = (0.299, 0.587, 0.114)
Report = Callable[[dict[str, float]], None]
_RESUMABLE = {"epochs", "decay_epochs", "checkpoint_every", "device", "out"}
"""Fields that may differ between a saved state and the run that goes on from it."""


def load_translate(source: str | None, overrides: Sequence[str] = ()) -> TranslateConfig:
    """The configuration of a YAML file with `a.b=value` overrides. Raises ConfigError naming the field."""
    try:
        tree = strict_yaml.parse(storage.read_bytes(source).decode()) if source else {}
        if not isinstance(tree, dict):
            raise ConfigError(f"{source}: expected a mapping of fields.")
        for override in overrides:
            key, separator, text = override.partition("=")
            if not separator:
                raise ConfigError(f"Override {override!r} is not of the form field=value.")
            *path, last = key.split(".")
            section = tree
            for part in path:
                section = section.setdefault(part, {})
                if not isinstance(section, dict):
                    raise ConfigError(f"{key}: {part!r} is a value, not a section.")
            section[last] = strict_yaml.parse(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"not valid YAML ({error}).") from None
    config: TranslateConfig = check(TranslateConfig, tree)
    return config


def train_translator(
    config: TranslateConfig, report: Report | None = None, device: torch.device | None = None
) -> list[dict[str, float]]:
    """Train to `epochs + decay_epochs`, from the state in `out` if there is one; write the weights there.

    Returns the metrics of all epochs: `l1` and `ssim` of the training pairs in grey levels of [0, 1],
    `val_l1` of the held-out ones, and `grey_l1`, the error of the plain grey picture on those.
    `device` is the CPU by default.
    Raises DataError without pairs, ConfigError when `out` holds another configuration's state, TrainingError
    for a loss that is not finite.
    """
    trainer = _Trainer(config, device or torch.device("cpu"))
    total = config.epochs + config.decay_epochs
    while len(trainer.metrics) < total:
        metrics = trainer.epoch()
        if report is not None:
            report(metrics)
        if metrics["epoch"] % config.checkpoint_every == 0 or metrics["epoch"] == total:
            trainer.save()
    return trainer.metrics


class _Trainer:
    """Networks, optimisers and pairs of one run."""

    def __init__(self, config: TranslateConfig, device: torch.device) -> None:
        self.config, self.device = config, device
        pairs = read_pairs(config.pairs, config.source, config.target, config.split)
        self.train, self.held = _divided(pairs, config.holdout, config.seed)
        torch.manual_seed(config.seed)
        self.net = UNet(config.unet).to(self.device)
        self.critic = PatchDiscriminator(config.unet.inputs + config.unet.outputs).to(self.device)
        betas = (config.beta1, 0.999)
        self.optimizer = torch.optim.Adam(self.net.parameters(), config.lr, betas)
        rate = config.lr * config.discriminator_lr
        self.critic_optimizer = torch.optim.Adam(self.critic.parameters(), rate, betas)
        self.metrics: list[dict[str, float]] = []
        self.key = fingerprint(config.model_dump(mode="json", exclude=_RESUMABLE), [p.name for p in pairs])
        self._resume()

    def epoch(self) -> dict[str, float]:
        """One pass over the training pairs; the order and the mirroring follow from (seed, epoch)."""
        config, done = self.config, len(self.metrics)
        torch.manual_seed(_epoch_seed(config.seed, done))
        rng = np.random.default_rng([config.seed, done])
        rate = min(1.0, (config.epochs + config.decay_epochs - done) / (config.decay_epochs + 1))
        for optimizer, base in ((self.optimizer, 1.0), (self.critic_optimizer, config.discriminator_lr)):
            for group in optimizer.param_groups:
                group["lr"] = config.lr * base * rate
        self.net.train()
        order = rng.permutation(len(self.train))
        sums, rows = {"l1": 0.0, "ssim": 0.0, "loss": 0.0}, 0
        for start in range(0, len(order), config.batch_size):
            chosen = [self.train[i] for i in order[start : start + config.batch_size]]
            step = self._step(*self._planes(chosen, rng.random(len(chosen)) < config.flip))
            rows += len(chosen)
            for name, value in step.items():
                sums[name] += value * len(chosen)
        metrics = {"epoch": float(done + 1), **{k: v / rows for k, v in sums.items()}, **self._held_out()}
        if not np.isfinite(metrics["loss"]):
            raise TrainingError(f"epoch {done + 1}: the loss is not finite; lower lr.")
        self.metrics.append(metrics)
        return metrics

    def save(self) -> None:
        """The weights for `ir_unet`, the metrics, and last the state to resume from."""
        config = self.config
        notes = {
            "source": config.source.value,
            "target": config.target.value,
            "height": str(config.height),
            "width": str(config.width),
            "epochs": str(len(self.metrics)),
        }
        save_unet(storage.join(config.out, WEIGHTS), self.net, notes)
        storage.write_json(storage.join(config.out, METRICS), self.metrics)
        stream = io.BytesIO()
        torch.save({"key": self.key, "metrics": json.dumps(self.metrics), **self._states()}, stream)
        storage.write_bytes(storage.join(config.out, STATE), stream.getvalue())

    def _states(self) -> dict[str, Any]:
        return {name: part.state_dict() for name, part in self._parts().items()}

    def _parts(self) -> dict[str, Any]:
        return {
            "net": self.net,
            "critic": self.critic,
            "optimizer": self.optimizer,
            "critic_optimizer": self.critic_optimizer,
        }

    def _resume(self) -> None:
        uri = storage.join(self.config.out, STATE)
        if not storage.exists(uri):
            return
        tree = read_tree(uri)
        if tree["key"] != self.key:
            raise ConfigError(f"out={self.config.out}: holds a run of other settings or pairs; name another.")
        for name, part in self._parts().items():
            part.load_state_dict(tree[name])
        self.metrics = json.loads(tree["metrics"])

    def _step(self, source: Tensor, target: Tensor) -> dict[str, float]:
        config = self.config
        made = self.net(source)
        error, likeness = _errors(made, target)
        loss = config.l1 * error + config.ssim * (1 - likeness)
        if config.adversarial:
            self.critic.requires_grad_(False)
            loss = loss + _least_squares(self.critic(torch.cat([source, made], 1)), 1)
            self.critic.requires_grad_(True)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        if config.adversarial:
            real = _least_squares(self.critic(torch.cat([source, target], 1)), 1)
            fake = _least_squares(self.critic(torch.cat([source, made.detach()], 1)), 0)
            self.critic_optimizer.zero_grad(set_to_none=True)
            ((real + fake) / 2).backward()
            self.critic_optimizer.step()
        return {"l1": float(error.detach()), "ssim": float(likeness.detach()), "loss": float(loss.detach())}

    @torch.inference_mode()
    def _held_out(self) -> dict[str, float]:
        if not self.held:
            return {}
        self.net.eval()
        made, grey = 0.0, 0.0
        weights = torch.tensor(LUMA, device=self.device).view(3, 1, 1)
        for start in range(0, len(self.held), self.config.batch_size):
            chosen = self.held[start : start + self.config.batch_size]
            source, target = self._planes(chosen, np.zeros(len(chosen), bool))
            made += float(_errors(self.net(source), target)[0]) * len(chosen)
            if self.config.unet.inputs == 3:
                plain = (source * weights).sum(1, keepdim=True).expand_as(target)
                grey += float(_errors(plain, target)[0]) * len(chosen)
        count = len(self.held)
        return {"val_l1": made / count, **({"grey_l1": grey / count} if self.config.unet.inputs == 3 else {})}

    def _planes(self, pairs: Sequence[AlignedPair], mirrored: Any) -> tuple[Tensor, Tensor]:
        config = self.config
        sources, targets = stack(pairs, config.height, config.width, list(mirrored))
        return self._plane(sources, config.unet.inputs), self._plane(targets, config.unet.outputs)

    def _plane(self, pixels: Pixels, channels: int) -> Tensor:
        """(B, H, W, 3) -> (B, channels, H, W) in [-1, 1]."""
        planes = torch.from_numpy(np.ascontiguousarray(pixels)).to(self.device).permute(0, 3, 1, 2).float()
        if channels == 1:
            planes = planes.mean(1, keepdim=True)
        return planes / 127.5 - 1


def _divided(
    pairs: list[AlignedPair], share: float, seed: int
) -> tuple[list[AlignedPair], list[AlignedPair]]:
    """Training and held-out pairs; an identity is wholly in one of them."""
    groups = sorted({p.group for p in pairs})
    count = min(max(1, round(share * len(groups))), len(groups) - 1) if share else 0
    chosen = np.random.default_rng(seed).permutation(len(groups))[:count]
    held = {groups[i] for i in chosen}
    return [p for p in pairs if p.group not in held], [p for p in pairs if p.group in held]


def _errors(made: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Mean absolute error and similarity, both in grey levels of [0, 1]."""
    return F.l1_loss(made, target) / 2, ssim((made + 1) / 2, (target + 1) / 2)


def _least_squares(logits: Tensor, goal: float) -> Tensor:
    return F.mse_loss(logits, torch.full_like(logits, goal))


def _epoch_seed(seed: int, epoch: int) -> int:
    """The seed of torch's generators in [0, 2^64) for an epoch."""
    return int(np.random.SeedSequence([seed, 0, epoch]).generate_state(1, np.uint64)[0])
