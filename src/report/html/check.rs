//! The page of the gate: what fails first, then what changed, then the rest.
