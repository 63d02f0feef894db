"""The study of what pre-trained models have in common: ``python -m weightbench.study --help``."""
