"""The documents that ``-f json`` writes: frozen dataclasses, of which a field is a key. The schema is generated."""
