//! Structured mode: the whole event, attributes and data, as one JSON object in the record's value.
//!
//! The object is turned into binary mode: its attributes become headers behind those of the record, its data is cut out
//! without being parsed. Everything after that is the same for both modes.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::error::DecodeFault;
use crate::model::headers::Headers;

/// The data of an event.
#[derive(Debug)]
pub(super) enum Data {
    /// There is none.
    Absent,
    /// Bytes of the event's content type.
    Bytes(Bytes),
    /// A JSON string in an envelope, which is read one way or the other by content type and payload type.
    Text {
        /// The string as JSON, quotes and escapes included.
        json: Bytes,
        /// What the string says.
        text: Bytes,
    },
}

/// Opens an envelope: all headers, and the data.
pub(super) fn open(value: &Bytes, headers: &Headers) -> Result<(Headers, Data), DecodeFault> {
    let Envelope(members) =
        serde_json::from_slice(value).map_err(|e| DecodeFault::Envelope(e.to_string()))?;
    let mut attributes = Vec::new();
    let mut content_type = None;
    let (mut plain, mut base64) = (None, None);
    for (name, raw) in members {
        match name.as_str() {
            "data" => plain = Some(raw),
            "data_base64" => base64 = Some(raw),
            "datacontenttype" => content_type = attribute_text(&name, raw)?,
            _ => attributes.extend(attribute_text(&name, raw)?.map(|text| (format!("ce_{name}"), text))),
        }
    }
    attributes
        .push(("content-type".to_owned(), content_type.unwrap_or_else(|| "application/json".to_owned())));
    let attributes = attributes.iter().map(|(name, text)| (name.as_bytes(), Some(text.as_bytes())));
    let headers = headers.iter().chain(attributes).collect();
    Ok((headers, data(value, plain, base64)?))
}

fn data(value: &Bytes, plain: Option<&RawValue>, base64: Option<&RawValue>) -> Result<Data, DecodeFault> {
    let says_something = |raw: &&RawValue| !matches!(raw.get(), "null" | "\"\"");
    if let Some(encoded) = base64.filter(says_something)
        && plain.filter(says_something).is_none()
    {
        let encoded: String = serde_json::from_str(encoded.get())
            .map_err(|_| DecodeFault::NotAString("data_base64".to_owned()))?;
        let bytes = STANDARD.decode(encoded).map_err(|e| DecodeFault::Base64(e.to_string()))?;
        return Ok(Data::Bytes(bytes.into()));
    }
    let Some(plain) = plain.filter(|raw| raw.get() != "null") else {
        return Ok(Data::Absent);
    };
    let json = value.slice_ref(plain.get().as_bytes());
    if !plain.get().starts_with('"') {
        return Ok(Data::Bytes(json));
    }
    let text: String = serde_json::from_str(plain.get()).map_err(|e| DecodeFault::Envelope(e.to_string()))?;
    Ok(Data::Text { json, text: text.into() })
}

/// An attribute as a header says it; `None` if it says nothing. Those that CloudEvents names are strings, extensions may
/// be numbers and booleans too.
fn attribute_text(name: &str, raw: &RawValue) -> Result<Option<String>, DecodeFault> {
    let json = raw.get();
    if json == "null" {
        return Ok(None);
    }
    if json.starts_with('"') {
        let text: String = serde_json::from_str(json).map_err(|e| DecodeFault::Envelope(e.to_string()))?;
        return Ok(Some(text).filter(|text| !text.is_empty()));
    }
    let named = matches!(
        name,
        "id" | "source" | "type" | "subject" | "time" | "specversion" | "dataschema" | "datacontenttype"
    );
    if named { Err(DecodeFault::NotAString(name.to_owned())) } else { Ok(Some(json.to_owned())) }
}

/// The members of a JSON object in order, values unparsed.
struct Envelope<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Envelope<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Envelope<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a CloudEvents object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry::<String, &'de RawValue>()? {
                    members.push(member);
                }
                Ok(Envelope(members))
            }
        }

        deserializer.deserialize_map(Members)
    }
}
