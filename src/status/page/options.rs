//! What is set, and what is in force for a container that says nothing. Nothing secret comes as far as here.

use std::fmt::{self, Write};

use super::{Escaped, begin_table, end_table};
use crate::config::effective::Origin;
use crate::status::Report;

pub(super) fn section(out: &mut String, report: &Report) -> fmt::Result {
    let Report { settings, options, .. } = report;
    out.write_str("<section aria-labelledby=\"options\">\n<h2 id=\"options\">Options</h2>\n")?;
    out.write_str("<details id=\"effective\"><summary>Options of a container that gives none</summary>\n")?;
    begin_table(out, "flat", "Options", &[("Option", ""), ("Value", ""), ("From", "")])?;
    out.write_str("<tbody role=\"rowgroup\">\n")?;
    for option in options {
        let from = match option.origin {
            Origin::BuiltIn => "built in".to_owned(),
            Origin::Plugin(setting) => format!("<code>{setting}</code>"),
            Origin::Container => "the container".to_owned(),
        };
        row(out, &option.key, &option.value)?;
        writeln!(out, "<td role=\"cell\" data-label=\"From\"><span>{from}</span></td>\n</tr>")?;
    }
    out.write_str("</tbody>\n")?;
    end_table(out)?;
    out.write_str("</details>\n<details id=\"settings\"><summary>Settings of the plugin</summary>\n")?;
    begin_table(out, "flat", "Settings", &[("Setting", ""), ("Value", "")])?;
    out.write_str("<tbody role=\"rowgroup\">\n")?;
    for (name, value) in settings {
        row(out, name, value)?;
        out.write_str("</tr>\n")?;
    }
    out.write_str("</tbody>\n")?;
    end_table(out)?;
    out.write_str("</details>\n</section>\n")
}

fn row(out: &mut String, name: &str, value: &str) -> fmt::Result {
    write!(out, "<tr role=\"row\">\n<th role=\"rowheader\" scope=\"row\"><code>{}</code></th>\n", Escaped(name))?;
    out.write_str("<td role=\"cell\" data-label=\"Value\">")?;
    match value {
        "" | "\"\"" => out.write_str("<span class=\"quiet\">not set</span>")?,
        value => write!(out, "<code>{}</code>", Escaped(value))?,
    }
    out.write_str("</td>\n")
}
