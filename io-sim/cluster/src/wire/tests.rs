//! Frames against kafka-protocol, an implementation by others: what it writes we read, what we write it reads, in every
//! version that is offered. And frames that nobody should have sent.

mod answers;
mod requests;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestHeader, RequestKind};
use kafka_protocol::protocol::{StrBytes, encode_request_header_into_buffer};

use super::*;

/// A request's frame as kafka-protocol writes it, without the length.
fn frame(request: &RequestKind, key: i16, version: i16) -> Bytes {
    let header = RequestHeader::default()
        .with_request_api_key(key)
        .with_request_api_version(version)
        .with_correlation_id(77)
        .with_client_id(Some(StrBytes::from_static_str("witness")));
    let mut bytes = BytesMut::new();
    encode_request_header_into_buffer(&mut bytes, &header).unwrap();
    request.encode(&mut bytes, version).unwrap_or_else(|error| panic!("{key} version {version}: {error}"));
    bytes.freeze()
}

fn text(text: &'static str) -> StrBytes {
    StrBytes::from_static_str(text)
}

#[test]
fn every_offer_is_known_to_the_witness_by_the_same_name() {
    for offer in OFFERED {
        let theirs = ApiKey::try_from(offer.key).unwrap();
        assert_eq!(format!("{theirs:?}"), format!("{:?}", Api::from_key(offer.key).unwrap()));
        for version in offer.min..=offer.max {
            let is_flexible = theirs.request_header_version(version) == 2;
            assert_eq!(offer.is_flexible(version), is_flexible, "{theirs:?} version {version}");
        }
    }
}

#[test]
fn what_is_not_offered_is_refused() {
    let prefix = |key: i16, version: i16| {
        let mut bytes = BytesMut::new();
        bytes.put_i16(key);
        bytes.put_i16(version);
        bytes.put_i32(1);
        bytes.put_i16(-1);
        decode(bytes.freeze())
    };
    assert_eq!(prefix(999, 0), Err(Malformed::UnknownApi(999)));
    assert_eq!(prefix(1, 13), Err(Malformed::UnknownVersion { key: 1, version: 13 }));
    assert_eq!(prefix(0, 2), Err(Malformed::UnknownVersion { key: 0, version: 2 }));
    let Ok(Call { ask: Ask::Versions(frame), .. }) = prefix(18, 99) else { panic!("a greeting is answered") };
    let bytes = frame.into_parts().concat();
    // Length, correlation, UNSUPPORTED_VERSION, one entry: ApiVersions from 0 to 3.
    assert_eq!(bytes, [0, 0, 0, 16, 0, 0, 0, 1, 0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 3]);
}

#[test]
fn no_cut_of_a_frame_is_a_request() {
    for (key, request) in requests::all() {
        let offer = Api::from_key(key).unwrap().offer();
        for version in offer.min..=offer.max {
            let whole = frame(&request(version), key, version);
            for length in 0..whole.len() {
                assert!(decode(whole.slice(..length)).is_err(), "{key} version {version} cut at {length}");
            }
            let longer = [&whole[..], &[0]].concat();
            assert_eq!(decode(longer.into()), Err(Malformed::Leftover(1)), "{key} version {version}");
        }
    }
}
