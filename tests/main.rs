//! All black-box tests, one binary. Table of contents:
//!
//! * [`loki_contract`]: what is relied on of Loki, held against the stand-in and, with `LOKI_URL`, a real one.

mod loki_contract;
mod standin;
