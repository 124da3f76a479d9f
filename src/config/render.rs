//! Tables as text: aligned for `--help`, Markdown for the README.

/// The width of help text, in columns.
const WIDTH: usize = 96;

/// One entry of a help text: a name, and paragraphs beside it.
pub struct Entry<const N: usize> {
    pub name: &'static str,
    pub paragraphs: [String; N],
}

/// Entries under a title, with their paragraphs wrapped in one column.
pub fn aligned<const N: usize>(title: &str, entries: &[Entry<N>]) -> String {
    let longest = entries.iter().map(|entry| entry.name.len()).max();
    let column = longest.unwrap_or_default() + 4;
    let mut text = format!("{title}\n\n");
    for Entry { name, paragraphs } in entries {
        let mut margin = format!("  {name}");
        for paragraph in paragraphs {
            for line in wrapped(paragraph, WIDTH - column) {
                text.push_str(&format!("{margin:column$}{line}\n"));
                margin.clear();
            }
        }
    }
    text
}

/// Rows of a Markdown table under their heads.
pub fn markdown<const N: usize>(heads: [&str; N], rows: &[[String; N]]) -> String {
    let mut text = format!("| {} |\n| {} |\n", heads.join(" | "), ["---"; N].join(" | "));
    for row in rows {
        text.push_str(&format!("| {} |\n", row.join(" | ")));
    }
    text
}

/// A cell with text. `|` would end it, and `<` would be read as HTML.
pub fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}

/// A cell with code; empty without text.
pub fn code(text: Option<&str>) -> String {
    // `|` ends a cell even in code.
    text.map_or_else(String::new, |text| format!("`{}`", text.replace('|', "\\|")))
}

fn wrapped(paragraph: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in paragraph.split_whitespace() {
        if !line.is_empty() && line.len() + 1 + word.len() > width {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_are_wrapped_beside_the_name() {
        let long = "word ".repeat(30);
        let entries = [
            Entry { name: "a", paragraphs: ["one".to_owned(), long] },
            Entry { name: "longer", paragraphs: ["two".to_owned(), "three".to_owned()] },
        ];
        let text = aligned("Title:", &entries);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..3], ["Title:", "", "  a       one"]);
        assert!(lines[3].starts_with("          word word") && lines[3].len() <= WIDTH);
        assert_eq!(lines[5..], ["  longer  two", "          three"]);
    }

    #[test]
    fn cells_are_escaped() {
        let row = [code(Some("a|b")), cell("<plugin> a|b"), code(None)];
        let table = markdown(["x", "y", "z"], &[row]);
        assert_eq!(table, "| x | y | z |\n| --- | --- | --- |\n| `a\\|b` | &lt;plugin> a\\|b |  |\n");
    }
}
