//! A topic as its users write it: a constant that carries the type of its events.

use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;

use super::payload::{Codec, Json, Tombstones};
use super::{NewEvent, TopicName};
use crate::error::NameError;

/// A topic whose events have payloads of type `T`, written and read by the codec `C` (JSON unless said otherwise).
///
/// It is `const` and `Copy`: declare it once, next to the payload's type, and let producers and consumers share it. The
/// name is checked when a bus opens, since a constant cannot fail usefully.
///
/// ```
/// use evenkeel_core::model::Topic;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// pub struct OrderPlaced {
///     total_cents: u64,
/// }
///
/// pub const ORDERS: Topic<OrderPlaced> = Topic::new("shop.orders.v1");
///
/// let event = ORDERS.event("order-17", &OrderPlaced { total_cents: 4200 }).header("tenant", "acme");
/// assert_eq!(event.topic(), "shop.orders.v1");
/// assert_eq!(ORDERS.name()?.as_str(), "shop.orders.v1");
/// # Ok::<(), evenkeel_core::error::NameError>(())
/// ```
pub struct Topic<T, C = Json> {
    name: &'static str,
    assumed_content_type: Option<&'static str>,
    carries: PhantomData<fn() -> (T, C)>,
}

impl<T> Topic<T, Json> {
    /// A topic of JSON payloads, without tombstones.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { name, assumed_content_type: None, carries: PhantomData }
    }
}

impl<T, C> Topic<T, C> {
    /// The same topic with payloads of another codec.
    ///
    /// ```
    /// use evenkeel_core::model::{Bytes, Raw, Topic};
    ///
    /// const IMAGES: Topic<Bytes, Raw> = Topic::new("shop.images.v1").with_codec();
    /// let event = IMAGES.raw("image/png", Bytes::from_static(b"\x89PNG")).key("article-3");
    /// # assert_eq!(event.topic(), "shop.images.v1");
    /// ```
    #[must_use]
    pub const fn with_codec<D: Codec<T>>(self) -> Topic<T, D> {
        Topic { name: self.name, assumed_content_type: self.assumed_content_type, carries: PhantomData }
    }

    /// The same topic, whose handlers take tombstones: records with a key and no value, by which compacted topics say
    /// that something is gone. Their payload is an `Option`. Without this, tombstones are passed over and counted.
    ///
    /// ```
    /// use evenkeel_core::model::{Tombstones, Topic};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize)]
    /// # struct Profile { name: String }
    ///
    /// const PROFILES: Topic<Option<Profile>, Tombstones> = Topic::new("shop.profiles").with_tombstones();
    ///
    /// let changed = PROFILES.event("user-5", &Profile { name: "Ada".to_owned() });
    /// let gone = PROFILES.tombstone("user-5");
    /// # assert_eq!(changed.topic(), gone.topic());
    /// ```
    #[must_use]
    pub const fn with_tombstones(self) -> Topic<Option<T>, Tombstones<C>> {
        Topic { name: self.name, assumed_content_type: self.assumed_content_type, carries: PhantomData }
    }

    /// Reads records that name no content type as if they named this one, usually `application/json`. Without this,
    /// such a record is a decode error.
    ///
    /// ```
    /// use evenkeel_core::model::Topic;
    ///
    /// const LEGACY: Topic<u64> = Topic::new("legacy.counts").assume_content_type("application/json");
    /// # assert!(LEGACY.name().is_ok());
    /// ```
    #[must_use]
    pub const fn assume_content_type(self, content_type: &'static str) -> Self {
        Self { assumed_content_type: Some(content_type), ..self }
    }

    /// The checked name.
    ///
    /// # Errors
    /// [`NameError`] if Kafka would refuse the name; says which character or length is wrong.
    pub fn name(&self) -> Result<TopicName, NameError> {
        TopicName::new(self.name)
    }

    pub(in crate::model) const fn assumed_content_type(&self) -> Option<&'static str> {
        self.assumed_content_type
    }
}

impl<T, C: Codec<T>> Topic<T, C> {
    /// An event to be produced. Events of one key keep their order and share a partition. The key is also the
    /// CloudEvents subject. The payload is written at once; if that fails, producing the event fails.
    pub fn event(&self, key: impl ToString, payload: &C::Body) -> NewEvent {
        self.keyless(payload).key(key)
    }

    /// An event without a key: it goes to any partition and has no place in any order.
    pub fn keyless(&self, payload: &C::Body) -> NewEvent {
        NewEvent::written(self.name, C::CONTENT_TYPE, C::schema(), C::encode(payload))
    }

    /// A keyless event of bytes that are already written, in whatever content type. Consumers of this topic must be able
    /// to read it.
    pub fn raw(&self, content_type: impl Into<String>, data: impl Into<Bytes>) -> NewEvent {
        NewEvent::raw(self.name, content_type.into(), data.into())
    }
}

impl<T, C> Topic<Option<T>, Tombstones<C>> {
    /// An event that says: what this key stood for is gone. On a compacted topic Kafka forgets the key's older records.
    pub fn tombstone(&self, key: impl ToString) -> NewEvent {
        NewEvent::tombstone(self.name).key(key)
    }
}

/// Checks the name, so that whatever takes a topic's name takes the constant too.
impl<T, C> TryFrom<Topic<T, C>> for TopicName {
    type Error = NameError;

    fn try_from(topic: Topic<T, C>) -> Result<Self, NameError> {
        topic.name()
    }
}

impl<T, C> Clone for Topic<T, C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, C> Copy for Topic<T, C> {}

impl<T, C> fmt::Debug for Topic<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Topic").field(&self.name).finish()
    }
}
