"""Figures after FM-Delta (NeurIPS 2024): fine-tuned models as integer deltas from their base."""

from weightbench.figures.fm_delta import deltas, families, network, steps

SHEETS = families.SHEETS + deltas.SHEETS + steps.SHEETS + network.SHEETS
