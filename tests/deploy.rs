//! What is in `deploy/` can be used as it is: the stack comes up, what is shown is there, and alerts fire in time.
//!
//! * [`alerts`]: promtool takes the rules, and they fire when they should and not before;
//! * [`boards`]: dashboards as Grafana reads them; [`sound`]: which have nothing in them that it would stumble over;
//! * [`promql`]: what they and the alerts ask of Prometheus, asked of a real one that scrapes the real plugin;
//! * [`outages`]: and what alerts ask sees real outages;
//! * [`logql`]: what they ask of Loki, read always, and asked of a real one when `LOKI_URL` names it;
//! * [`stack`]: the compose file, what it mounts, and that those who are to find each other do.

mod alerts;
mod boards;
mod logql;
mod outages;
mod promql;
mod sound;
mod stack;
