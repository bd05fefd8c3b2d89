"""The error classes. Every message names the field or file and the remedy; each class has an exit code."""

from __future__ import annotations


class AnyReIDError(Exception):
    """Base of every error that a user can cause or fix. `exit_code` is the exit code of the process."""

    exit_code = 1


class UsageError(AnyReIDError):
    """The request itself is wrong: an unknown option, modality, preset or name."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration field is unknown, missing or of the wrong type."""


class UnsupportedPairing(UsageError):
    """A query/gallery modality pairing that this model's regime cannot answer."""


class DataError(AnyReIDError):
    """Input data are missing, malformed or empty."""


class StorageError(AnyReIDError):
    """A path or object store cannot be reached, read or written."""


class StorageRefusal(StorageError):
    """A storage has no room, or refuses the key or the clock: trying again does not mend it."""


class WeightsError(AnyReIDError):
    """Model weights are missing or do not fit the model."""


class TrainingError(AnyReIDError):
    """Training cannot start or continue (loss not finite, too few identities)."""


class ResourceError(AnyReIDError):
    """The cluster had no free resources within the time that the configuration allows."""


class GalleryError(AnyReIDError):
    """A gallery is missing, belongs to another model, or is inconsistent."""


class ServiceError(AnyReIDError):
    """The endpoint cannot start or cannot be reached."""
