"""Build on Ray Data: the stages, and verify and compact of a built set."""
