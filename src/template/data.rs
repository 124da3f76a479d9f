//! What a template sees of a container, and how it gets at it.
//!
//! To the engine everything is a map, a list or a string. Which map is the container and which
//! string is its time of creation is told by identity: a value is passed on by reference, so it is
//! still the same allocation after it went through variables, loops and pipes.

use std::collections::BTreeMap;
use std::sync::Arc;

use gotmpl::{FuncMap, ToValue, Value};
use jiff::Timestamp;
use jiff::tz::Offset;

use super::{functions, time};
use base::maps::map_of;
use dockerd::info::{Info, short_id};
use go_compat::template::syntax::GET;
use go_compat::template::value::{Answer, chain, fail};

/// The container, and the answers to what is asked of it.
struct Container {
    /// Fields and methods without arguments, by name.
    map: Arc<BTreeMap<Arc<str>, Value>>,
    /// `.ContainerCreated`, printed as Go prints a time.
    created: Arc<str>,
    /// The same, `None` if dockerd sent something else than a time.
    timestamp: Option<Timestamp>,
    /// What `json` makes of the container, and of its time of creation.
    json: String,
    created_json: String,
}

/// The dot of a template over `info`, and the functions that go with it.
pub fn of(info: &Info, hostname: &str) -> (Value, FuncMap) {
    let container = Arc::new(Container::new(info, hostname));
    let dot = Value::Map(Arc::clone(&container.map));
    let mut functions = functions::all();
    let own = Arc::clone(&container);
    functions.insert(
        GET.to_owned(),
        Arc::new(move |args: &[Value]| chain(args, |base, name, arguments| own.get(base, name, arguments))),
    );
    functions.insert("json".to_owned(), Arc::new(move |args: &[Value]| container.json(args)));
    (dot, functions)
}

// === impl Container ===

impl Container {
    fn new(info: &Info, hostname: &str) -> Container {
        let timestamp = info.container_created.parse::<Timestamp>().ok();
        let created: Arc<str> = match timestamp {
            Some(timestamp) => time::format(timestamp, time::STRING).into(),
            None => info.container_created.as_str().into(),
        };
        let command = info.command();
        let entries: [(&str, Value); 20] = [
            // Methods, as moby's daemon/logger/loginfo.go has them.
            ("Command", command.to_value()),
            ("FullID", info.container_id.to_value()),
            ("Hostname", hostname.to_value()),
            ("ID", info.id12().to_value()),
            ("ImageFullID", info.container_image_id.to_value()),
            ("ImageID", short_id(&info.container_image_id).to_value()),
            ("ImageName", info.container_image_name.to_value()),
            ("Name", info.name().to_value()),
            // Fields.
            ("Config", info.config.to_value()),
            ("ContainerArgs", info.container_args.to_value()),
            ("ContainerCreated", Value::String(Arc::clone(&created))),
            ("ContainerEntrypoint", info.container_entrypoint.to_value()),
            ("ContainerEnv", info.container_env.to_value()),
            ("ContainerID", info.container_id.to_value()),
            ("ContainerImageID", info.container_image_id.to_value()),
            ("ContainerImageName", info.container_image_name.to_value()),
            ("ContainerLabels", info.container_labels.to_value()),
            ("ContainerName", info.container_name.to_value()),
            ("DaemonName", info.daemon_name.to_value()),
            ("LogPath", info.log_path.to_value()),
        ];
        let entries = entries.into_iter().map(|(name, value)| (Arc::from(name), value));
        Container {
            map: Arc::new(map_of(entries)),
            created,
            timestamp,
            json: functions::go_json(info),
            created_json: functions::go_json(&info.container_created),
        }
    }

    fn is_self(&self, value: &Value) -> bool {
        matches!(value, Value::Map(map) if Arc::ptr_eq(map, &self.map))
    }

    fn is_created(&self, value: &Value) -> bool {
        matches!(value, Value::String(text) if Arc::ptr_eq(text, &self.created))
    }

    /// A field, an entry of a map, or a method.
    fn get(&self, base: &Value, name: &str, arguments: &[Value]) -> Answer {
        if self.is_created(base) {
            return self.of_time(name, arguments);
        }
        if self.is_self(base) && name == "ExtraAttributes" {
            return fail("ExtraAttributes is not available; name them with the options labels and env");
        }
        if !arguments.is_empty() {
            return fail(format!("{name} takes no argument"));
        }
        match base {
            Value::Map(map) => match map.get(name) {
                Some(value) => Ok(value.clone()),
                None if self.is_self(base) => {
                    let known: Vec<&str> = map.keys().map(AsRef::as_ref).collect();
                    let known = known.join(", ");
                    fail(format!("there is no field or method {name} (known are {known})"))
                }
                // What a map has not is no value, and so is all below it.
                None => Ok(Value::Nil),
            },
            Value::Nil => Ok(Value::Nil),
            other => fail(format!("{name}: {} has no fields", functions::described(other))),
        }
    }

    /// The methods of a time that make sense in a label.
    fn of_time(&self, name: &str, arguments: &[Value]) -> Answer {
        let Some(timestamp) = self.timestamp else {
            return fail(format!("{name}: dockerd sent {:?}, which is no time", self.created));
        };
        if name == "Format" {
            return match arguments {
                [Value::String(layout)] => Ok(time::format(timestamp, layout).into()),
                _ => fail("Format takes a layout, as in .ContainerCreated.Format \"2006-01-02\""),
            };
        }
        if !arguments.is_empty() {
            return fail(format!("{name} takes no argument"));
        }
        let civil = Offset::UTC.to_datetime(timestamp);
        match name {
            // dockerd sends UTC, and a plugin knows no other zone.
            "UTC" | "Local" | "String" => Ok(Value::String(Arc::clone(&self.created))),
            "Year" => Ok(civil.year().to_value()),
            "Month" => Ok(time::format(timestamp, "January").into()),
            "Day" => Ok(civil.day().to_value()),
            "YearDay" => Ok(civil.day_of_year().to_value()),
            "Weekday" => Ok(time::format(timestamp, "Monday").into()),
            "Hour" => Ok(civil.hour().to_value()),
            "Minute" => Ok(civil.minute().to_value()),
            "Second" => Ok(civil.second().to_value()),
            "Unix" => Ok(timestamp.as_second().to_value()),
            "UnixMilli" => Ok(timestamp.as_millisecond().to_value()),
            // Wraps outside of the years 1678 to 2262, as in Go.
            "UnixNano" => Ok((timestamp.as_nanosecond() as i64).to_value()),
            _ => fail(format!(
                "a time has no method {name} here (known are Day, Format, Hour, Local, Minute, \
                 Month, Second, String, Unix, UnixMilli, UnixNano, UTC, Weekday, Year, YearDay)"
            )),
        }
    }

    fn json(&self, args: &[Value]) -> Answer {
        match args {
            [value] if self.is_self(value) => Ok(self.json.to_value()),
            [value] if self.is_created(value) => Ok(self.created_json.to_value()),
            args => functions::json(args),
        }
    }
}
