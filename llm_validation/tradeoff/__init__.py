"""Every defence beside the undefended runs of an experiment, in the trade-off plane."""
