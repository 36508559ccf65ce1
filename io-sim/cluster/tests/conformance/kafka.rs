//! Where Apache Kafka is.

use std::path::Path;
use std::process::Command;

/// The address of one broker of Apache Kafka, started if need be.
pub(crate) fn address() -> Result<String, String> {
    let given = std::env::var("EVENKEEL_TEST_KAFKA").unwrap_or_default();
    let addresses = if given.is_empty() { started()? } else { given };
    match addresses.split(',').collect::<Vec<_>>()[..] {
        [one] => Ok(one.to_owned()),
        _ => Err(format!("a Kafka of one broker is needed, EVENKEEL_TEST_KAFKA is {addresses:?}")),
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
