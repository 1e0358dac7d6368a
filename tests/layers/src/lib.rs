//! The rules of ARCHITECTURE.md, as tests: see `tests/`. There is no code here.
