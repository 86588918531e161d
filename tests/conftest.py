"What all tests share: no display, and property tests that try the same examples each time, however slow the machine."
import sys
from pathlib import Path

import matplotlib
from hypothesis import HealthCheck, settings

matplotlib.use('agg')
settings.register_profile('musiclm', deadline=None, derandomize=True, database=None,
                          suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
settings.load_profile('musiclm')
sys.path.insert(0, str(Path(__file__).resolve().parent/'data')) # make_nasty, which writes files byte by byte
