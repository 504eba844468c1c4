"""Datasets: what is in them, where they come from, how they are kept, and what makes them unfit."""
