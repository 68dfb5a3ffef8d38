"""Floor 7: configs, the command line, launchers, the quickstart and its report."""
