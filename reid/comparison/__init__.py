"""What may be compared with what, as data: terms over parts of two vectors, and what makes scores comparable.

Evaluation, galleries, searches and a loaded run read the same rule, so that they cannot disagree.
"""
