NAMES=("microvm_ready","microvm_pss")
from bench_rows import Bound
READY_BOUND=Bound(.6,.4,on="value")
def figure(*a): return []
