NAMES=("live_lost","live_switch")
from bench_rows import Bound
LOST_BOUND=Bound(0,0,on="value")
def figure(*a): return []
