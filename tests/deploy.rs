//! The files in `deploy/` work as they are: the stack starts, dashboards show data, and alerts fire in time.
//!
//! * [`alerts`]: promtool accepts the rules, and alerts fire when they should and not before;
//! * [`boards`]: dashboards as Grafana reads them; [`sound`]: they contain nothing that breaks in Grafana;
//! * [`promql`]: expressions of dashboards and alerts, run in a real Prometheus that scrapes the real plugin;
//! * [`outages`]: expressions of alerts during real outages;
//! * [`logql`]: queries of dashboards, always parsed, and run in a real Loki when `LOKI_URL` names it;
//! * [`stack`]: the compose file, its mounts, and the connections between its services.

mod alerts;
mod boards;
mod logql;
mod outages;
mod promql;
mod sound;
mod stack;
