//! Where Apache Kafka is, and when it can be compared with.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::{FindCoordinatorRequest, GroupId, InitProducerIdRequest, OffsetFetchRequest};
use tokio::time::{sleep, timeout};

use crate::client::{POLL, World};

/// Longer than a new Kafka takes to make its own topics.
const WARM: Duration = Duration::from_secs(60);

/// So many that each of the fifty partitions of `__consumer_offsets` has some of them.
const GROUPS: usize = 1_000;

/// The address of one broker of Apache Kafka, started if need be.
pub(crate) fn address() -> Result<String, String> {
    let given = std::env::var("EVENKEEL_TEST_KAFKA").unwrap_or_default();
    let addresses = if given.is_empty() { started()? } else { given };
    match addresses.split(',').collect::<Vec<_>>()[..] {
        [one] => Ok(one.to_owned()),
        _ => Err(format!(
            "a Kafka of one broker is needed, {addresses} is not one; set EVENKEEL_TEST_KAFKA to the address of one, \
             or unset it and run `make stop` to have one started"
        )),
    }
}

fn started() -> Result<String, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../io-real/services/kafka");
    let output = Command::new(&script).arg("start").output();
    let output = output.map_err(|error| format!("{} cannot be run: {error}", script.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let address = text.lines().find_map(|line| line.strip_prefix("export KAFKA="));
    let why = || {
        let said = String::from_utf8_lossy(&output.stderr);
        format!("Kafka cannot be started; set EVENKEEL_TEST_KAFKA to the address of one. {said}")
    };
    address.map(str::to_owned).ok_or_else(why)
}

/// Waits until Kafka gives out producer ids and coordinates groups: a new one makes what these need when first asked,
/// and until then answers what depends on the moment.
pub(crate) async fn warm(address: &str) -> Result<(), String> {
    let world = World::new(address, format!("c{}-warm", std::process::id()));
    let warmed = async {
        let mut client = world.client().await;
        let names: Vec<_> = (0..GROUPS).map(|number| world.name(&number.to_string())).collect();
        let group = |name| OffsetFetchRequestGroup::default().with_group_id(GroupId(name)).with_topics(None);
        let offsets = OffsetFetchRequest::default().with_groups(names.iter().cloned().map(group).collect());
        let coordinators = FindCoordinatorRequest::default().with_coordinator_keys(names);
        let producer =
            InitProducerIdRequest::default().with_transactional_id(None).with_producer_id((-1).into());
        while client.prepare(coordinators.clone()).await.coordinators.iter().any(|one| one.error_code != 0)
            || client.prepare(offsets.clone()).await.groups.iter().any(|group| group.error_code != 0)
            || client.prepare(producer.clone()).await.error_code != 0
        {
            sleep(POLL).await;
        }
    };
    let late =
        format!("Kafka at {address} does not coordinate groups or give out producer ids after {WARM:?}");
    timeout(WARM, warmed).await.map_err(|_| late)
}
