//! The functions of a pipeline's templates: Go's, Promtail's own, and those of sprig that make sense for a log line.

mod collections;
mod dates;
mod encoding;
mod maths;
mod paths;
mod regexes;
mod strings;

use std::sync::Arc;

use gotmpl::{FuncMap, Value, ValueFunc};

use super::value::{Answer, Function, fail};

/// Functions that the engine has by itself.
const BUILT_IN: &[&str] = &[
    "and", "call", "eq", "ge", "gt", "html", "index", "js", "le", "len", "lt", "ne", "not", "or", "printf", "urlquery",
];

/// Functions of sprig that reach out of the template, or that are too costly for a line.
const REFUSED: &[&str] = &[
    "bcrypt",
    "buildCustomCert",
    "decryptAES",
    "derivePassword",
    "encryptAES",
    "env",
    "expandenv",
    "genCA",
    "genCAWithKey",
    "genPrivateKey",
    "genSelfSignedCert",
    "genSelfSignedCertWithKey",
    "genSignedCert",
    "genSignedCertWithKey",
    "getHostByName",
    "htpasswd",
];

/// Functions of sprig that a log line does not need, or that change a value in place, which is not possible here.
const ABSENT: &[&str] =
    &["semver", "semverCompare", "set", "unset", "urlJoin", "urlParse", "wrap", "wrapWith", "randBytes", "splitn"];

/// Whether a template may name a function.
///
/// # Errors
/// Why not, and what to do.
pub fn known(name: &str) -> Result<(), String> {
    if BUILT_IN.contains(&name) || find(name).is_some() {
        Ok(())
    } else if REFUSED.contains(&name) {
        Err(format!(
            "the function {name} is not allowed in a pipeline: it reaches out of it, or costs too much for a line"
        ))
    } else if ABSENT.contains(&name) {
        let hint = if matches!(name, "set" | "unset") { " (try merge, pick or omit)" } else { "" };
        Err(format!("the function {name} is not available here{hint}"))
    } else {
        Err(format!("there is no function {name}"))
    }
}

/// All functions that are not the engine's own.
pub fn all() -> FuncMap {
    let tables = tables();
    let functions = tables.iter().flat_map(|table| table.iter()).map(|(name, function)| {
        let (name, function) = (*name, *function);
        // Which function it was that did not like its arguments, the engine does not say.
        let named: ValueFunc = Arc::new(move |args: &[Value]| match function(args) {
            Err(gotmpl::TemplateError::Exec(cause)) => fail(format!("{name}: {cause}")),
            answer => answer,
        });
        (name.to_owned(), named)
    });
    functions.collect()
}

/// The methods of a value, or the entries of a map.
pub fn field(value: &Value, name: &str, arguments: &[Value]) -> Answer {
    if let Some(answer) = dates::method(value, name, arguments) {
        return answer;
    }
    match value {
        Value::Map(map) if arguments.is_empty() => Ok(map.get(name).cloned().unwrap_or(Value::Nil)),
        Value::Map(_) => fail(format!("{name} takes no argument")),
        other => fail(format!("{name}: {} has no fields", super::value::described(other))),
    }
}

/// The printed form of a time; `None` when the value is not a time.
pub fn printed_time(value: &Value) -> Option<String> {
    dates::printed(value)
}

type Table = &'static [(&'static str, Function)];

fn tables() -> [Table; 7] {
    [
        maths::FUNCTIONS,
        paths::FUNCTIONS,
        collections::FUNCTIONS,
        dates::FUNCTIONS,
        encoding::FUNCTIONS,
        strings::FUNCTIONS,
        regexes::FUNCTIONS,
    ]
}

fn find(name: &str) -> Option<Function> {
    let mut all = tables().into_iter().flatten();
    all.find(|(known, _)| *known == name).map(|(_, function)| *function)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_given_once() {
        let mut seen = HashSet::new();
        for (name, _) in tables().into_iter().flatten() {
            assert!(seen.insert(*name), "{name} twice");
            assert!(!REFUSED.contains(name) && !ABSENT.contains(name) && !BUILT_IN.contains(name), "{name}");
        }
    }

    #[test]
    fn built_in_functions_exist() {
        for name in BUILT_IN {
            let rendered =
                gotmpl::Template::new("").parse(&format!("{{{{{name}}}}}")).unwrap().execute_to_string(&Value::Nil);
            assert!(!matches!(rendered, Err(gotmpl::TemplateError::UndefinedFunction(_))), "{name}");
        }
    }
}
