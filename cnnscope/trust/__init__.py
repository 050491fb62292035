"""How far an attribution can be trusted: a check a file in `checks/`, each a figure beside its controls."""
