//! What a case has seen, in lines that can be compared: what a broker may choose freely is replaced.

use std::fmt::Debug;

use bytes::Bytes;
use kafka_protocol::error::ResponseError;

use crate::batch;

/// Fields that tell of the installation and not of the protocol, and texts for people.
const LEFT_OUT: &[&str] = &[
    "throttle_time_ms",
    "host",
    "port",
    "cluster_id",
    "unknown_tagged_fields",
    "client_host",
    "rack",
    "records",
    "error_message",
    "batch_index_error_message",
];

/// Fields whose value is chosen by the broker, but not whether there is one.
const CHOSEN: &[&str] = &["topic_id", "producer_id", "log_append_time_ms"];

/// The lines that a case has written.
pub(crate) struct Transcript {
    lines: Vec<String>,
    /// What is written instead of what, longest first.
    roles: Vec<(String, String)>,
}

impl Transcript {
    pub(crate) fn new(prefix: &str) -> Self {
        Self { lines: Vec::new(), roles: vec![(prefix.to_owned(), "~".to_owned())] }
    }

    pub(crate) fn learn(&mut self, value: &str, role: &str) {
        if !value.is_empty() {
            self.roles.push((value.to_owned(), format!("<{role}>")));
            self.roles.sort_by_key(|(value, _)| std::cmp::Reverse(value.len()));
        }
    }

    pub(crate) fn note(&mut self, what: &str, value: &dyn Debug) {
        self.lines.push(format!("{what} = {value:?}"));
    }

    pub(crate) fn answer(&mut self, name: &str, answer: &dyn Debug) {
        self.lines.push(name.to_owned());
        let from = self.lines.len();
        let text = format!("{answer:#?}");
        let mut lines = text.lines();
        let mut skip_until = None;
        while let Some(line) = lines.next() {
            let indent = line.len() - line.trim_start().len();
            if let Some(depth) = skip_until {
                if indent <= depth {
                    skip_until = None;
                }
                continue;
            }
            let mut line = line.trim_end().trim_end_matches(',').to_owned();
            // `Some(`, a newtype: one value in three lines.
            let mut open = 0;
            while line.ends_with('(') {
                open += 1;
                let inner = lines.next().unwrap_or_default().trim().trim_end_matches(',');
                line.push_str(inner);
                if !inner.ends_with(['(', '{', '[']) {
                    for _ in 0..open {
                        line.push_str(lines.next().unwrap_or_default().trim().trim_end_matches(','));
                    }
                    break;
                }
            }
            let field = line.trim_start().split(':').next().unwrap_or_default().to_owned();
            if LEFT_OUT.contains(&&*field) || (field == "configs" && name.starts_with("CreateTopics")) {
                if line.ends_with(['{', '[', '(']) {
                    skip_until = Some(indent);
                }
                continue;
            }
            self.lines.push(written(&field, &line));
        }
        self.sort("members: [", from);
        if name.starts_with("Metadata") {
            self.sort("partitions: [", from);
        }
    }

    /// Puts the values of a list in order: a broker tells them in any.
    fn sort(&mut self, list: &str, from: usize) {
        let Some(start) = self.lines[from..].iter().position(|line| line.trim_start() == list) else {
            return;
        };
        let start = from + start + 1;
        let depth = |line: &String| line.len() - line.trim_start().len();
        let outer = depth(&self.lines[start - 1]);
        let Some(length) = self.lines[start..].iter().position(|line| depth(line) <= outer) else { return };
        let inner = depth(&self.lines[start]);
        let mut members: Vec<Vec<String>> = Vec::new();
        for line in self.lines.drain(start..start + length) {
            if depth(&line) == inner && line.ends_with('{') {
                members.push(Vec::new());
            }
            members.last_mut().expect("a member").push(line);
        }
        members.sort_by_key(|member| member.iter().map(|line| self.replaced(line)).collect::<Vec<_>>());
        self.lines.splice(start..start, members.into_iter().flatten());
    }

    fn replaced(&self, line: &str) -> String {
        self.roles.iter().fold(line.to_owned(), |line, (value, role)| line.replace(value.as_str(), role))
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.iter().map(|line| self.replaced(line)).collect()
    }

    /// What is in a partition's records.
    pub(crate) fn records(&mut self, records: Option<&Bytes>) {
        match records {
            None => self.lines.push("records: None".to_owned()),
            Some(bytes) => self.lines.extend(batch::describe(bytes)),
        }
    }
}

/// A line as it is compared.
fn written(field: &str, line: &str) -> String {
    let value = line.split_once(':').map_or("", |(_, value)| value.trim());
    let start = &line[..line.len() - line.trim_start().len()];
    if field == "error_code" {
        let code = value.parse().unwrap_or(i16::MIN);
        let name = ResponseError::try_from_code(code).map_or("none".to_owned(), |error| format!("{error:?}"));
        return format!("{start}error_code: {name}");
    }
    if !CHOSEN.contains(&field) {
        return line.to_owned();
    }
    let is_nothing =
        ["None", "-1", "ProducerId(-1)", "00000000-0000-0000-0000-000000000000"].contains(&value);
    if is_nothing { line.to_owned() } else { format!("{start}{field}: given") }
}
