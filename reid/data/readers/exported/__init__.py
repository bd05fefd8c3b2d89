"""A tree of plain files with a manifest, as `jobs.build export` and other tools write it."""

from reid.data.readers.exported.reader import Config, Reader

__all__ = ["Config", "Reader"]
