"""How fast is a codec, how small are its blobs, and can the numbers be trusted? See docs/measuring.md."""

from weightbench.measure.clock import SYSTEM_CLOCK, Clock
from weightbench.measure.loop import Sink, Unit, measure_units
from weightbench.measure.noise import machine_noise
from weightbench.measure.plan import MeasurePlan
from weightbench.measure.result import Measurement, SaveLoad, Speed, UnitTiming
from weightbench.measure.storage import measure_save_load
from weightbench.measure.summary import Summary, summarize

__all__ = [
    "SYSTEM_CLOCK",
    "Clock",
    "MeasurePlan",
    "Measurement",
    "SaveLoad",
    "Sink",
    "Speed",
    "Summary",
    "Unit",
    "UnitTiming",
    "machine_noise",
    "measure_save_load",
    "measure_units",
    "summarize",
]
