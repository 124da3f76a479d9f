//! What can be asked: logs, counts, labels, series.
//!
//! Rule: `start` is inclusive and `end` exclusive (a count's range is the other way round); without
//! them it is the last hour. `limit` is 100 and `direction` backward unless said. Lines of one
//! instant keep their order of arrival, and are reversed backwards. With the header
//! `X-Loki-Response-Encoding-Flags: categorize-labels` an entry has its metadata as third element;
//! without it metadata is mixed into the labels, so that one stream may show as several. Metadata
//! named like a label of the stream is shown with `_extracted` behind its name. Bytes of a line
//! that are not UTF-8 show as one U+FFFD each.
//!
//! A line that was stored twice (see [`super::store`]) is shown once by a query for logs and
//! counted twice by a count.

use super::answer::Answer;
use super::clock;
use super::limits::Limits;
use super::selector::{self, LogQuery};
use super::store::{Kept, Store};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet, HashSet};

type LabelMap = BTreeMap<String, String>;

/// A question of one tenant.
pub struct Question<'a> {
    pub store: &'a Store,
    pub limits: &'a Limits,
    pub tenant: &'a str,
    /// Of the query string or of a form; a name may come more than once.
    pub parameters: &'a [(String, String)],
    /// Whether metadata is returned apart from labels.
    pub categorize: bool,
}

// === impl Question ===

impl Question<'_> {
    /// `/loki/api/v1/query_range`
    pub fn logs(&self) -> Answer {
        self.try_logs().unwrap_or_else(|sentence| Answer::text(400, sentence))
    }

    /// `/loki/api/v1/query`
    pub fn count(&self) -> Answer {
        self.try_count().unwrap_or_else(|sentence| Answer::text(400, sentence))
    }

    /// `/loki/api/v1/labels`
    pub fn labels(&self) -> Answer {
        self.names(|labels| labels.keys().cloned().collect())
    }

    /// `/loki/api/v1/label/NAME/values`
    pub fn values(&self, name: &str) -> Answer {
        self.names(|labels| labels.get(name).into_iter().cloned().collect())
    }

    /// `/loki/api/v1/series`
    pub fn series(&self) -> Answer {
        let texts = self.parameters.iter().filter(|(name, _)| name == "match[]" || name == "match");
        let queries: Result<Vec<LogQuery>, String> = texts.map(|(_, text)| selector::logs(text)).collect();
        let (queries, (start, end)) = match (queries, self.range()) {
            (Ok(queries), Ok(range)) => (queries, range),
            (Err(sentence), _) | (_, Err(sentence)) => return Answer::text(400, sentence),
        };
        let wanted = |kept: &&Kept| {
            let selected = queries.iter().any(|query| query.selects(&kept.labels.shown));
            (queries.is_empty() || selected) && within(kept, start, end)
        };
        let series: BTreeSet<&LabelMap> = self.kept().filter(wanted).map(|kept| &kept.labels.shown).collect();
        Answer::json(&json!({"status": "success", "data": series}))
    }

    fn try_logs(&self) -> Result<Answer, String> {
        let query = selector::logs(self.parameter("query").unwrap_or_default())?;
        let (start, end) = self.range()?;
        let limit = match self.parameter("limit") {
            None => 100,
            Some(text) => text.parse().map_err(|_| format!("limit {text:?} is not a number"))?,
        };
        if limit <= 0 {
            return Err("limit must be a positive value".into());
        }
        let most = self.limits.max_entries_limit_per_query as i64;
        if limit > most {
            return Err(format!(
                "max entries limit per query exceeded, limit > max_entries_limit_per_query \
                 ({limit} > {most})"
            ));
        }
        let direction = self.parameter("direction").unwrap_or("backward");
        let backward = match direction.to_ascii_lowercase().as_str() {
            "backward" => true,
            "forward" => false,
            _ => return Err(format!("invalid direction '{direction}'")),
        };
        let mut seen = HashSet::new();
        let mut found: Vec<&Kept> = self
            .kept()
            .filter(|kept| query.selects(&kept.labels.shown) && within(kept, start, end))
            .filter(|kept| query.keeps(&kept.line.text))
            .filter(|kept| seen.insert((&kept.labels.shown, &kept.line)))
            .collect();
        found.sort_by_key(|kept| kept.line.timestamp);
        if backward {
            found.reverse();
        }
        found.truncate(limit as usize);
        let mut streams: BTreeMap<LabelMap, Vec<Value>> = BTreeMap::new();
        for kept in found {
            let (labels, value) = self.show(kept);
            streams.entry(labels).or_default().push(value);
        }
        let result: Vec<Value> =
            streams.into_iter().map(|(labels, values)| json!({"stream": labels, "values": values})).collect();
        let mut data = json!({"resultType": "streams", "result": result, "stats": {}});
        if self.categorize {
            data["encodingFlags"] = json!(["categorize-labels"]);
        }
        Ok(Answer::json(&json!({"status": "success", "data": data})))
    }

    fn try_count(&self) -> Result<Answer, String> {
        let query = selector::count(self.parameter("query").unwrap_or_default())?;
        let at = match self.time("time")? {
            Some(at) => at,
            None => clock::clamp(clock::now()),
        };
        let start = at.saturating_sub(query.range);
        let mut counts: BTreeMap<LabelMap, usize> = BTreeMap::new();
        for kept in self.kept() {
            let time = kept.line.timestamp;
            let counted = time > start
                && time <= at
                && query.logs.selects(&kept.labels.shown)
                && query.logs.keeps(&kept.line.text);
            if counted {
                let labels = if query.sum { LabelMap::new() } else { mixed(kept) };
                *counts.entry(labels).or_default() += 1;
            }
        }
        let seconds = at as f64 / 1e9;
        let value = |(labels, count): (LabelMap, usize)| {
            let value = json!([seconds, count.to_string()]);
            json!({"metric": labels, "value": value})
        };
        let result: Vec<Value> = counts.into_iter().map(value).collect();
        let data = json!({"resultType": "vector", "result": result, "stats": {}});
        Ok(Answer::json(&json!({"status": "success", "data": data})))
    }

    fn names(&self, pick: impl Fn(&LabelMap) -> Vec<String>) -> Answer {
        let query = self.parameter("query").map(selector::logs).transpose();
        let (query, (start, end)) = match (query, self.range()) {
            (Ok(query), Ok(range)) => (query, range),
            (Err(sentence), _) | (_, Err(sentence)) => return Answer::text(400, sentence),
        };
        let selected = |kept: &&Kept| {
            let wanted = query.as_ref().is_none_or(|query| query.selects(&kept.labels.shown));
            wanted && within(kept, start, end)
        };
        let names: BTreeSet<String> = self.kept().filter(selected).flat_map(|kept| pick(&kept.labels.shown)).collect();
        let mut answer = Map::new();
        answer.insert("status".into(), json!("success"));
        if !names.is_empty() {
            answer.insert("data".into(), json!(names));
        }
        Answer::json(&Value::Object(answer))
    }

    fn kept(&self) -> impl Iterator<Item = &Kept> {
        self.store.kept().iter().filter(|kept| kept.labels.tenant == self.tenant)
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    fn time(&self, name: &str) -> Result<Option<i64>, String> {
        let Some(text) = self.parameter(name) else {
            return Ok(None);
        };
        match clock::parse_time(text) {
            Some(time) => Ok(Some(time)),
            None => Err(format!("could not parse '{name}' parameter: {text:?} is not a time")),
        }
    }

    fn range(&self) -> Result<(i64, i64), String> {
        let end = self.time("end")?.unwrap_or_else(|| clock::clamp(clock::now()));
        let since = match self.parameter("since") {
            None => 3600 * clock::SECOND as i64,
            Some(text) => {
                clock::parse_duration(text).ok_or_else(|| format!("could not parse 'since' parameter: {text:?}"))?
            }
        };
        let start = self.time("start")?.unwrap_or_else(|| end.saturating_sub(since));
        if end < start {
            return Err("end timestamp must not be before or equal to start time".into());
        }
        Ok((start, end))
    }

    /// The labels under which an entry appears, and the entry.
    fn show(&self, kept: &Kept) -> (LabelMap, Value) {
        let time = kept.line.timestamp.to_string();
        let text = readable(&kept.line.text);
        if !self.categorize {
            return (mixed(kept), json!([time, text]));
        }
        let metadata = extracted(kept);
        let apart = match metadata.is_empty() {
            true => json!({}),
            false => json!({"structuredMetadata": metadata}),
        };
        (kept.labels.shown.clone(), json!([time, text, apart]))
    }
}

fn within(kept: &Kept, start: i64, end: i64) -> bool {
    (start..end).contains(&kept.line.timestamp)
}

/// The metadata of a line, out of the way of its stream's labels.
fn extracted(kept: &Kept) -> LabelMap {
    let rename = |(name, value): (&str, &str)| {
        let clash = kept.labels.shown.contains_key(name);
        let suffix = if clash { "_extracted" } else { "" };
        (format!("{name}{suffix}"), value.to_owned())
    };
    kept.line.all_metadata().map(rename).collect()
}

/// Labels and metadata in one.
fn mixed(kept: &Kept) -> LabelMap {
    let mut labels = kept.labels.shown.clone();
    labels.extend(extracted(kept));
    labels
}

fn readable(line: &[u8]) -> String {
    let mut text = String::with_capacity(line.len());
    for chunk in line.utf8_chunks() {
        text.push_str(chunk.valid());
        let bad = chunk.invalid().iter();
        text.extend(bad.map(|_| char::REPLACEMENT_CHARACTER));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sign_for_each_bad_byte() {
        assert_eq!(readable(b"a\xe2\x82b\xff"), "a\u{fffd}\u{fffd}b\u{fffd}");
    }
}
