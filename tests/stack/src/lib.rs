//! The whole stack without a VM: only tests, see `tests/stack`.
