//! Configuration: parses options and settings, and validates them.
//!
//! There are two sources, each read through a table that is also the documentation:
//!
//! ```text
//! dockerd's Info.Config ─▶ RawOptions ─┐
//!                                      ├─▶ StreamOptions::parse ─▶ StreamOptions   per container
//! environment ─▶ Settings::read ─┬─▶ PluginDefaults                 (or OptionErrors)
//!                                └─▶ Settings                                      per plugin
//! ```
//!
//! - [`options`]: [`OPTIONS`], the table of a container's options, and errors about them; `unknown` words errors about
//!   keys that are not in it.
//! - [`stream_options`]: [`StreamOptions`], validated, by concern, with nothing left to check; `reader` creates them.
//! - [`destination`]: [`PushUrl`], [`Credentials`], [`Destination`]; [`transport`] parses their options about TLS,
//!   proxies and authorization; `departure` withholds the plugin's credentials from containers that use another way to
//!   Loki.
//! - [`settings`]: [`SETTINGS`], the table of the plugin's own settings, and [`PluginDefaults`], the defaults of
//!   options for all containers.
//! - [`effective`]: the options that are in force for a container, their sources, and how they may be shown.
//! - [`pipeline`]: stages by name, as text or in a file.
//! - [`metadata`]: the grammar of `loki-structured-metadata`; [`tenant`]: valid tenants; `idle`: options that have no
//!   effect.
//! - [`render`]: a table as aligned text and as Markdown.
//! - [`parse`]: Docker's grammars, one value at a time; [`go_compat`] has those of Go. A value that does not match is a
//!   [`Refusal`](base::refusal::Refusal).
//!
//! Three rules hold throughout. All mistakes are reported at once. An error names the key, the value and what is
//! expected, with an example. No secret is ever shown, neither in an error nor by `Debug`.

mod departure;
pub mod destination;
pub mod effective;
mod idle;
pub mod metadata;
pub mod options;
pub mod parse;
pub mod pipeline;
mod reader;
pub mod render;
pub mod settings;
pub mod stream_options;
pub mod tenant;
pub mod transport;
pub mod unknown;

pub use destination::{Credentials, Destination, MOST_URLS, PushUrl};
pub use metadata::{Fact, MetadataItem, MetadataSource};
pub use options::{OPTIONS, OptionError, OptionErrors, OptionSpec, RawOptions};
pub use settings::{
    Environment, MetricsAddr, PluginDefaults, RingBudget, SETTINGS, SettingErrors, SettingSpec, Settings, Strings,
};
pub use stream_options::{Batch, LabelOptions, Retry, RingOptions, StreamOptions};
