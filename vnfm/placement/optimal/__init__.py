"""The optimal path: a whole batch near the optimum, with a bound that tells how near, always by its deadline."""
