"""Preflight: what labels and configuration tell of a verb before its first second of work."""

from reid.preflight.labelled_data import BuiltData, LabelledData, ListedData
from reid.preflight.verbs import VERBS, Verb, preflight

__all__ = ["VERBS", "BuiltData", "LabelledData", "ListedData", "Verb", "preflight"]
