"""A sweep that searches: Hydra's Optuna sweeper chooses each cell by what those before it came to.

See docs/search.md. The trials' cells are ordinary cells of the store; what was asked, the trials and their
Pareto front are kept in ``results/searches``.
"""

from weightbench.search.callback import SearchCallback, explained, forget, searched
from weightbench.search.report import finish
from weightbench.search.spaces import suggest
from weightbench.search.trials import values

__all__ = ["SearchCallback", "explained", "finish", "forget", "searched", "suggest", "values"]
