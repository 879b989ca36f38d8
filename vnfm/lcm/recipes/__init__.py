"""One file an operation. Pure: from what is known and decided to the steps, with every id minted."""
