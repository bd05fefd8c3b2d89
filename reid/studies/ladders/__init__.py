"""Ladders: an ablation as data, and the table of its results."""

from reid.studies.ladders.ladder import Ladder, LadderRow, apply, differences, ladders, load_ladder

__all__ = ["Ladder", "LadderRow", "apply", "differences", "ladders", "load_ladder"]
