"""What an audit found, for people and for programs: every renderer reads the ``cnnscope.audit`` document alone."""
