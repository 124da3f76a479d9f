//! Parameters of a query, in a URL or in a form.
//!
//! Rule: `a=b&c=d`, percent-encoded, `+` for a blank. A name may come more than once. What is not
//! properly encoded stands for itself.

/// The names and values of `a=b&c=d`, decoded.
pub fn parameters(text: &str) -> Vec<(String, String)> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.map(|(name, value)| (percent_decode(name), percent_decode(value))).collect()
}

fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digit = |offset: usize| {
            let byte = bytes.get(at + offset)?;
            (*byte as char).to_digit(16)
        };
        match (bytes[at], digit(1), digit(2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                at += 2;
            }
            (b'+', ..) => decoded.push(b' '),
            (byte, ..) => decoded.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let pairs = parameters("query=%7Ba%3D%22b%22%7D+x&limit=5&flag&bad=%zz%");
        let expected = [("query", "{a=\"b\"} x"), ("limit", "5"), ("flag", ""), ("bad", "%zz%")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(pairs, expected);
    }
}
