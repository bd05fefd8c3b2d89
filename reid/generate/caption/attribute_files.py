"""The attributes that a captioner asks for: a shipped schema by name, or a YAML file of the same form."""

from __future__ import annotations

import yaml

from reid import storage
from reid.config import strict_yaml
from reid.config.typed import check, did_you_mean
from reid.errors import ConfigError
from reid.generate.caption.attribute_schema import AttributeSchema
from reid.generate.caption.shipped_attributes import SHIPPED


def load_schema(name: str) -> AttributeSchema:
    """The shipped schema of that name, or that of a YAML file (path or s3://).

    Raises ConfigError naming the field, and StorageError for a file that cannot be read.
    """
    if name in SHIPPED:
        return SHIPPED[name]
    if not name.endswith((".yaml", ".yml")):
        raise ConfigError(
            f"params.attributes: no shipped schema {name!r}.{did_you_mean(name, list(SHIPPED))}"
        )
    try:
        value = strict_yaml.parse(storage.read_bytes(name).decode())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name}: not valid YAML ({error}).") from None
    schema: AttributeSchema = check(AttributeSchema, value, name)
    return schema
