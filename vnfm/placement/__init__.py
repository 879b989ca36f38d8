"""From what VNFs need to where and how they run: demand -> filter -> score -> assign -> explain.

Pure functions over an immutable snapshot: no I/O, no clock, no randomness. The same request on the same snapshot always
gives the same plan. `demand.py` reads descriptors, `engine.py` decides, `explain.py` tells. Nothing is
imported here, so that a part costs only itself.
"""

import os

# Nothing here multiplies matrices: numpy need not start threads for that, which spin on the other processors.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
