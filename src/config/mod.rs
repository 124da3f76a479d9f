//! Configuration: what was typed, then what is meant.
//!
//! Two sources, both small and both read through a table that is also the documentation:
//!
//! ```text
//! dockerd's Info.Config ─▶ RawOptions ─┐
//!                                      ├─▶ StreamOptions::parse ─▶ StreamOptions   per container
//! environment ─▶ Settings::read ─┬─▶ PluginDefaults                 (or OptionErrors)
//!                                └─▶ Settings                                      per plugin
//! ```
//!
//! - [`options`]: [`OPTIONS`], the table of what a container may be given, and its complaints;
//!   `unknown` words those about keys that are not in it.
//! - [`stream_options`]: [`StreamOptions`], validated, by concern, with nothing left to check;
//!   `reader` is the way there.
//! - [`destination`]: [`PushUrl`], [`Credentials`], [`Destination`]; [`transport`] reads what of it is about TLS, proxies and
//!   authorization; `departure` keeps the credentials of the plugin from containers that go another way.
//! - [`settings`]: [`SETTINGS`], the table of what the plugin itself may be given, and
//!   [`PluginDefaults`], what containers get when they say nothing.
//! - [`effective`]: which options are in force for a container, who said so, and how they may be shown.
//! - [`pipeline`]: stages by name, typed or in a file.
//! - [`metadata`]: the grammar of `loki-structured-metadata`; [`tenant`]: which tenants there can be; `idle`: options
//!   that are taken and do nothing.
//! - [`render`]: a table as aligned text and as Markdown.
//! - [`parse`]: Docker's grammars, one value at a time; [`go_compat`] has those of Go, and a value that does not fit is a
//!   [`Refusal`](base::refusal::Refusal).
//!
//! Three rules hold throughout. All mistakes are reported at once. A complaint names the key, the
//! value and what is expected, with an example. No secret is ever shown, neither in a complaint
//! nor by `Debug`.

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
