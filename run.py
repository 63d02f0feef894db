"""Run one cell, or with -m a sweep of them: ``python run.py codec=elf model=llama``. See --help."""

import sys

import hydra
from omegaconf import DictConfig, OmegaConf

from weightbench import command


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def run(config: DictConfig) -> tuple[float, ...] | float | None:
    """Hydra's entry point: hand the resolved configuration over as plain values."""
    return command.run(OmegaConf.to_container(config, resolve=True))


if __name__ == "__main__":
    sys.exit(command.main(run))
