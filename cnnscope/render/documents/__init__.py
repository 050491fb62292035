"""The documents that ``-f json`` writes: frozen dataclasses, of which a field is a key. The schema is generated.

Here are the parts that several documents share, and the documents of layers and of architectures; every other document
is in the file of the report that has it. `schema.DOCUMENTS` says where each one is.
"""
