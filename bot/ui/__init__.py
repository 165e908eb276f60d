"""From a state to what Discord shows: no store, no await."""
