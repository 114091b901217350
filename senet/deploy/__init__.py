"""From a trained network to the fastest exact one."""
