"""One function: its ARI Forwarding over time, its decoded registers, why each policy decides as it does."""
