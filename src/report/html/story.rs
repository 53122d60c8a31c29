//! The page of scenarios: each run a row with its life, and whether what was expected came.
