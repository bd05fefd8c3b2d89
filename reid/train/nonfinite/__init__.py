"""Losses and gradients that are not finite: kept from the weights, recorded, decided about, replayed."""
