//! Addresses and where they are, from a database of two halves: nothing below 128.0.0.0, and one place above.

use std::io::Write;

use super::*;

/// A value of MaxMind's format.
enum Part<'a> {
    Text(&'a str),
    Double(f64),
    Small(u16),
    Large(u32),
    Huge(u64),
    List(Vec<Part<'a>>),
    Map(Vec<(&'a str, Part<'a>)>),
}

impl Part<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        let length = |length: usize| u8::try_from(length).unwrap();
        match self {
            Part::Text(text) if text.len() < 29 => {
                out.push(2 << 5 | length(text.len()));
                out.extend_from_slice(text.as_bytes());
            }
            Part::Text(text) => {
                out.extend_from_slice(&[2 << 5 | 29, length(text.len() - 29)]);
                out.extend_from_slice(text.as_bytes());
            }
            Part::Double(number) => {
                out.push(3 << 5 | 8);
                out.extend_from_slice(&number.to_be_bytes());
            }
            Part::Small(number) => {
                out.push(5 << 5 | 2);
                out.extend_from_slice(&number.to_be_bytes());
            }
            Part::Large(number) => {
                out.push(6 << 5 | 4);
                out.extend_from_slice(&number.to_be_bytes());
            }
            Part::Huge(number) => {
                out.extend_from_slice(&[8, 9 - 7]);
                out.extend_from_slice(&number.to_be_bytes());
            }
            Part::List(items) => {
                out.extend_from_slice(&[length(items.len()), 11 - 7]);
                items.iter().for_each(|item| item.write(out));
            }
            Part::Map(pairs) => {
                out.push(7 << 5 | length(pairs.len()));
                for (key, value) in pairs {
                    Part::Text(key).write(out);
                    value.write(out);
                }
            }
        }
    }
}

/// A file with one record for the upper half of all IPv4 addresses.
fn database(record: &Part<'_>) -> tempfile::NamedTempFile {
    // One node: to the left nothing, which is the number of nodes; to the right the first record.
    let mut bytes = vec![0, 0, 1, 0, 0, 17];
    bytes.extend_from_slice(&[0; 16]);
    record.write(&mut bytes);
    bytes.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
    Part::Map(vec![
        ("binary_format_major_version", Part::Small(2)),
        ("binary_format_minor_version", Part::Small(0)),
        ("build_epoch", Part::Huge(0)),
        ("database_type", Part::Text("Test")),
        ("description", Part::Map(vec![])),
        ("ip_version", Part::Small(4)),
        ("languages", Part::List(vec![])),
        ("node_count", Part::Large(1)),
        ("record_size", Part::Small(24)),
    ])
    .write(&mut bytes);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&bytes).unwrap();
    file
}

fn names(english: &str) -> Part<'_> {
    Part::Map(vec![("names", Part::Map(vec![("en", Part::Text(english))]))])
}

fn located(record: &Part<'_>, kind: &str, address: &str) -> Vec<String> {
    let file = database(record);
    let stages = format!(
        "- regex: {{expression: '(?P<ip>.*)'}}\n- geoip: {{db: '{}', db_type: {kind}, source: ip}}\n- labeldrop: [source]",
        file.path().display()
    );
    let entry = one(&stages, address).unwrap();
    entry.labels.iter().map(|(name, value)| format!("{name}={value}")).collect()
}

#[test]
fn a_city_gives_labels_for_what_is_known_of_it() {
    let subdivision =
        |code| Part::Map(vec![("iso_code", Part::Text(code)), ("names", Part::Map(vec![("en", Part::Text("S"))]))]);
    let city = Part::Map(vec![
        ("city", names("Ghent")),
        ("country", names("Belgium")),
        ("continent", Part::Map(vec![("code", Part::Text("EU"))])),
        (
            "location",
            Part::Map(vec![
                ("latitude", Part::Double(51.05)),
                ("longitude", Part::Double(3.5)),
                ("time_zone", Part::Text("Europe/Brussels")),
            ]),
        ),
        ("subdivisions", Part::List(vec![subdivision("VLG"), subdivision("VOV")])),
    ]);
    assert_eq!(
        located(&city, "city", "192.0.2.1"),
        [
            "geoip_city_name=Ghent",
            "geoip_continent_code=EU",
            "geoip_country_name=Belgium",
            "geoip_location_latitude=51.05",
            "geoip_location_longitude=3.5",
            "geoip_subdivision_code=VOV",
            "geoip_subdivision_name=S",
            "geoip_timezone=Europe/Brussels",
        ]
    );
    for address in ["10.0.0.1", "2001:db8::1", "nowhere"] {
        assert!(located(&city, "city", address).is_empty(), "{address}");
    }
    assert!(located(&city, "elsewhere", "192.0.2.1").is_empty());
}

#[test]
fn a_network_gives_its_number_and_organisation() {
    let network = Part::Map(vec![
        ("autonomous_system_number", Part::Large(64496)),
        ("autonomous_system_organization", Part::Text("Documentation")),
    ]);
    let expected = ["geoip_autonomous_system_number=64496", "geoip_autonomous_system_organization=Documentation"];
    assert_eq!(located(&network, "asn", "192.0.2.1"), expected);
}
