//! What an operator sees: metrics, health and a status page, on an address of their own (`METRICS_ADDR`).
//!
//! | path | what is there |
//! | --- | --- |
//! | `/` | the status page |
//! | `/status.json` | the same for programs |
//! | `/metrics` | Prometheus' text format |
//! | `/live` | 200 as long as the plugin answers at all |
//! | `/ready` | 200 when dockerd's calls are answered; 503 with the reason before that |
//!
//! * [`server`]: the listener; [`host`]: by which names it may be asked; [`routes`]: path to answer;
//! * [`report`]: what is shown, as one value;
//! * [`verdict`]: how things are, in a sentence; [`page`]: that and the rest as HTML; [`numbers`]: as people read them;
//! * [`metrics`]: that and the counters as text; [`process`]: what the kernel says of the process.
//!
//! It only looks: nothing that is asked here changes anything, and what it reads it reads beside those who log.

mod connections;
pub mod escaped;
pub mod host;
pub mod metrics;
pub mod numbers;
pub mod page;
pub mod process;
pub mod report;
pub mod routes;
pub mod server;
pub mod verdict;

pub use report::Report;
pub use routes::Routes;
