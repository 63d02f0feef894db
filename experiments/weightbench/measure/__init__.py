"""How fast is a codec, how small are its blobs, and can the numbers be trusted? See docs/measuring.md."""

from weightbench.measure.clock import SYSTEM_CLOCK, Clock
from weightbench.measure.loading import Load, OnRead, measure_loads, plain_load, write_plain
from weightbench.measure.loop import Sink, Unit, measure_units
from weightbench.measure.noise import machine_noise
from weightbench.measure.plan import MeasurePlan
from weightbench.measure.quiet import settle
from weightbench.measure.result import Loading, LoadTimes, Measurement, SaveLoad, Speed, UnitTiming
from weightbench.measure.storage import measure_save_load
from weightbench.measure.summary import Summary, summarize
from weightbench.measure.throttle import Throttle
from weightbench.measure.yardstick import DRIFT, Mark, Yardstick, take_mark

__all__ = [
    "DRIFT",
    "SYSTEM_CLOCK",
    "Clock",
    "Load",
    "LoadTimes",
    "Loading",
    "Mark",
    "MeasurePlan",
    "Measurement",
    "OnRead",
    "SaveLoad",
    "Sink",
    "Speed",
    "Summary",
    "Throttle",
    "Unit",
    "UnitTiming",
    "Yardstick",
    "machine_noise",
    "measure_loads",
    "measure_save_load",
    "measure_units",
    "plain_load",
    "settle",
    "summarize",
    "take_mark",
    "write_plain",
]
