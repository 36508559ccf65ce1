//! Payloads: how a typed value becomes the bytes of an event, and back.
//!
//! A topic names its codec in its type, `Topic<T, C>`, so that what is written and what is read cannot differ. [`Json`]
//! is the default and takes every serde type; [`Raw`] leaves bytes alone; a type that marshals itself implements
//! [`Codec`] for a marker of its own; [`Tombstones`] adds "there is no payload" to another codec.

use std::any::type_name;
use std::error::Error;
use std::marker::PhantomData;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Any error of a codec.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Writes and reads the payloads of a topic. `T` is what a handler gets.
///
/// A payload with a format of its own:
///
/// ```
/// use evenkeel_core::model::{BoxError, Bytes, Codec, MediaType, PayloadError, Topic};
///
/// struct Celsius(f32);
/// struct Csv;
///
/// impl Codec<Celsius> for Csv {
///     type Body = Celsius;
///     const CONTENT_TYPE: &'static str = "text/csv";
///
///     fn encode(body: &Celsius) -> Result<Bytes, BoxError> {
///         Ok(body.0.to_string().into())
///     }
///
///     fn decode(content_type: MediaType<'_>, data: &Bytes) -> Result<Celsius, PayloadError> {
///         if !content_type.is("text/csv") {
///             return Err(PayloadError::ContentType { takes: "text/csv" });
///         }
///         let text = std::str::from_utf8(data).map_err(PayloadError::malformed)?;
///         Ok(Celsius(text.parse().map_err(PayloadError::malformed)?))
///     }
/// }
///
/// const READINGS: Topic<Celsius, Csv> = Topic::new("plant.readings").with_codec();
/// ```
pub trait Codec<T>: 'static {
    /// What a producer hands in by reference.
    type Body: ?Sized;

    /// The content type that [`encode`](Self::encode) writes.
    const CONTENT_TYPE: &'static str;

    /// Writes a payload.
    ///
    /// # Errors
    /// Whatever keeps the payload from being written. Producing the event fails with it.
    fn encode(body: &Self::Body) -> Result<Bytes, BoxError>;

    /// Reads a payload of the given content type.
    ///
    /// # Errors
    /// [`PayloadError`], which goes by the failure policy at once: reading the same bytes again cannot help.
    fn decode(content_type: MediaType<'_>, data: &Bytes) -> Result<T, PayloadError>;

    /// What a handler gets for a tombstone; `None` (the default) if handlers of the topic do not take tombstones.
    #[must_use]
    fn absent() -> Option<T> {
        None
    }

    /// The `ce_dataschema` of the events produced: by default the payload type's own name, without its path and type
    /// arguments, as the compiler spells it. An event can override it.
    #[must_use]
    fn schema() -> Option<&'static str> {
        short_type_name::<Self::Body>()
    }
}

/// A payload that could not be read.
#[derive(Debug)]
pub enum PayloadError {
    /// The codec does not read this content type.
    ContentType {
        /// What it does read.
        takes: &'static str,
    },
    /// The bytes are not a payload of this type.
    Malformed(BoxError),
}

impl PayloadError {
    /// The bytes are not a payload of this type, and why.
    pub fn malformed(cause: impl Into<BoxError>) -> Self {
        Self::Malformed(cause.into())
    }
}

/// A content type such as `application/json; charset=UTF-8`, compared without regard to case and parameters.
///
/// ```
/// use evenkeel_core::model::MediaType;
///
/// let written = MediaType::new("Application/JSON; charset=UTF-8");
/// assert!(written.is("application/json"));
/// assert!(written.is_json());
/// assert!(MediaType::new("application/vnd.shop.order+json").is_json());
/// ```
#[derive(Debug, Clone, Copy)]
pub struct MediaType<'a> {
    essence: &'a str,
}

impl<'a> MediaType<'a> {
    /// Leaves parameters and blanks around the type off.
    #[must_use]
    pub fn new(content_type: &'a str) -> Self {
        let essence = content_type.split_once(';').map_or(content_type, |(essence, _)| essence);
        Self { essence: essence.trim() }
    }

    /// Type and subtype, spelled as written.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.essence
    }

    /// Whether it is this type and subtype.
    #[must_use]
    pub const fn is(self, other: &str) -> bool {
        self.essence.eq_ignore_ascii_case(other)
    }

    /// Whether the bytes are JSON: `application/json`, `text/json`, and every subtype that ends in `+json`.
    #[must_use]
    pub fn is_json(self) -> bool {
        let ends_in_json = || {
            let tail = self.essence.len().checked_sub(5).and_then(|at| self.essence.get(at..));
            tail.is_some_and(|tail| tail.eq_ignore_ascii_case("+json"))
        };
        self.is("application/json") || self.is("text/json") || ends_in_json()
    }

    /// Whether the bytes are a whole CloudEvent in some event format, attributes included.
    pub(in crate::model) fn is_cloudevent(self) -> bool {
        let head = self.essence.get(.."application/cloudevents".len());
        head.is_some_and(|head| head.eq_ignore_ascii_case("application/cloudevents"))
    }
}

/// JSON through serde: the default codec.
#[derive(Debug, Clone, Copy)]
pub enum Json {}

impl<T: Serialize + DeserializeOwned + 'static> Codec<T> for Json {
    type Body = T;
    const CONTENT_TYPE: &'static str = "application/json";

    fn encode(body: &T) -> Result<Bytes, BoxError> {
        Ok(serde_json::to_vec(body)?.into())
    }

    fn decode(content_type: MediaType<'_>, data: &Bytes) -> Result<T, PayloadError> {
        if !content_type.is_json() {
            return Err(PayloadError::ContentType { takes: "application/json" });
        }
        serde_json::from_slice(data).map_err(PayloadError::malformed)
    }
}

/// Bytes as they are, of any content type. Events are written as `application/octet-stream`; give another one with
/// [`Topic::raw`](super::Topic::raw).
#[derive(Debug, Clone, Copy)]
pub enum Raw {}

impl Codec<Bytes> for Raw {
    type Body = Bytes;
    const CONTENT_TYPE: &'static str = "application/octet-stream";

    fn encode(body: &Bytes) -> Result<Bytes, BoxError> {
        Ok(body.clone())
    }

    fn decode(_content_type: MediaType<'_>, data: &Bytes) -> Result<Bytes, PayloadError> {
        Ok(data.clone())
    }

    fn schema() -> Option<&'static str> {
        None
    }
}

/// Another codec, and tombstones besides: handlers get `Some` payload, or `None` for a record without a value. Made by
/// [`Topic::with_tombstones`](super::Topic::with_tombstones).
#[derive(Debug, Clone, Copy)]
pub struct Tombstones<C = Json>(PhantomData<C>);

impl<T, C: Codec<T>> Codec<Option<T>> for Tombstones<C> {
    type Body = C::Body;
    const CONTENT_TYPE: &'static str = C::CONTENT_TYPE;

    fn encode(body: &C::Body) -> Result<Bytes, BoxError> {
        C::encode(body)
    }

    fn decode(content_type: MediaType<'_>, data: &Bytes) -> Result<Option<T>, PayloadError> {
        C::decode(content_type, data).map(Some)
    }

    fn absent() -> Option<Option<T>> {
        Some(None)
    }

    fn schema() -> Option<&'static str> {
        C::schema()
    }
}

/// `shop::events::OrderPlaced<u8>` is `OrderPlaced`. Types without a name, such as tuples, have none.
fn short_type_name<T: ?Sized>() -> Option<&'static str> {
    let path = type_name::<T>();
    let path = path.split_once('<').map_or(path, |(path, _)| path);
    let name = path.rsplit("::").next().unwrap_or(path);
    let named = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    named.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_told_by_its_media_type() {
        let yes = [
            "application/json",
            "APPLICATION/Json",
            " application/json ;charset=UTF-8",
            "text/json",
            "a/b+JSON",
        ];
        let no = [
            "",
            "json",
            "application/xml",
            "application/jsonx",
            "application/json+xml",
            "text/plain; x=+json",
            "ä+xml",
        ];
        for (content_type, json) in yes.map(|t| (t, true)).into_iter().chain(no.map(|t| (t, false))) {
            assert_eq!(MediaType::new(content_type).is_json(), json, "{content_type}");
        }
    }

    #[test]
    fn cloudevents_are_told_by_their_prefix() {
        assert!(MediaType::new("application/CloudEvents+json").is_cloudevent());
        assert!(MediaType::new("application/cloudevents-batch+json").is_cloudevent());
        assert!(!MediaType::new("application/json").is_cloudevent());
        assert!(!MediaType::new("application/cloudevent€").is_cloudevent());
    }

    #[test]
    fn a_schema_is_the_types_short_name() {
        struct OrderPlaced;
        assert_eq!(short_type_name::<OrderPlaced>(), Some("OrderPlaced"));
        assert_eq!(short_type_name::<Option<Vec<OrderPlaced>>>(), Some("Option"));
        assert_eq!(short_type_name::<(u8, OrderPlaced)>(), None);
        assert_eq!(short_type_name::<[OrderPlaced]>(), None);
    }
}
