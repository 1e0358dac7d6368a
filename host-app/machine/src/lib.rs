//! The life of a machine (one Linux VM): states, phases, settings. Knows no driver.

pub mod driver;
