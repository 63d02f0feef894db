"""Did the weights come back as the codec promised? Exact comparisons, unit by unit, in little memory.

A lossless codec must return every bit. A bounded codec must keep every finite value within
max(absolute, relative·|original|), and every NaN (payload included) and infinity bit for bit. Anything else
is a violation, and the verdict says where. (ours)
"""

from weightbench.verify.compare import check, same_bits
from weightbench.verify.moments import Moments
from weightbench.verify.verdict import UnitVerdict, Verdict, Violation
from weightbench.verify.verifier import Verifier

__all__ = ["Moments", "UnitVerdict", "Verdict", "Verifier", "Violation", "check", "same_bits"]
