"""One function's story: its ARI bit over time, its decoded registers, why each policy decides as it does."""
