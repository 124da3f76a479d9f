//! `geoip`: labels with the place or the network of an address.
//!
//! | field | type | default | meaning |
//! | --- | --- | --- | --- |
//! | `db` | path | required | a MaxMind database, in a folder for files that options name |
//! | `db_type` | `city`, `asn` | required | which labels |
//! | `source` | text | absent, and then nothing is done | the extracted value that is an address |
//!
//! What the database does not know gives no label. A database is in memory once, however many containers use it.

use std::collections::HashMap;
use std::io::Read;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::SystemTime;

use maxminddb::Reader;
use maxminddb::geoip2::Asn;
use serde::Deserialize;

use crate::pipeline::chain::{Context, Flow, Stage};
use crate::pipeline::entry::{Entry, Labels};
use crate::pipeline::fields::{Decoded, Fields, Wrong};
use crate::yaml::{Node, Place};
use base::files::Folders;
use base::refusal::quote;

/// Bytes of a database. The largest city databases have about half as many.
const MAX_BYTES: u64 = 256 << 20;

type Database = Reader<Vec<u8>>;

#[derive(Clone)]
pub struct GeoIp {
    path: PathBuf,
    /// Where the path stands in the configuration.
    place: Place,
    /// Absent until it is opened.
    database: Option<Arc<Database>>,
    knows: Option<Knows>,
    source: Option<String>,
}

#[derive(Debug, Clone, Copy)]
enum Knows {
    Cities,
    Networks,
}

/// What a city database knows of an address, as far as there are labels for it.
#[derive(Deserialize, Default)]
#[serde(default)]
struct City<'a> {
    #[serde(borrow)]
    city: Named<'a>,
    continent: Named<'a>,
    country: Named<'a>,
    location: Location<'a>,
    postal: Named<'a>,
    subdivisions: Vec<Named<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Named<'a> {
    code: Option<&'a str>,
    iso_code: Option<&'a str>,
    #[serde(borrow)]
    names: Names<'a>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Names<'a> {
    #[serde(rename = "en")]
    english: Option<&'a str>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Location<'a> {
    latitude: Option<f64>,
    longitude: Option<f64>,
    time_zone: Option<&'a str>,
}

// === impl GeoIp ===

impl GeoIp {
    pub fn read(node: &Node) -> Decoded<Self> {
        let fields = Fields::strict(node)?;
        let path = fields.text("db")?.unwrap_or_default();
        if path.is_empty() {
            return fields.wrong("db path cannot be empty");
        }
        let source = fields.text("source")?;
        if source.as_deref() == Some("") {
            return fields.wrong_at("source", "source cannot be empty");
        }
        let knows = match fields.text("db_type")?.unwrap_or_default().as_str() {
            "" => return fields.wrong("db type should be either city or asn"),
            "city" => Some(Knows::Cities),
            "asn" => Some(Knows::Networks),
            // Promtail takes any word, and then does nothing.
            _ => None,
        };
        let place = fields.find("db").map_or(node.place, |db| db.place);
        Ok(Self { path: path.into(), place, database: None, knows, source })
    }

    fn label(&self, address: IpAddr, labels: &mut Labels) -> Option<()> {
        let found = self.database.as_ref()?.lookup(address).ok()?;
        match self.knows? {
            Knows::Cities => label_city(&found.decode::<City<'_>>().ok()??, labels),
            Knows::Networks => {
                let network = found.decode::<Asn<'_>>().ok()??;
                let number = network.autonomous_system_number.filter(|number| *number != 0);
                set(labels, "autonomous_system_number", number.map(|number| number.to_string()));
                set(labels, "autonomous_system_organization", network.autonomous_system_organization);
            }
        }
        Some(())
    }
}

impl Stage for GeoIp {
    fn process(&mut self, entry: &mut Entry, _: &mut Context<'_>) -> Flow {
        let address = self.source.as_ref().and_then(|source| entry.label_of(source));
        if let Some(address) = address.and_then(|address| address.parse().ok()) {
            self.label(address, &mut entry.labels);
        }
        Flow::Pass
    }

    fn files(&self, to: &mut Vec<PathBuf>) {
        to.push(self.path.clone());
    }

    fn open(&mut self, folders: &Folders) -> Result<(), Vec<Wrong>> {
        let database = open(&self.path, folders).map_err(|reason| {
            let path = quote(&self.path.to_string_lossy());
            let reason = format!(
                "unable to open the MaxMind database {path}: {reason} (a managed plugin sees of the host's files those \
                 below the directory that docker plugin set <plugin> files.source=DIRECTORY names)"
            );
            vec![Wrong::new(self.place, reason)]
        })?;
        self.database = Some(database);
        Ok(())
    }
}

fn label_city(city: &City<'_>, labels: &mut Labels) {
    set(labels, "city_name", city.city.names.english);
    set(labels, "country_name", city.country.names.english);
    set(labels, "continent_name", city.continent.names.english);
    set(labels, "continent_code", city.continent.code);
    // Null Island is where databases put what they do not know.
    let place = |degrees: Option<f64>| degrees.filter(|degrees| *degrees != 0.0).map(|degrees| degrees.to_string());
    set(labels, "location_latitude", place(city.location.latitude));
    set(labels, "location_longitude", place(city.location.longitude));
    set(labels, "postal_code", city.postal.code);
    set(labels, "timezone", city.location.time_zone);
    if let Some(subdivision) = city.subdivisions.last() {
        set(labels, "subdivision_name", subdivision.names.english);
        set(labels, "subdivision_code", subdivision.iso_code);
    }
}

fn set(labels: &mut Labels, name: &str, value: Option<impl AsRef<str>>) {
    if let Some(value) = value.as_ref().map(AsRef::as_ref).filter(|value: &&str| !value.is_empty()) {
        labels.set(format!("geoip_{name}").into(), value.into());
    }
}

/// A database without users is released.
fn open(path: &Path, folders: &Folders) -> Result<Arc<Database>, String> {
    /// Device, inode, size, last change.
    type Key = (u64, u64, u64, Option<SystemTime>);
    static OPEN: Mutex<Option<HashMap<Key, Weak<Database>>>> = Mutex::new(None);

    let named = folders.name(path).map_err(|outside| format!("it {outside}"))?;
    let (_, file) = named.open().map_err(|error| error.to_string())?;
    let found = file.metadata().map_err(|error| error.to_string())?;
    if found.len() > MAX_BYTES {
        return Err(format!("it is not a file of up to {} MiB", MAX_BYTES >> 20));
    }
    let known = || OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    let key = (found.dev(), found.ino(), found.len(), found.modified().ok());
    if let Some(database) = known().get_or_insert_default().get(&key).and_then(Weak::upgrade) {
        return Ok(database);
    }
    // Not under the lock: a file system that hangs would hold up those who use other databases.
    let mut bytes = Vec::with_capacity(found.len() as usize);
    file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    let database = Arc::new(Reader::from_source(bytes).map_err(|error| error.to_string())?);
    let mut open = known();
    let open = open.get_or_insert_default();
    open.retain(|_, database| database.strong_count() > 0);
    // Another container may have been quicker.
    if let Some(database) = open.get(&key).and_then(Weak::upgrade) {
        return Ok(database);
    }
    open.insert(key, Arc::downgrade(&database));
    Ok(database)
}
