//! The greeting: what may be asked, in which versions.

use evenkeel_core::error::ErrorCode;

use super::api::{Api, OFFERED, Offer};
use super::read::{Malformed, Reader};
use super::write::{Frame, Writer};
use crate::message::Text;

/// What a client says of itself.
pub(super) struct Greeting {
    software: Option<(Text, Text)>,
}

impl Greeting {
    pub(super) fn read(from: &mut Reader, version: i16) -> Result<Self, Malformed> {
        let software = if version >= 3 { Some((from.text()?, from.text()?)) } else { None };
        from.tags()?;
        Ok(Self { software })
    }

    /// Whether the client's names are legal.
    pub(super) fn verdict(&self) -> Option<ErrorCode> {
        let legal = self.software.as_ref().is_none_or(|(name, version)| is_legal(name) && is_legal(version));
        (!legal).then_some(ErrorCode::InvalidRequest)
    }
}

/// Letters and digits, with dashes and dots between them.
fn is_legal(name: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    name.bytes().all(is_inner) && is_end(name.as_bytes().first()) && is_end(name.as_bytes().last())
}

/// The answer. Its header is in the old format in every version, since a client reads it before it knows any.
pub(super) fn write(correlation: i32, version: i16, error: Option<ErrorCode>) -> Frame {
    let mut to = Writer::without_header_tags(correlation, Api::ApiVersions.offer().is_flexible(version));
    to.error(error);
    to.array(if error.is_some() { &[] } else { OFFERED }, offer);
    if version >= 1 {
        to.no_throttle();
    }
    to.tags();
    to.finish()
}

/// The answer to a version that is not known: in version 0, with what may be asked instead.
pub(super) fn too_new(correlation: i32) -> Frame {
    let mut to = Writer::without_header_tags(correlation, false);
    to.error(Some(ErrorCode::UnsupportedVersion));
    to.array(&[Api::ApiVersions.offer()], offer);
    to.finish()
}

fn offer(to: &mut Writer, offer: &Offer) {
    to.i16(offer.key);
    to.i16(offer.min);
    to.i16(offer.max);
}
