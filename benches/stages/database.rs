//! The smallest database that MaxMind's format allows: one network for the upper half of all IPv4 addresses.

use std::io::Write;

use tempfile::NamedTempFile;

/// A file for the stage `geoip`.
pub fn of_networks() -> NamedTempFile {
    // One node of two records: to the left nothing, which is the number of nodes; to the right the first value.
    let mut bytes = vec![0, 0, 1, 0, 0, 17];
    bytes.extend_from_slice(&[0; 16]);
    map(&mut bytes, 2);
    text(&mut bytes, "autonomous_system_number");
    bytes.extend_from_slice(&[0xc2, 0xfb, 0xf0]);
    text(&mut bytes, "autonomous_system_organization");
    text(&mut bytes, "Example");
    bytes.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
    map(&mut bytes, 9);
    // Numbers of 16 bits have the type 5, of 32 bits 6; those of 64 bits and lists have one of the second row.
    let parts: [(&str, &[u8]); 9] = [
        ("binary_format_major_version", &[0xa1, 2]),
        ("binary_format_minor_version", &[0xa1, 0]),
        ("build_epoch", &[0x01, 2, 1]),
        ("database_type", b"\x44Test"),
        ("description", &[0xe0]),
        ("ip_version", &[0xa1, 4]),
        ("languages", &[0x00, 4]),
        ("node_count", &[0xc1, 1]),
        ("record_size", &[0xa1, 24]),
    ];
    for (name, value) in parts {
        text(&mut bytes, name);
        bytes.extend_from_slice(value);
    }
    let mut file = NamedTempFile::new().expect("a temporary file");
    file.write_all(&bytes).expect("room for it");
    file
}

fn map(bytes: &mut Vec<u8>, entries: u8) {
    bytes.push(7 << 5 | entries);
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    let length = u8::try_from(text.len()).expect("a short text");
    match length.checked_sub(29) {
        None => bytes.push(2 << 5 | length),
        Some(more) => bytes.extend_from_slice(&[2 << 5 | 29, more]),
    }
    bytes.extend_from_slice(text.as_bytes());
}
