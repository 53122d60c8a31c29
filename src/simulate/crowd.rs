//! Flows that share a table: run in the order of time, one queue for all.
